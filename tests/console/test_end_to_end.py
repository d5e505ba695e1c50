"""As a person sees it: speak into the browser phone, read the captions, kill the bridge, see it red, see it healed.

Everything is real: `glassbridge dev --break` as a user starts it, and Chromium with a microphone that plays our clip.
The screenshots stay in out/console.
"""

import re
from pathlib import Path

import pytest

from glassbridge.lab import clips
from tests.console.browser import DESKTOP, SMALL, Browser, Page
from tests.support.process import Program

OUT = Path(__file__).parents[2] / "out" / "console"
SPOKEN = f"{{}}.some((line) => {clips.words()!r}.filter((word) => line.textContent.includes(word)).length >= 3)"


def links(dev: Program) -> tuple[str, str]:
    """The console's and the phone's, as they are printed."""
    found = re.findall(r"^\s*(http\S+/console(?:/phone)?#token=\S+)$", "\n".join(dev.out), re.MULTILINE)
    assert len(found) == 2, dev.out
    return found[0], found[1]


async def understood(page: Page, lines: str) -> None:
    """Until a caption holds words of the clip."""
    await page.until(SPOKEN.format(f"[...document.querySelectorAll('{lines}')]"), 60)


@pytest.mark.chromium
@pytest.mark.real
@pytest.mark.timeout(600)
async def test_a_person_sees_the_bridge_die_and_come_back() -> None:
    async with (
        Program.glassbridge("dev", "--break", "--port", "0", "--livekit-port", "0") as dev,
        Browser(microphone=clips.wav()) as browser,
    ):
        await dev.says("A core token for me", within=60)
        to_console, to_phone = links(dev)

        phone = await browser.open(to_phone)
        await phone.look(SMALL, dark=True)
        assert "token" not in await phone.run("location.href"), "the token stays in the address"
        await phone.click("#start")
        await phone.until("document.querySelector('#truth').textContent === 'you are heard'", 60)

        console = await browser.open(to_console)
        await console.look(DESKTOP, dark=True)
        await console.until("document.querySelector('.row')?.dataset.light === 'ok'", 60)
        assert "token" not in await console.run("location.href"), "the token stays in the address"
        await console.until(f"document.querySelector('#open-phone').href === '{to_phone}'", 30)
        await console.click(".row")
        await understood(phone, "#captions li")
        await understood(console, ".captions li")
        await console.until("+document.querySelector('.meter').getAttribute('aria-valuenow') > -60", 30)

        await console.until("!!document.querySelector('[data-key=k]:enabled')", 30)
        await console.click("[data-key=k]")
        await console.until("!!document.querySelector('[aria-label=Bridge] .gap')", 60)
        told = await console.run("document.querySelector('[aria-label=Bridge] .gap').getAttribute('aria-label')")
        assert "Bridge: " in told or "Stream from the bridge: " in told
        await console.until("!document.querySelector('.gap.open') && !!document.querySelector('.gap')", 60)
        await console.until("document.querySelector('.gap-list').textContent.includes('healed by fresh join')", 60)
        await console.until("document.querySelector('.row').dataset.light === 'ok'", 60)
        said = len(await phone.run("[...document.querySelectorAll('#captions li')].map((line) => line.textContent)"))
        await phone.until(f"document.querySelectorAll('#captions li').length > {said}", 60)
        await phone.until("document.querySelector('#light').dataset.light === 'ok'", 30)
        await console.until("!document.querySelector('#faults button').disabled", 60)
        assert "audio" in await console.text("#trouble")

        await console.screenshot(OUT / "console-dark.png")
        await phone.screenshot(OUT / "phone-dark.png")
        await console.look(DESKTOP, dark=False)
        await phone.look(SMALL, dark=False)
        await console.press("t")  # the person's choice goes before the system's
        assert await console.run("document.documentElement.dataset.theme") == "dark"
        await console.press("t")
        await console.screenshot(OUT / "console-light.png")
        await phone.screenshot(OUT / "phone-light.png")
        await console.look(SMALL, dark=False)
        await console.screenshot(OUT / "console-small.png")
        await phone.press("m")
        await phone.until("document.querySelector('#microphone').getAttribute('aria-pressed') === 'false'")
        await phone.click("#end")
        await console.until("document.querySelector('.row').dataset.light === 'off'", 30)
        assert (phone.complaints, console.complaints) == ([], [])
