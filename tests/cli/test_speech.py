"""Recognisers on the command line: what is missing is said by the name of its variable, and the double serves."""

import os
import re
import signal
from typing import Any

import aiohttp
import pytest

from glassbridge.cli.speech import chosen_recogniser
from glassbridge.runtime.errors import UserError
from glassbridge.settings import read_settings
from glassbridge.speech import soniox_protocol as wire
from tests.support.process import Program

KEY = "canary-key-of-soniox-0123456789"


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"GLASSBRIDGE_RECOGNISER": "soniox"}, "SONIOX_API_KEY"),
        ({"GLASSBRIDGE_RECOGNISER": "nobody"}, "one of offline, moonshine, pocketsphinx, sherpa, soniox"),
        ({"GLASSBRIDGE_CAPTIONS": "fr-FR"}, "GLASSBRIDGE_CAPTIONS=fr-FR: the offline recogniser knows en-US only"),
        (
            {"GLASSBRIDGE_RECOGNISER": "soniox", "SONIOX_API_KEY": KEY, "GLASSBRIDGE_CAPTIONS": "xx-XX"},
            "Soniox does not know xx-XX",
        ),
    ],
)
def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], said: str) -> None:
    monkeypatch.delenv("SONIOX_API_KEY", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError) as refused:
        chosen_recogniser(read_settings(os.environ)[0])
    assert said in str(refused.value)
    assert KEY not in str(refused.value)


async def test_the_key_of_soniox_is_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SONIOX_API_KEY", KEY)
    monkeypatch.setenv("GLASSBRIDGE_RECOGNISER", "soniox")
    settings = read_settings(os.environ)[0]
    assert KEY in settings.secrets
    assert KEY not in f"{settings!r}{settings.model_dump()}"
    assert chosen_recogniser(settings).name == "soniox"
    recogniser = chosen_recogniser(settings, alone=True)
    assert (recogniser.name, recogniser.limits.streams) == ("soniox", 10)
    assert KEY not in f"{vars(recogniser)}"


async def test_the_double_of_soniox_serves_and_obeys() -> None:
    async with Program.glassbridge("soniox-double", "--port", "0", "--script", "hello there.") as double:
        text = await double.says("SONIOX_ENDPOINT=")
        found = re.search(r"(ws://127\.0\.0\.1:\d+)(/\S+)", text)
        assert found is not None
        async with aiohttp.ClientSession() as http:
            async with http.ws_connect(found[1] + found[2], headers={"Authorization": "Bearer any"}) as socket:
                await socket.send_str(wire.text_of(wire.Start("stt-rt-v5", "pcm_s16le", 16_000, 1)))
                await socket.send_bytes(bytes(32_000))
                tokens: list[Any] = []
                while not any(token["text"] == wire.END for token in tokens):
                    tokens += (await socket.receive_json(timeout=10.0)).get("tokens", [])
            assert "".join(token["text"] for token in tokens if token.get("is_final")) == "hello there<end>"
            base = found[1].replace("ws://", "http://")
            async with http.post(f"{base}/faults", data="401") as answer:
                assert answer.status == 200
            async with http.post(f"{base}/faults", data="nonsense") as answer:
                assert answer.status == 400
            async with http.ws_connect(found[1] + found[2], headers={"Authorization": "Bearer any"}) as socket:
                await socket.send_str(wire.text_of(wire.Start("stt-rt-v5", "pcm_s16le", 16_000, 1)))
                assert (await socket.receive_json(timeout=10.0))["error_code"] == 401
        double.signal(signal.SIGTERM)
        assert await double.ends() == 0
