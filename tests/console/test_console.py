"""The console in a real browser, on a real cloud: who gets in, keys, filters, what it says when the cloud is gone."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from glassbridge.cloud.app import Cloud
from glassbridge.core.gaps import Gap, GapState
from glassbridge.speech.base import Transcript
from tests.cloud.conftest import ScriptedRecogniser, Stage, cloud_config
from tests.console.browser import DESKTOP, Browser, Page
from tests.console.conftest import ADMIN
from tests.console.crowd import crowd, user
from tests.support.scripted_bridge import ScriptedBridge
from tests.support.scripted_rooms import ScriptedRooms

CHOSEN = "document.querySelector('[aria-selected=true] .user')?.textContent ?? ''"
SHOWN = "[...document.querySelectorAll('.row')].map((row) => row.querySelector('.user').textContent).sort().join()"
FOCUS = "document.activeElement.id"
NAMELESS = """
[...document.querySelectorAll("button, input, select, [role=meter], [role=group], section")]
  .filter((one) => !(one.innerText?.trim() || one.labels?.length || one.getAttribute("aria-label")
    || one.getAttribute("aria-labelledby") || one.type === "hidden" || one.hidden))
  .map((one) => one.outerHTML)
"""
"""What a screen reader could not name."""


async def sign_in(page: Page, token: str) -> None:
    await page.until("document.activeElement.id === 'token'")
    await page.type("#token", token)
    await page.press("Enter")


@pytest.mark.chromium
async def test_only_who_has_the_token_gets_in(stage: Callable[..., Any]) -> None:
    built: Stage = await stage(admin_token=ADMIN)
    async with Browser() as browser:
        page = await browser.open(f"{built.url}/console")
        await sign_in(page, "not-the-admin-token")
        await page.until("!document.querySelector('#refused').hidden")
        assert "That is not the admin token." in await page.text("#refused")
        await sign_in(page, ADMIN)
        await page.until("document.body?.dataset.ready === 'yes'")
        assert "No phone has connected yet." in await page.text("#nothing")
        [cookie] = (await page.call("Network.getCookies", urls=[built.url]))["cookies"]
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
        assert ADMIN not in cookie["value"]
        assert await page.run("document.cookie") == ""
        await page.reload()
        await page.until("document.body?.dataset.ready === 'yes'")
        await page.click("#sign-out")
        await page.until("document.activeElement.id === 'token'")
        assert (await page.call("Network.getCookies", urls=[built.url]))["cookies"] == []
        assert [found for found in page.complaints if "401" not in found] == []


CONTRAST = """
(() => {
  const probe = document.body.appendChild(document.createElement("i"));
  const rgb = (name) => {
    probe.style.color = `var(${name})`;
    return getComputedStyle(probe).color.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255);
  };
  const light = (name) => {
    const [r, g, b] = rgb(name).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const pairs = PAIRS.map(([ink, ground]) => {
    const [a, b] = [light(ink), light(ground)].sort((x, y) => y - x);
    return [ink, ground, (a + 0.05) / (b + 0.05)];
  });
  probe.remove();
  return pairs;
})()
"""
READ = [
    *((ink, ground) for ink in ("--ink", "--soft") for ground in ("--ground", "--panel", "--raised")),
    *(("--bad", ground) for ground in ("--ground", "--panel", "--raised")),
    ("--ink", "--bad-fill"),
    ("--on-accent", "--accent"),
]
"""What is read on what: 4.5 to 1 at least (WCAG AA)."""
SEEN = [(sign, "--panel") for sign in ("--ok", "--part", "--wait", "--bad", "--off", "--accent")]
"""Signs: 3 to 1."""


@pytest.mark.chromium
async def test_everybody_can_read_it_in_the_dark_and_by_day(pages: str) -> None:
    async with Browser() as browser:
        page = await browser.open(f"{pages}/console/phone")
        for dark in (True, False):
            await page.look(DESKTOP, dark=dark)
            found = await page.run(CONTRAST.replace("PAIRS", json.dumps(READ + SEEN)))
            weak = [pair for pair in found if pair[2] < (4.5 if (pair[0], pair[1]) in READ else 3.0)]
            assert weak == [], f"dark: {dark}"
            nameless = await page.run(NAMELESS)
            assert nameless == []


@pytest.mark.chromium
async def test_sessions_are_found_and_chosen_by_keys(
    stage: Callable[..., Any], signed_in: Callable[[Browser, Stage], Any]
) -> None:
    built: Stage = await stage(admin_token=ADMIN)
    async with crowd(built, 12) as phones, Browser() as browser:
        page: Page = await signed_in(browser, built)
        await page.look(DESKTOP, dark=True)
        await page.until("document.querySelectorAll('.row').length === 12")
        await page.press("/")
        assert await page.run(FOCUS) == "search"
        await page.type("#search", "FATIMA5")
        await page.until(f"({SHOWN}) === '{user(5)}'")
        await page.press("ArrowDown")
        assert await page.run(FOCUS) == "list"
        await page.press("ArrowDown")
        await page.until(f"({CHOSEN}) === '{user(5)}'")
        await page.until(f"document.querySelector('.session h2').textContent === '{user(5)}'")
        assert await page.run("location.hash.startsWith('#/session/')")
        await page.type("#search", "")
        await page.press("Escape")
        await page.press("Escape")
        assert await page.run("document.querySelector('#session').hidden")

        await phones[3].close()
        await page.until("document.querySelectorAll('.row[data-light=off]').length === 1", 20)
        await page.run(
            "[...document.querySelectorAll('.chip')].find((chip) => chip.textContent.includes('Away')).click()"
        )
        await page.until(f"({SHOWN}) === '{user(3)}'")
        assert page.complaints == []

        lost = await browser.open(f"{built.url}/console#/session/0123456789ab")
        await lost.until(
            "document.querySelector('.session .truth')?.textContent.includes('does not know this session')"
        )


@pytest.mark.chromium
async def test_missing_words_stand_in_their_place_until_they_have_come(
    stage: Callable[..., Any], signed_in: Callable[[Browser, Stage], Any]
) -> None:
    captions = "[...document.querySelectorAll('.captions li')].map((line) => line.lastChild.textContent).join('|')"
    built: Stage = await stage(admin_token=ADMIN)
    async with crowd(built, 1), Browser() as browser:
        page: Page = await signed_in(browser, built)
        await page.look(DESKTOP, dark=True)
        await page.until("document.querySelectorAll('.row').length === 1")
        await page.click(".row")
        await page.until(f"document.querySelector('.session h2').textContent === '{user(0)}'")
        flight = built.cloud.sessions.flights.find(built.cloud.sessions.flights.rows()[0]["id"])
        assert flight is not None
        gap = Gap("9-1f", 1_000, 30.0)
        flight.understood(Transcript("one", True, 0, 900, id="u1"))
        flight.words_missing(gap)
        await page.until(f"({captions}) === 'one|30 s are missing: the phone may still send them'")
        flight.understood(Transcript("two", True, 31_000, 32_000, id="u2"))
        flight.words_missing(replace(gap, state=GapState.KEPT))
        await page.until(f"({captions}) === 'one|30 s are missing|two'")
        flight.words_missing(replace(gap, state=GapState.FILLED))
        await page.until(f"({captions}) === 'one|two'")
        flight.understood(Transcript("four", True, 40_000, 41_000, id="u3"))
        flight.words_missing(Gap("9-2f", 33_000, 6.0))
        await page.until(f"({captions}) === 'one|two|6 s are missing: the phone may still send them|four'")
        flight.understood(Transcript("thr", False, 50_000, 50_500))
        flight.understood(Transcript("two and", True, 31_000, 34_000, id="u4", inserts="9-2f", replaces=("u2",)))
        flight.understood(Transcript("three", True, 35_000, 36_000, id="u5", inserts="9-2f"))
        flight.words_missing(Gap("9-2f", 33_000, 6.0, GapState.FILLED))
        await page.until(f"({captions}) === 'one|two and|three|four'")
        assert await page.run("document.querySelector('.interim').textContent") == "thr"
        assert page.complaints == []


@pytest.mark.chromium
async def test_who_has_no_captions_because_too_many_speak_is_told_over_the_list(
    stage: Callable[..., Any], signed_in: Callable[[Browser, Stage], Any]
) -> None:
    built: Stage = await stage(admin_token=ADMIN)
    async with Browser() as browser:
        page: Page = await signed_in(browser, built)
        assert await page.run("document.querySelector('#captions').hidden")
        built.cloud.sessions.speech.crowded_out = 3
        built.cloud.sessions.speech.slow = 1
        await page.until("!document.querySelector('#captions').hidden")
        text = await page.text("#captions")
        assert text.startswith("3 people have no captions: too many people speak at once; 1 person gets captions late")
        built.cloud.sessions.speech.crowded_out = built.cloud.sessions.speech.slow = 0
        await page.until("document.querySelector('#captions').hidden")
        assert page.complaints == []


@pytest.mark.chromium
async def test_without_an_admin_token_it_says_what_to_do(stage: Callable[..., Any]) -> None:
    built: Stage = await stage()
    async with Browser() as browser:
        page = await browser.open(f"{built.url}/console")
        await page.until("document.querySelector('#refused').textContent.includes('GLASSBRIDGE_ADMIN_TOKEN')")


@pytest.mark.chromium
async def test_what_is_old_is_not_shown_as_true() -> None:
    async with ScriptedBridge() as bridge, ScriptedRooms() as rooms, Browser() as browser:
        config = cloud_config(bridge, rooms, admin_token=ADMIN)
        async with Cloud(config, ScriptedRecogniser()) as cloud:
            page = await browser.open(f"http://127.0.0.1:{cloud.port}/console#token={ADMIN}")
            await page.until("document.body?.dataset.ready === 'yes'")
            assert await page.run("document.querySelector('#feed').hidden")
        await page.until("document.querySelector('#console').classList.contains('old')", 20)
        assert await page.text("#feed") == "The cloud does not answer: trying again"
        async with Cloud(replace(config, port=cloud.port), ScriptedRecogniser()):
            await page.until("document.querySelector('#feed').hidden", 30)
            assert not await page.run("document.querySelector('#console').classList.contains('old')")
