"""The browser phone on a real cloud: what it says when it is not wanted, and that it lets go of the microphone then."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from glassbridge.cloud.auth import mint_core_token
from glassbridge.core.gaps import Gap, GapState
from glassbridge.core.values import user_id
from glassbridge.lab import clips
from glassbridge.speech.base import Transcript, Want
from tests.cloud.conftest import ANN, SECRET, Stage
from tests.console.browser import SMALL, Browser
from tests.support.poll import eventually

CAPTIONS = "[...document.querySelectorAll('#captions li')].map((line) => line.textContent).join('|')"
TOLD = "document.querySelector('#truth').textContent"


@pytest.mark.chromium
async def test_a_phone_that_is_not_wanted_says_why_and_stops_listening(stage: Callable[..., Any]) -> None:
    built: Stage = await stage()
    token = mint_core_token(user_id(ANN), SECRET, 600)
    async with Browser(microphone=clips.wav()) as browser:
        page = await browser.open(f"{built.url}/console/phone?transport=websocket#token=not-a-token")
        await page.look(SMALL, dark=True)
        await page.click("#start")
        await page.until(f"{TOLD}.includes('the cloud refuses the token')", 20)
        await page.until("document.querySelector('#microphone').disabled")
        await page.click("#end")

        await page.type("#token", token)
        await page.click("#start")
        await page.until(f"{TOLD} === 'you are heard'", 20)
        await eventually(lambda: len(built.recogniser.fed) > 32_000 or "nothing was heard", 20)
        [session] = built.cloud.sessions.living
        hear = partial(session._understand, asked=frozenset({Want("en-US")}))
        hear(Transcript("one", True, 100_000, 101_000, id="u101"))
        hear(Transcript("tw", True, 102_000, 103_000, id="u102"))
        hear(Transcript("four", True, 109_000, 110_000, id="u103"))
        session._tell_of_gap(Gap("9-2f", 103_000, 4.0))
        await page.until(f"({CAPTIONS}).endsWith('one|tw|4 s are missing: the phone may still send them|four')")
        hear(Transcript("two", True, 102_000, 103_500, id="u104", inserts="9-2f", replaces=("u102",)))
        hear(Transcript("three", True, 105_000, 106_000, id="u105", inserts="9-2f"))
        session._tell_of_gap(Gap("9-2f", 103_000, 4.0, GapState.FILLED))
        await page.until(f"({CAPTIONS}).endsWith('one|two|three|four')")
        other = await built.phone(query="?audio=2")
        await page.until(f"{TOLD}.includes('a newer socket of the same user took over')", 20)
        assert await page.run("document.querySelector('#microphone').disabled")
        await other.close()
        assert [found for found in page.complaints if "401" not in found and "WebSocket" not in found] == []
