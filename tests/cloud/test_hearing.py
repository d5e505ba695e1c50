"""Who hears what, in which language, and when there is a stream for it: through the sockets of phones and apps."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from glassbridge.cloud.auth import mint_core_token
from glassbridge.cloud.transcripts import KEPT, Transcripts
from glassbridge.core import slowness
from glassbridge.core.recogniser import Reason, StreamTimes
from glassbridge.core.values import user_id
from glassbridge.speech.base import RecogniserError, Want
from glassbridge.wire.audio_frames import FLAG_REPLAYED, FrameNumber, encode_numbered
from tests.cloud.app_stage import PACKAGE, AppStage, Begin, app_stages
from tests.cloud.conftest import ANN, SECRET, ScriptedRecogniser, ScriptedStream
from tests.support.poll import eventually, stays

CHUNK = bytes(3_200)
"""100 ms."""


@pytest.fixture
async def begin() -> AsyncIterator[Begin]:
    async with app_stages() as start:
        yield start


async def stream_for(stage: AppStage, language: str, target: str | None = None) -> ScriptedStream:
    """The newest stream for this, once there is one."""

    def those() -> list[ScriptedStream]:
        return [stream for stream in stage.recogniser.streams if stream.want == Want(language, target)]

    await eventually(lambda: bool(those()) or f"no stream for {language}: {stage.recogniser.streams}")
    return those()[-1]


async def test_apps_get_the_languages_and_translations_that_they_ask_for(begin: Begin) -> None:
    stage = await begin(recogniser=ScriptedRecogniser("en-US", "es-ES", translates=True))
    phone = await stage.phone()
    app = await stage.running()
    ack = await app.subscribe(
        "transcription:es-ES", "translation:es-ES-to-en-US", "transcription:fr-FR", "translation:en-US-to-fr-FR"
    )
    assert ack["subscriptions"] == ["transcription:es-ES", "translation:es-ES-to-en-US"]
    assert {refused["stream"]: refused["message"] for refused in ack["refused"]} == {
        "transcription:fr-FR": "the recogniser here understands en-US, es-ES",
        "translation:en-US-to-fr-FR": "there is no translation here",
    }
    await phone.socket.send_bytes(CHUNK)
    spanish, translated = await stream_for(stage, "es-ES"), await stream_for(stage, "es-ES", "en-US")
    await stream_for(stage, "en-US")  # the phone's captions
    spanish.say("hola", final=True)
    translated.say("hello", final=True, original="hola")
    heard = await app.until_heard("transcription")
    assert (heard["text"], heard["transcribeLanguage"], heard["provider"]) == ("hola", "es-ES", "scripted")
    heard = await app.until_heard("translation")
    assert (heard["text"], heard["originalText"], heard["didTranslate"]) == ("hello", "hola", True)
    assert (heard["transcribeLanguage"], heard["translateLanguage"]) == ("es-ES", "en-US")
    assert phone.of_type("display_event") == [], "captions are in the phone's language"
    await app.subscribe("VAD")
    await eventually(lambda: (spanish.closed and translated.closed) or "streams that nobody wants are kept")


async def test_whoever_leaves_the_language_open_shares_the_stream_and_is_told_the_language(begin: Begin) -> None:
    stage = await begin()
    phone = await stage.phone()
    app = await stage.running("transcription:auto")
    await phone.socket.send_bytes(CHUNK)
    stream = await stream_for(stage, "en-US")
    stream.say("hello", final=True)
    assert (await app.until_heard("transcription"))["transcribeLanguage"] == "en-US"
    assert len(stage.recogniser.streams) == 1
    assert len((await ask(stage))["data"]["segments"]) == 1, "one thing said is remembered twice"


async def test_a_stream_goes_by_the_name_that_the_app_gave_it(begin: Begin) -> None:
    """The original's SDK calls its handlers by it, letter for letter."""
    asked = "transcription:en-US?no-language-identification=true"
    stage = await begin()
    phone = await stage.phone()
    app = await stage.running(asked, "VAD")
    await phone.socket.send_bytes(CHUNK)
    (await stream_for(stage, "en-US")).say("hello", final=True)
    await app.until_heard("transcription")
    await phone.say(type="VAD", status=True)
    await app.until_heard("VAD")
    assert [message["streamType"] for message in app.of_type("data_stream")] == [asked, "VAD"]


