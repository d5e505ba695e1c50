"""`/api/tts`: who may have something said, and what is said when it cannot be."""

from collections.abc import AsyncIterator
from time import time

import aiohttp
import pytest

from glassbridge.cloud.apps.registry import AppRecord
from glassbridge.cloud.apps.tts import own_address, vouched
from glassbridge.cloud.auth import mint_core_token
from glassbridge.core.values import user_id
from glassbridge.wire.app_keys import hash_key, signer, speech_claim
from tests.cloud.app_stage import KEY, PACKAGE, Begin, app_stages
from tests.cloud.conftest import ANN, SECRET
from tests.support.scripted_voice import ScriptedVoice


@pytest.fixture
async def stage() -> AsyncIterator[Begin]:
    async with app_stages() as begin:
        yield begin


def signed(text: str, voice: str = "", key: str = KEY, at: int = 0) -> dict[str, str]:
    claim = speech_claim(PACKAGE, text, voice)
    query = {"text": text, "app": PACKAGE, "signature": signer(key).sign(claim, at or int(time()))}
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
        assert (answer.status, (await answer.json())["error"]["message"]) == (
            422, "a text to say has 1 to 2000 characters: correct the text and the voice, or see the log of the cloud",
        )  # fmt: skip


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


async def test_speech_is_heard_while_it_is_made(stage: Begin) -> None:
    voice = ScriptedVoice()
    voice.pieces = [b"first", b"second"]
    voice.go_on.clear()
    built = await stage(voice=voice)
    async with built.http.get(f"{built.url}/api/tts", params=signed("hello")) as answer:
        assert await answer.content.read(5) == b"first"
        voice.go_on.set()
        assert await answer.read() == b"second"


async def test_speech_that_breaks_off_has_no_end(stage: Begin) -> None:
    voice = ScriptedVoice()
    voice.pieces, voice.error = [b"first"], "no credit left"
    voice.go_on.clear()
    built = await stage(voice=voice)
    async with built.http.get(f"{built.url}/api/tts", params=signed("hello")) as answer:
        assert await answer.content.read(5) == b"first"
        voice.go_on.set()
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()


async def test_model_and_settings_reach_the_voice(stage: Begin) -> None:
    voice = ScriptedVoice()
    built = await stage(voice=voice)
    more = {"model_id": "eleven_v3", "voice_settings": '{"speed": 1.1}'}
    async with built.http.get(f"{built.url}/api/tts", params=signed("hello") | more) as answer:
        assert answer.status == 200
    (said,) = voice.said
    assert (said.model, said.settings) == ("eleven_v3", {"speed": 1.1})
    for wrong in (
        {"voice_settings": "[]"},
        {"voice_settings": "{"},
        {"voice_settings": "[" * 2500},
        {"model_id": "a/b"},
    ):
        async with built.http.get(f"{built.url}/api/tts", params=signed("hello") | wrong) as answer:
            assert answer.status == 422


async def test_the_originals_sdk_is_vouched_for(stage: Begin) -> None:
    """It asks for `/api/tts` without a signature, by an app socket on which it has proven its key."""
    built = await stage(voice=ScriptedVoice())
    record = AppRecord(package=PACKAGE, url="http://x.test", key_hash=hash_key(KEY)).with_key(KEY)
    socket_url = built.url.replace("http", "ws") + "/app-ws"
    asked = f"{built.url}/api/tts?text=hello+there&voice_id=rms"
    async with built.http.get(asked) as answer:
        assert answer.status == 401
    for url in (asked, asked.replace("http:", "https:")):  # it says https even where the cloud has none
        async with built.http.get(vouched(url, record, socket_url, time())) as answer:
            assert (answer.status, await answer.read()) == (200, b"rms: hello there")
    for other in ("https://x.test/api/tts?text=hello", f"{built.url}/api/other", f"{asked}&signature=x&app=y"):
        assert vouched(other, record, socket_url, time()) == other
    for written in ("https://cdn.example/a%2Fb?sig=%7E&x=", "http://[no-url", "http://h/\udcff", ""):
        assert vouched(written, record, socket_url, time()) == written


@pytest.mark.parametrize(
    ("url", "cloud", "own"),
    [
        ("http://127.0.0.1:8000/api/tts?text=x", "ws://127.0.0.1:8000/app-ws", "127.0.0.1:8000"),
        ("http://127.0.0.1:8000/api/sounds/abc", "ws://127.0.0.1:8000/app-ws", "127.0.0.1:8000"),
        ("https://c.test/base/api/tts?text=x", "wss://c.test/base/app-ws", "c.test:443"),
        ("http://c.test/api/tts", "ws://c.test/app-ws", "c.test:80"),
        ("http://127.0.0.1:8000/metrics", "ws://127.0.0.1:8000/app-ws", ""),
        ("http://127.0.0.1:8000/api/sounds/", "ws://127.0.0.1:8000/app-ws", ""),
        ("http://127.0.0.1:8000/api/sounds/..", "ws://127.0.0.1:8000/app-ws", ""),
        ("http://127.0.0.1:8000/api/sounds/../../admin", "ws://127.0.0.1:8000/app-ws", ""),
        ("http://127.0.0.1:8000/other/api/tts", "ws://127.0.0.1:8000/app-ws", ""),
        ("http://127.0.0.1:9000/api/tts", "ws://127.0.0.1:8000/app-ws", ""),
        ("http://x@127.0.0.1:8000/api/tts", "ws://127.0.0.1:8000/app-ws", ""),
        ("http://127.0.0.1:8000\\@evil.test/api/tts", "ws://127.0.0.1:8000/app-ws", ""),
        ("http://[no-url", "ws://127.0.0.1:8000/app-ws", ""),
    ],
)
def test_only_speech_and_sounds_of_this_cloud_are_its_own(url: str, cloud: str, own: str) -> None:
    assert own_address(url, cloud) == own
