"""The ElevenLabs voice beside a double of its API."""

from collections.abc import AsyncIterator

import pytest

from glassbridge.speech.elevenlabs import FORMAT, MODEL, ElevenLabsVoice
from glassbridge.speech.voice import SpeechRequest, VoiceError
from tests.support.scripted_voice import KEY, ElevenLabs, elevenlabs


@pytest.fixture
async def double() -> AsyncIterator[ElevenLabs]:
    async with elevenlabs() as started:
        yield started


@pytest.fixture
async def voice(double: ElevenLabs) -> AsyncIterator[ElevenLabsVoice]:
    made = ElevenLabsVoice(KEY, "usual", double.url)
    yield made
    await made.close()


async def said(voice: ElevenLabsVoice, utterance: SpeechRequest) -> bytes:
    return b"".join([piece async for piece in voice.say(utterance)])


async def test_pieces_come_as_they_are_made(double: ElevenLabs, voice: ElevenLabsVoice) -> None:
    double.go_on.clear()
    pieces = voice.say(SpeechRequest("hello"))
    assert await anext(pieces) == b"ID3"
    double.go_on.set()
    assert await anext(pieces) == b"sound"
    assert await anext(pieces, None) is None
    assert double.asked == [{"voice": "usual", "output_format": FORMAT, "text": "hello", "model_id": MODEL}]


async def test_voice_model_and_settings_are_handed_on(double: ElevenLabs, voice: ElevenLabsVoice) -> None:
    assert await said(voice, SpeechRequest("hello", "rachel", "eleven_v3", {"speed": 1.1})) == b"ID3sound"
    (asked,) = double.asked
    assert (asked["voice"], asked["model_id"], asked["voice_settings"]) == ("rachel", "eleven_v3", {"speed": 1.1})


@pytest.mark.parametrize(
    ("status", "says"), [(401, "key"), (404, "voice"), (422, "check"), (429, "too much"), (503, "503")]
)
async def test_a_refusal_is_told_without_what_was_said(
    double: ElevenLabs, voice: ElevenLabsVoice, status: int, says: str
) -> None:
    double.status = status
    with pytest.raises(VoiceError, match=says) as refused:
        await said(voice, SpeechRequest("hello"))
    assert KEY not in str(refused.value)
    assert KEY not in repr(voice)


async def test_a_wrong_key_and_a_wrong_name_go_nowhere(double: ElevenLabs) -> None:
    other = ElevenLabsVoice("wrong", "usual", double.url)
    with pytest.raises(VoiceError, match="ELEVENLABS_API_KEY"):
        await said(other, SpeechRequest("hello"))
    with pytest.raises(VoiceError, match="no such voice"):
        await said(other, SpeechRequest("hello", "../../v1/user"))
    assert len(double.asked) == 1
    await other.close()


async def test_a_stream_that_breaks_is_no_end(double: ElevenLabs, voice: ElevenLabsVoice) -> None:
    double.breaks = True
    with pytest.raises(VoiceError, match="reached"):
        await said(voice, SpeechRequest("hello"))


async def test_nobody_there(double: ElevenLabs) -> None:
    voice = ElevenLabsVoice(KEY, "usual", "http://127.0.0.1:1")
    with pytest.raises(VoiceError, match="reached"):
        await said(voice, SpeechRequest("hello"))
    await voice.close()
