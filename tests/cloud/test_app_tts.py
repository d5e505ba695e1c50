"""`/api/tts`: who may have something said, and what is said when it cannot be."""

from collections.abc import AsyncIterator
from time import time

import pytest

from glassbridge.cloud.auth import mint_core_token
from glassbridge.core.values import user_id
from glassbridge.speech.voice import VoiceError
from glassbridge.wire.app_keys import hash_key, sign, speech_claim
from tests.cloud.app_stage import KEY, PACKAGE, Begin, app_stages
from tests.cloud.conftest import ANN, SECRET


class ScriptedVoice:
    async def say(self, text: str, voice: str | None = None) -> bytes:
        if not text:
            raise VoiceError("nothing to say")
        return f"{voice}: {text}".encode()


@pytest.fixture
async def stage() -> AsyncIterator[Begin]:
    async with app_stages() as begin:
        yield begin


def signed(text: str, voice: str = "", key: str = KEY, at: int = 0) -> dict[str, str]:
    claim = speech_claim(PACKAGE, text, voice)
    query = {"text": text, "app": PACKAGE, "signature": sign(hash_key(key), claim, at or int(time()))}
    return query | ({"voice_id": voice} if voice else {})


async def test_an_app_signs_and_a_user_signs_in(stage: Begin) -> None:
    built = await stage(voice=ScriptedVoice())
    url = f"{built.url}/api/tts"
    async with built.http.get(url, params=signed("hello & goodbye", "rms")) as answer:
        assert (answer.status, await answer.read()) == (200, b"rms: hello & goodbye")
        assert answer.content_type == "audio/wav"
    headers = {"Authorization": f"Bearer {mint_core_token(user_id(ANN), SECRET, 60)}"}
    async with built.http.get(url, params={"text": "hello"}, headers=headers) as answer:
        assert await answer.read() == b"None: hello"
    async with built.http.get(url, params=signed("")) as answer:
        assert (answer.status, (await answer.json())["error"]["message"]) == (422, "nothing to say")


async def test_nobody_else_has_anything_said(stage: Begin) -> None:
    """Hazard C-9."""
    built = await stage(voice=ScriptedVoice())
    good = signed("hello")
    for params in (
        {"text": "hello"},
        good | {"text": "goodbye"},
        good | {"voice_id": "rms"},
        good | {"app": "com.example.unknown"},
        signed("hello", key="another"),
        signed("hello", at=1),
        {"text": "hello", "app": PACKAGE},
    ):
        async with built.http.get(f"{built.url}/api/tts", params=params) as answer:
            assert answer.status == 401


async def test_a_cloud_without_a_voice_says_so(stage: Begin) -> None:
    built = await stage()
    async with built.http.get(f"{built.url}/api/tts", params=signed("hello")) as answer:
        assert (answer.status, (await answer.json())["error"]["code"]) == (501, "NO_VOICE")
