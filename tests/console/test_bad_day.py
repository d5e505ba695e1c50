"""The console while things fail: what is wrong comes first, can be told to others, and is reached by keys alone."""

import asyncio
import json
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from glassbridge.core.flight import COLUMNS
from glassbridge.lab import clips
from glassbridge.wire.close_codes import CloseCode
from glassbridge.wire.recorder_file import decode
from tests.cloud.conftest import Stage
from tests.console.browser import SMALL, Browser, Page
from tests.console.conftest import ADMIN
from tests.console.states import (
    TOLD,
    console_open,
    console_session,
    console_trouble,
    development,
    past,
    phone_heard,
    trouble,
)

GRACE = "grace@example.com"
TILES = "[...document.querySelectorAll('.tile')].map((tile) => tile.querySelector('h3').textContent)"
LABELS = """
[...document.querySelectorAll(".gap")].map((gap) => {
  const [label, block] = [gap.firstChild.getBoundingClientRect(), gap.getBoundingClientRect()];
  const canvas = gap.closest(".track").querySelector("canvas").getBoundingClientRect();
  return [gap.firstChild.textContent, label.bottom <= canvas.top + 1 && label.bottom <= block.top + 1,
    label.left >= canvas.left - 1 && label.right <= canvas.right + 1];
})
"""
"""Each label, whether it stands above its lane and its gap, and whether it stays within them."""
REACHED = """
(() => { const one = document.activeElement; return one.id || one.dataset.key || one.ariaLabel || one.innerText; })()
"""
SEEN = """
(() => { const box = document.activeElement.getBoundingClientRect();
  return box.width > 0 && box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth; })()
"""

pytestmark = pytest.mark.chromium


async def until_clipboard(page: Page) -> str:
    """The text that was copied."""
    await page.until("navigator.clipboard.readText()")
    text: str = await page.run("navigator.clipboard.readText()")
    return text


@pytest.mark.slow
async def test_the_parts_that_fail_come_first(stage: Callable[..., Any]) -> None:
    built: Stage = await stage(admin_token=ADMIN)
    async with Browser() as browser:
        page = await browser.open("about:blank#")
        await console_open(page, built)
        assert "No phone has connected yet." in await page.text("#nothing")
        assert await page.run("document.querySelector('#nothing a').getAttribute('href')") == "/console/phone"
        await page.until(f"{TILES}.join() === 'Bridges,LiveKit,Recogniser,Capacity left,Sessions'")
        with trouble(built):
            await page.until(f"{TILES}.slice(0, 3).join() === 'Sessions,LiveKit,Recogniser'", 20)
            shown = await page.text("#tiles")
            assert "Does not answer" in shown
            assert "3 without captions, 2 with late ones" in shown
            await page.until("document.querySelector('.row').dataset.light === 'bad'")
        await page.until("!document.querySelector('.tile[data-light=bad] h3')?.textContent.includes('LiveKit')", 20)
        await built.bridge.stop()
        await page.until(f"{TILES}.slice(0, 2).includes('Bridges')", 30)
        assert "no answer; see that it runs" in await page.text("#tiles")


