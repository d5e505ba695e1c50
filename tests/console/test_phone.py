"""The browser phone on a real cloud: what it says when it is not wanted, and that it lets go of the microphone then."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from glassbridge.app import AppServer, Session
from glassbridge.cloud.apps.registry import StaticRegistry
from glassbridge.cloud.auth import mint_core_token
from glassbridge.core.gaps import Gap, GapState
from glassbridge.core.values import user_id
from glassbridge.lab import clips
from glassbridge.speech.base import Transcript, Want
from tests.cloud.app_stage import KEY, PACKAGE, app_stages
from tests.cloud.conftest import ANN, SECRET, Stage
from tests.console.browser import SMALL, Browser, Page
from tests.console.test_end_to_end import OUT
from tests.support.poll import eventually

CAPTIONS = "[...document.querySelectorAll('#captions li')].map((line) => line.textContent).join('|')"
TOLD = "document.querySelector('#truth').textContent"


async def open_phone(browser: Browser, built: Stage, token: str = "") -> Page:
    """The page of the browser phone, with a token of the user unless another one is given."""
    token = token or mint_core_token(user_id(ANN), SECRET, 600)
    page = await browser.open(f"{built.url}/console/phone?transport=websocket#token={token}")
    await page.look(SMALL, dark=True)
    return page


async def supersede(page: Page, built: Stage) -> None:
    """Another phone of the user comes. On a busy machine the page may come back just after it, and is the newer one
    then: so it comes again, until the page is told."""

    async def told() -> bool | str:
        if not built.phones or built.phones[-1].socket.closed:
            await built.phone(query="?audio=2")
        said = str(await page.run(TOLD))
        return "a newer socket of the same user took over" in said or said

    await eventually(told, 20)


@pytest.mark.chromium
async def test_a_phone_that_is_not_wanted_says_why_and_stops_listening(stage: Callable[..., Any]) -> None:
    built: Stage = await stage()
    async with Browser(microphone=clips.wav()) as browser:
        page = await open_phone(browser, built, "not-a-token")
        await page.click("#start")
        await page.until(f"{TOLD}.includes('the cloud refuses the token')", 20)
        await page.until("document.querySelector('#microphone').disabled")
        await page.click("#end")

        await page.type("#token", mint_core_token(user_id(ANN), SECRET, 600))
        await page.click("#start")
        await page.until(f"{TOLD} === 'you are heard'", 20)
        await eventually(lambda: len(built.recogniser.fed) > 32_000 or "nothing was heard", 20)
        [session] = built.cloud.sessions.living
        hear = partial(session.audio.transcription.understood, asked=frozenset({Want("en-US")}))
        hear(Transcript("one", True, 100_000, 101_000, id="u101"))
        hear(Transcript("tw", True, 102_000, 103_000, id="u102"))
        hear(Transcript("four", True, 109_000, 110_000, id="u103"))
        session.audio.transcription.missing(Gap("9-2f", 103_000, 4.0))
        await page.until(f"({CAPTIONS}).endsWith('one|tw|4 s are missing: the phone may still send them|four')")
        hear(Transcript("two", True, 102_000, 103_500, id="u104", inserts="9-2f", replaces=("u102",)))
        hear(Transcript("three", True, 105_000, 106_000, id="u105", inserts="9-2f"))
        session.audio.transcription.missing(Gap("9-2f", 103_000, 4.0, GapState.FILLED))
        await page.until(f"({CAPTIONS}).endsWith('one|two|three|four')")
        await supersede(page, built)
        assert await page.run("document.querySelector('#microphone').disabled")
        assert [found for found in page.complaints if "401" not in found and "WebSocket" not in found] == []


@pytest.mark.chromium
async def test_a_browser_that_never_starts_its_sound_is_told_of(stage: Callable[..., Any]) -> None:
    """Firefox waits for ever on a computer without a sound output; the phone did so with it, and said nothing."""
    built: Stage = await stage()
    async with Browser(microphone=clips.wav()) as browser:
        page = await open_phone(browser, built)
        await page.run("AudioContext.prototype.resume = () => new Promise(() => {}); 0")
        await page.click("#start")
        await page.until("document.body.innerText.includes('connect a loudspeaker or headphones')", 15)


BUTTON = f'#catalogue li[data-name="{PACKAGE}"] button'
ROW = f"document.querySelector('{BUTTON}')?.parentElement"


@pytest.mark.chromium
async def test_a_person_starts_and_stops_an_app_and_is_told_why_one_does_not_run() -> None:
    begun: list[Session] = []
    ended: list[str] = []
    right, wrong = AppServer(PACKAGE, KEY, port=0), AppServer(PACKAGE, "the-key-of-somebody-else", port=0)
    right.on_session(begun.append)
    right.on_stop(lambda _, why: ended.append(why))
    async with right, wrong, app_stages() as begin, Browser(microphone=clips.wav()) as browser:
        built = await begin(url=f"http://127.0.0.1:{right.port}")
        page = await open_phone(browser, built)
        await page.click("#start")
        await page.until(f"{ROW}?.dataset.state === 'stopped'", 20)
        await page.click(BUTTON)
        await page.until(f"{ROW}.dataset.state === 'running'", 10)
        assert await page.text(BUTTON) == "Stop"
        await begun[0].layouts.show_text("on the glasses")
        await page.until("document.querySelector('#apps li')?.textContent === 'on the glasses'")
        await page.screenshot(OUT / "phone-apps.png")
        await page.click(BUTTON)
        await page.until(f"{ROW}.dataset.state === 'stopped' && !document.querySelector('#apps li')", 10)
        await eventually(lambda: ended == ["stopped by the user"] or str(ended))

        record = built.cloud.sessions._apps.registry.find(PACKAGE)
        assert record is not None
        built.cloud.sessions._apps.registry = StaticRegistry(replace(record, url=f"http://127.0.0.1:{wrong.port}"))
        await page.click(BUTTON)
        await page.until(f"{ROW}.textContent.includes('API key')", 10)
        assert page.complaints == []