async def test_without_captions_there_is_a_stream_only_while_an_app_wants_one(begin: Begin) -> None:
    stage = await begin(captions="")
    phone = await stage.phone()
    await phone.socket.send_bytes(CHUNK)
    app = await stage.running()
    assert stage.recogniser.streams == []
    await app.subscribe("transcription:en-US")
    await phone.until("microphone_state_change")
    await phone.socket.send_bytes(CHUNK)
    stream = await stream_for(stage, "en-US")
    stream.say("hello", final=True)
    await app.until_heard("transcription")
    assert phone.of_type("display_event") == []
    await phone.say(type="VAD", status=False)
    assert (await phone.until("speech_end"))["captioned"] is False


async def test_a_stream_is_given_back_some_time_after_speech_and_silence_is_not_fed(begin: Begin) -> None:
    """What the phone sends although nobody speaks is kept for the pre-roll of the next words only."""
    stage = await begin(recogniser=ScriptedRecogniser(times=StreamTimes(linger=0.3)))
    phone = await stage.phone()
    await phone.say(type="VAD", status=True)
    await phone.socket.send_bytes(CHUNK * 10)
    first = await stream_for(stage, "en-US")
    await phone.say(type="VAD", status=False)
    await phone.until("speech_end")
    await eventually(lambda: first.closed or "the stream is kept")
    assert first.finished >= 1
    assert first.fed == CHUNK * 10
    sent = 0

    async def flow() -> bool | str:
        nonlocal sent
        await phone.socket.send_bytes(CHUNK)
        sent += 1
        return len(phone.of_type("speech_end")) >= 2 or "the silence is taken for speech"

    await eventually(flow, 15.0, every=0.1)
    second = stage.recogniser.streams[-1]
    fed = len(second.fed)
    for _ in range(40):
        await phone.socket.send_bytes(CHUNK)
    await phone.say(type="ping")
    await phone.until("pong")
    assert len(second.fed) == fed, "silence is fed"
    await phone.say(type="VAD", status=True)
    await phone.socket.send_bytes(CHUNK)
    await eventually(lambda: len(stage.recogniser.fed) - 10 * 3_200 - fed == 26 * 3_200 or "not 2.5 s of pre-roll")


async def test_times_go_on_across_streams(begin: Begin) -> None:
    stage = await begin()
    phone = await stage.phone()
    app = await stage.running("transcription:en-US")
    await phone.socket.send_bytes(CHUNK * 10)
    first = await stream_for(stage, "en-US")
    await eventually(lambda: len(first.fed) == 32_000 or "not fed")
    first.say("one", final=True)
    first.fail(RecogniserError("broken", Reason.NETWORK))
    await phone.socket.send_bytes(CHUNK * 10)
    await eventually(lambda: len(stage.recogniser.streams) == 2 or "no second stream")
    second = stage.recogniser.streams[1]
    await eventually(lambda: len(second.fed) == 32_000 or f"{len(second.fed)} bytes fed")
    second.say("two", final=True)
    said = await app.until_heard("transcription", 2)
    assert [(m["text"], m["startTime"], m["endTime"]) for m in app.heard("transcription")] == [
        ("one", 0, 1_000), ("two", 1_000, 2_000),
    ]  # fmt: skip
    assert said["isFinal"]


async def test_apps_are_told_that_nothing_is_understood(begin: Begin) -> None:
    stage = await begin()
    stage.recogniser.refuse = RecogniserError("Soniox says 401", Reason.UNAUTHORISED)
    phone = await stage.phone()
    app = await stage.running("audio_state", "transcription:en-US")
    await phone.socket.send_bytes(CHUNK)
    await eventually(
        lambda: (
            any(state.get("hop") == "recogniser" for state in app.heard("audio_state")) or str(app.heard("audio_state"))
        )
    )
    assert "Soniox says 401" in app.heard("audio_state")[-1]["reason"]
    await phone.until("display_event")