async def test_a_fault_is_labelled_copied_downloaded_and_opened_again(stage: Callable[..., Any]) -> None:
    built: Stage = await stage(admin_token=ADMIN)
    flight = past(built, GRACE, heals=True)
    async with Browser() as browser:
        page = await browser.open("about:blank#")
        await browser.call("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
        await console_session(page, built, who=GRACE, gaps=3)
        labels = await page.run(LABELS)
        assert sorted(text for text, _, _ in labels) == [
            "gone 1.5 s, rejoined", "gone 4.5 s, phone is back", "gone 5.4 s, rejoined",
        ]  # fmt: skip
        assert all(above and within for _, above, within in labels), labels
        assert await page.text(".lane[aria-label=Recogniser] .rate") == "99 % of real time"

        await page.click(".gap-list li:last-child button")
        story = await until_clipboard(page)
        assert story.startswith("Bridge: the bridge is gone (bridge_died)\nuser grace@example.com, session past1")
        assert "(1.5 s)" in story
        assert "recovery action=join result=joined cause=bridge_died" in story
        assert "livekit_silent" not in story
        assert f"glassbridge inspect {GRACE} --session {flight.id} --cloud {built.url}" in story

        path = await page.run("document.querySelector('a[download]').getAttribute('href')")
        async with built.http.get(f"{built.url}{path}") as answer:
            assert answer.status == 401
        async with built.http.get(f"{built.url}{path}", headers={"Authorization": f"Bearer {ADMIN}"}) as answer:
            assert answer.headers["Content-Disposition"] == f'attachment; filename="glassbridge-{flight.id}.json"'
            file = decode(await answer.read(), frozenset(COLUMNS))
        assert len(file.timeline["gaps"]) == 3
        assert "quick brown fox" not in json.dumps(file.timeline)
        assert page.complaints == []


@pytest.mark.slow
async def test_where_there_is_no_clipboard_the_story_is_copied_as_a_person_would(stage: Callable[..., Any]) -> None:
    built: Stage = await stage(admin_token=ADMIN)
    past(built, GRACE, heals=False)
    async with Browser() as browser:
        page = await browser.open("about:blank#")
        await console_session(page, built, who=GRACE, gaps=3)
        await page.run("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
        await page.run("document.addEventListener('copy', () => (globalThis.copied = String(getSelection())))")
        await page.click(".gap-list li:first-child button")
        await page.until("globalThis.copied?.includes('it goes on')")
        await page.until("document.querySelector('.session [role=status].small').textContent.includes('clipboard')")


@pytest.mark.slow
async def test_every_fault_can_be_reached_on_a_telephone(stage: Callable[..., Any]) -> None:
    async with AsyncExitStack() as clean:
        built: Stage = await stage(admin_token=ADMIN, **await clean.enter_async_context(development()))
        browser = await clean.enter_async_context(Browser())
        page = await browser.open("about:blank#")
        await page.look(SMALL, dark=True)
        await console_open(page, built)
        await page.until("document.querySelectorAll('#faults button').length === 8")
        hidden = await page.run("""[...document.querySelectorAll("#faults button")].filter((one) => {
          one.scrollIntoView({block: "nearest"});
          const box = one.getBoundingClientRect();
          return document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2)?.closest("button") !== one;
        }).map((one) => one.dataset.key)""")
        assert hidden == []


@pytest.mark.slow
async def test_keys_alone_reach_everything(stage: Callable[..., Any]) -> None:
    """By Tab from the top: each thing that can be pressed has the focus once, and is on the screen then."""
    async with AsyncExitStack() as clean:
        built: Stage = await stage(admin_token=ADMIN, **await clean.enter_async_context(development()))
        past(built, GRACE, heals=True)
        browser = await clean.enter_async_context(Browser())
        page = await browser.open("about:blank#")
        await console_session(page, built, who=GRACE, gaps=3)
        await page.until("document.querySelectorAll('#faults button:enabled').length > 4")
        wanted = await page.run(
            """[...document.querySelectorAll("a, button, input, summary, [tabindex='0']")]
            .filter((one) => one.checkVisibility() && !one.disabled).length"""
        )
        await page.run("document.activeElement.blur(); document.querySelector('.brand').focus()")
        reached = []
        for _ in range(wanted):
            reached.append(await page.run(REACHED))
            assert await page.run(SEEN), f"{reached[-1]} has the focus, and nobody sees it"
            await page.press("Tab")
        assert len(set(reached)) == len(reached) == wanted, reached
        gap = next(one for one in reached if one.startswith("gone 1.5 s, rejoined"))
        assert "the bridge is gone" in gap


@pytest.mark.slow
@pytest.mark.parametrize("reduced", [True, False])
async def test_nothing_moves_for_people_who_do_not_want_it(stage: Callable[..., Any], reduced: bool) -> None:
    built: Stage = await stage(admin_token=ADMIN)
    past(built, GRACE, heals=False)
    await built.phone(query="?livekit=true&audio=2")  # connecting: its light turns
    async with Browser() as browser:
        page = await browser.open("about:blank#")
        motion = {"name": "prefers-reduced-motion", "value": "reduce" if reduced else "no-preference"}
        await page.call("Emulation.setEmulatedMedia", features=[motion])
        await console_open(page, built)
        await page.until("!!document.querySelector('.row .light[data-light=wait]')", 20)
        turning = "document.getAnimations().filter((one) => one instanceof CSSAnimation).length"
        assert await page.run(turning) == (0 if reduced else 2)
        await page.run("[...document.querySelectorAll('.row')].find((row) => row.dataset.light === 'bad').click()")
        await page.until("document.querySelectorAll('.gap-layer .gap').length === 3")
        await page.click(".gap-layer .gap")
        flashes = "[...document.querySelectorAll('.gap-list li')].flatMap((one) => one.getAnimations()).length"
        assert await page.run(flashes) == (0 if reduced else 1)


@pytest.mark.slow
async def test_the_phone_says_what_is_true_now(stage: Callable[..., Any]) -> None:
    """News of a repair for five seconds, then that one is heard; a microphone that is off is grey, and no fault."""
    built: Stage = await stage(admin_token=ADMIN)
    light = "document.querySelector('#light').dataset.light"
    async with Browser(microphone=clips.wav()) as browser:
        page = await browser.open("about:blank#")
        await page.look(SMALL, dark=False)
        await phone_heard(page, built)
        [session] = built.cloud.sessions.living
        await page.press("m", "KeyM")
        await page.until(f"{TOLD} === 'your microphone is off' && {light} === 'off'")
        await page.press("m", "KeyM")
        await page.until(f"{TOLD} === 'you are heard' && {light} === 'ok'")
        assert session.sockets.phone is not None
        session.sockets.phone.close(CloseCode.SILENT)
        await page.until(f"{TOLD}.startsWith('audio is back')", 30)
        begun = asyncio.get_running_loop().time()
        await page.until(f"{TOLD} === 'you are heard'", 10)
        assert asyncio.get_running_loop().time() - begun > 4.0


@pytest.mark.slow
async def test_trouble_fits_a_telephone(stage: Callable[..., Any]) -> None:
    built: Stage = await stage(admin_token=ADMIN)
    async with Browser() as browser:
        page = await browser.open("about:blank#")
        await page.look(SMALL, dark=True)
        with trouble(built):
            await console_trouble(page, built)
            first = await page.run("document.querySelector('.row').getBoundingClientRect().bottom <= innerHeight")
            assert first, "the session in trouble is not on the first screen"