async def test_what_only_an_app_misses_is_not_shown_to_the_user(begin: Begin) -> None:
    stage = await begin(recogniser=ScriptedRecogniser("en-US", "es-ES"))
    phone = await stage.phone()
    app = await stage.running("audio_state")
    await phone.socket.send_bytes(CHUNK)
    await stream_for(stage, "en-US")
    stage.recogniser.refuse = RecogniserError("all recognisers are busy", Reason.BUSY)
    await app.subscribe("audio_state", "transcription:es-ES")
    await phone.socket.send_bytes(CHUNK)
    await phone.until_state("live", "recogniser_failed")
    reason = phone.of_type("audio_state")[-1]["reason"]
    assert reason == "audio arrives, but not all that apps ask for is understood: all recognisers are busy"
    assert phone.of_type("display_event") == []
    stage.recogniser.refuse = None
    await phone.until_state("live", within=15.0)


async def test_slower_captions_are_told_to_phone_and_apps_and_so_is_their_end(
    begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slowness, "CALM", 0.2)
    stage = await begin()
    phone = await stage.phone()
    app = await stage.running("audio_state")
    await phone.socket.send_bytes(CHUNK)
    stream = await stream_for(stage, "en-US")
    stream.partials = 2.0
    await phone.socket.send_bytes(CHUNK)
    await phone.until_state("live", "recogniser_slow")
    told = phone.of_type("audio_state")[-1]
    assert (told["seconds"], told.get("hop")) == (2.0, None)
    assert told["reason"] == "captions come about 2 s late: the recogniser is busy"
    await eventually(lambda: app.heard("audio_state")[-1].get("seconds") == 2.0 or str(app.heard("audio_state")))
    assert stage.cloud.sessions.speech.slow == 1
    stream.partials = 0.5
    await phone.socket.send_bytes(CHUNK)
    await eventually(
        lambda: phone.of_type("audio_state")[-1].get("code") != "recogniser_slow" or "it is still slow", within=10.0
    )
    assert phone.of_type("audio_state")[-1].get("seconds") is None


async def test_who_loses_captions_because_too_many_speak_is_told_so(begin: Begin) -> None:
    stage = await begin()
    phone = await stage.phone()

    async def speaks_until(state: str, code: str = "") -> None:
        """Without a pause, which would be a state of its own."""

        async def told() -> bool | str:
            await phone.socket.send_bytes(CHUNK)
            return phone.audio_states()[-1:] == [(state, code)] or str(phone.audio_states())

        await eventually(told, 15.0, every=0.1)

    await phone.socket.send_bytes(CHUNK)
    stream = await stream_for(stage, "en-US")
    overloaded = RecogniserError(Reason.OVERLOADED.text, Reason.OVERLOADED)
    stage.recogniser.refuse = overloaded  # also for the next try, which may come at once
    stream.fail(overloaded)
    await speaks_until("live", "recogniser_overloaded")
    told = phone.of_type("audio_state")[-1]
    assert told["hop"] == "recogniser"
    assert told["reason"] == f"audio arrives, but it is not captioned: {Reason.OVERLOADED.text}"
    assert stage.cloud.sessions.speech.crowded_out == 1
    stage.recogniser.refuse = None
    await speaks_until("live")
    assert len(stage.recogniser.streams) == 2
    assert stage.cloud.sessions.speech.crowded_out == 0


async def test_what_the_phone_understands_itself_is_passed_on(begin: Begin) -> None:
    stage = await begin()
    phone = await stage.phone()
    app = await stage.running("transcription:en-US")
    local = {"type": "local_transcription", "text": "turn left", "isFinal": True, "startTime": 10, "endTime": 900}
    await phone.say(**local, transcribeLanguage="en-us", speakerId="7", provider="whisper")
    heard = await app.until_heard("transcription")
    assert (heard["text"], heard["transcribeLanguage"]) == ("turn left", "en-US")
    assert (heard["speakerId"], heard["provider"], heard["endTime"]) == ("7", "whisper", 900)
    await phone.say(**local, transcribeLanguage="es-ES")
    await phone.say(**local, transcribeLanguage="!")
    await phone.say(type="ping")
    await phone.until("pong")
    assert len(app.heard("transcription")) == 1
    segments = (await ask(stage))["data"]["segments"]
    assert [(s["language"], s["provider"]) for s in segments] == [("en-US", "whisper"), ("es-ES", "phone")]
    assert phone.of_type("display_event") == []


# ---- what was said lately


async def ask(stage: AppStage, path: str = "/api/client/transcripts", user: str = ANN, status: int = 200) -> Any:
    headers = {"Authorization": f"Bearer {mint_core_token(user_id(user), SECRET, 60)}"} if user else {}
    async with aiohttp.ClientSession() as http, http.get(f"{stage.url}{path}", headers=headers) as answer:
        assert answer.status == status, await answer.text()
        return await answer.json()


async def test_what_was_said_is_there_for_who_said_it(begin: Begin) -> None:
    stage = await begin(recogniser=ScriptedRecogniser("en-US", "es-ES", translates=True))
    phone = await stage.phone()
    await stage.running("translation:en-US-to-es-ES")
    await phone.socket.send_bytes(CHUNK)
    (await stream_for(stage, "en-US")).say("good", final=False)
    (await stream_for(stage, "en-US")).say("good morning", final=True)
    (await stream_for(stage, "en-US", "es-ES")).say("buenos días", final=True, original="good morning")
    session = f"/api/transcripts/{ANN}-{PACKAGE}"
    told = (await ask(stage, session.upper().replace("/API/TRANSCRIPTS", "/api/transcripts")))["data"]
    assert told["keptSeconds"] == KEPT
    assert [(s["text"], s["language"], s.get("translateLanguage")) for s in told["segments"]] == [
        ("good morning", "en-US", None), ("buenos días", "en-US", "es-ES"),
    ]  # fmt: skip
    assert told["segments"][0]["endTime"] == 100
    for query, count in {
        "?language=es-ES": 1, "?language=en-US": 1, "?language=fr-FR": 0, "?duration=60": 2, "?duration=0": 0,
        "?endTime=1000": 0, "?startTime=2020-01-01T00:00:00Z": 2, "?startTime=2020-01-01&endTime=2020-01-02": 0,
    }.items():  # fmt: skip
        assert len((await ask(stage, session + query))["data"]["segments"]) == count, query
    await ask(stage, session, user="", status=401)
    await ask(stage, session, user="bob@example.com", status=403)
    await ask(stage, user="bob@example.com", status=503)
    await ask(stage, session + "?duration=long", status=400)
    await stays(lambda: phone.socket.closed is False or "closed", 0.05)


def test_half_an_hour_is_kept() -> None:
    now = 0.0
    transcripts = Transcripts(lambda: now)
    for minute in range(60):
        now = minute * 60.0
        transcripts.add(str(minute), ["en-US"], 0, 1)
    assert [segment.text for segment in transcripts.find(0.0, float("inf"), None)] == [str(n) for n in range(30, 60)]


async def test_missing_words_are_told_to_phone_and_apps_at_once_and_so_is_what_becomes_of_them(begin: Begin) -> None:
    stage = await begin()
    phone = await stage.phone(query="?audio=2")
    app = await stage.running("transcription:en-US")

    async def send(index: int, flags: int = 0) -> None:
        await phone.socket.send_bytes(encode_numbered(FrameNumber(9, index * 1_600, index * 100_000, flags), CHUNK))

    for index in (0, 1, 30):
        await send(index)
    told = await phone.until("transcript_gap")
    assert (told["seconds"], told["atMs"], told["state"]) == (2.8, 200, "open")
    assert (await app.until_heard("transcript_gap"))["id"] == told["id"]
    [gap] = (await ask(stage))["data"]["gaps"]
    assert gap == {"id": told["id"], "startTime": 200, "seconds": 2.8, "state": "open"}
    for index in range(2, 30):
        await send(index, FLAG_REPLAYED)
    assert (await phone.until("transcript_gap", 2))["state"] == "filled"
    (await stream_for(stage, "en-US")).say("good morning", final=True)
    shown = await phone.until("display_event")
    assert (shown["startMs"], shown["endMs"]) == (0, 3_100)
    told = (await ask(stage))["data"]
    assert (told["gaps"], len(told["segments"])) == ([], 1)
