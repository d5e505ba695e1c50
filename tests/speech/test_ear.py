"""An ear, from samples to transcripts, with Soniox behind it: every way in which its streams end, on real sockets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any

import pytest

from glassbridge.core import recogniser as recogniser_rules
from glassbridge.core.admission import Admission, Limits
from glassbridge.core.backoff import Ladder
from glassbridge.core.recogniser import Fault as Unheard
from glassbridge.core.recogniser import Reason, StreamTimes
from glassbridge.core.slowness import Slow
from glassbridge.core.spoken import Piece
from glassbridge.speech import soniox
from glassbridge.speech.base import Transcript, Want
from glassbridge.speech.ear import Ear
from glassbridge.speech.soniox import SonioxConfig, SonioxRecogniser
from glassbridge.speech.soniox_double import Fault, Manner, SonioxDouble
from glassbridge.speech.supervisor import Speech
from tests.speech.reading import Reader, Trouble, spoken
from tests.support.patience import Patience, patient
from tests.support.poll import eventually
from tests.support.virtual_time import virtual_time

KEY = "the-soniox-key-of-the-tests"
CHUNK = 3_200
SECOND = 32_000
QUICK = StreamTimes(linger=0.4, idle=30.0, settled=1.0, proven=0.1)


@dataclass
class Bench:
    """An ear and what is behind it; `speak` gives it audio of a session."""

    double: SonioxDouble
    speech: Speech
    ear: Ear
    heard: list[Transcript] = field(default_factory=list)
    troubles: list[Unheard | None] = field(default_factory=list)
    position: int = 0

    def speak(self, seconds: float) -> None:
        for _ in range(round(seconds * 10)):
            number = self.position // 1_600 % 250 + 1
            self.ear.put(Piece(self.position, bytes([number, 0]) * 1_600, monotonic()))
            self.position += 1_600

    async def speak_until(self, condition: Any, within: float = 10.0) -> float:
        """Speaks at its pace until the condition holds."""
        patience = Patience(within)
        while (said := condition()) is not True:
            assert patience.left > 0, said
            self.speak(0.1)
            await asyncio.sleep(0.1)
        return patience.spent

    @property
    def words(self) -> list[str]:
        return " ".join(said.text for said in self.heard if said.final).split()

    async def until_streams(self, count: int, within: float = 10.0) -> None:
        await eventually(
            lambda: len(self.double.streams) >= count or f"{len(self.double.streams)} streams of {count}", within
        )


@asynccontextmanager
async def benches(
    want: Want = Want("en-US"),  # noqa: B008
    times: StreamTimes = QUICK,
    key: str = KEY,
    **options: Any,
) -> AsyncIterator[Bench]:
    async with SonioxDouble(key=KEY, **options) as double:
        recogniser = SonioxRecogniser(SonioxConfig(key=key, url=double.url, ping_every=0.4))
        recogniser.times = times
        speech = Speech(recogniser)
        heard: list[Transcript] = []
        troubles: list[Unheard | None] = []
        ear = Ear(speech, recogniser.serves(want), heard.append, troubles.append, user_id="ann")
        try:
            yield Bench(double, speech, ear, heard, troubles)
        finally:
            await ear.close()
            await recogniser.close()


async def test_the_vocabulary_is_told_to_soniox() -> None:
    async with SonioxDouble(key=KEY) as double:
        config = SonioxConfig(key=KEY, url=double.url, vocabulary=("Glassbridge", "Ada Lovelace"))
        recogniser = SonioxRecogniser(config)
        stream = await recogniser.open(Want("en"), lambda _said: None, lambda _error: None)
        await eventually(lambda: bool(double.streams) or "no stream came")
        context = double.streams[0].start.context
        assert context is not None
        assert context.terms == ["Glassbridge", "Ada Lovelace"]
        await stream.close()
        await recogniser.close()


async def test_words_come_with_the_times_of_the_session() -> None:
    async with benches() as bench:
        bench.speak(2.4)
        await eventually(
            lambda: bench.words == ["hello", "world", "this", "is", "the", "double", "of", "soniox"] or str(bench.words)
        )
        first, second = (said for said in bench.heard if said.final)
        assert (first.text, first.start_ms, first.end_ms) == ("hello world", 0, 600)
        assert (second.start_ms, second.end_ms) == (600, 2400)
        assert (first.speaker, first.provider, first.language) == ("1", "soniox", "en")
        assert first.metadata is not None
        assert first.metadata["soniox"]["tokens"][0] == {
            "text": "hello", "startMs": 0, "endMs": 300, "confidence": 0.9, "isFinal": True, "speaker": "1",
        }  # fmt: skip
        assert any(not said.final and said.text == "hello" for said in bench.heard)
        start = bench.double.streams[0].start
        assert (start.language_hints, start.language_hints_strict, start.audio_format) == (["en"], True, "pcm_s16le")
        assert start.api_key == "", "the key goes with the connection"
        assert bench.ear.lags.answers == 2
        assert bench.ear.lags.worst.total < patient(5.0)


async def test_speech_that_ends_is_final_and_its_stream_is_given_back() -> None:
    async with benches() as bench:
        bench.speak(1.0)
        await bench.until_streams(1)
        bench.ear.ends()
        assert await bench.ear.finish()
        assert bench.words == ["hello", "world", "this"]
        await eventually(lambda: bench.double.open == 0 or "the stream is kept")
        seen = bench.double.streams[0]
        assert (seen.ended, len(seen.fed)) == (True, SECOND)
        assert bench.speech.streams == 0
        assert bench.troubles == []
        bench.ear.begins(bench.position)
        bench.speak(0.5)
        await eventually(lambda: len(bench.double.streams) == 2 or "no new stream")


@pytest.mark.parametrize("understood_ms", [0, 600])
async def test_a_connection_that_breaks_is_replaced_soon_and_nothing_is_lost(understood_ms: int) -> None:
    async with benches() as bench:
        bench.double.misbehave(Fault(Manner.DROP, after=0.8 if understood_ms else 0.0, times=1))
        bench.speak(0.7)
        if understood_ms:
            await eventually(lambda: bench.words == ["hello", "world"] or str(bench.words))
        bench.speak(0.3)
        await eventually(lambda: dict(bench.speech.ended) == {"network": 1} or str(bench.speech.ended))
        broken = monotonic()
        await bench.until_streams(2)
        assert monotonic() - broken < patient(2.0 * 3)  # the rule says 0.5 s at most; this machine may be busy
        bench.speak(2.0)
        again = bench.double.streams[1].fed
        expected = 2 * bench.position - understood_ms * 32
        await eventually(lambda: len(again) == expected or f"{len(again)} bytes of {expected}")
        assert [said.reason for said in bench.troubles if said] == [Reason.NETWORK]
        await eventually(lambda: bench.troubles[-1:] == [None] or f"not told well: {bench.troubles}")


async def test_a_wrong_key_is_tried_once_for_everybody() -> None:
    async with benches(key="wrong") as bench:
        bench.speak(0.5)
        await eventually(lambda: bench.double.refused == 1 or "not asked")
        await eventually(lambda: bool(bench.troubles) or "not told")
        other = Ear(bench.speech, Want("es"), bench.heard.append, bench.troubles.append)
        for _ in range(10):
            bench.speak(0.1)
            other.put(Piece(0, bytes(CHUNK), monotonic()))
            await asyncio.sleep(0.1)
        assert bench.double.refused == 1
        assert not await bench.ear.finish()
        said = [fault for fault in bench.troubles if fault]
        assert {fault.reason for fault in said} == {Reason.UNAUTHORISED}
        assert "SONIOX_API_KEY" in said[0].why
        assert "wrong" not in str(said)
        await other.close()


async def test_408_is_no_fault_and_resumes_with_audio() -> None:
    async with benches() as bench:
        bench.double.idle_limit = 0.3
        bench.speak(0.5)
        await bench.until_streams(1)
        await eventually(lambda: bench.double.open == 0 or "it keeps the stream")
        await eventually(lambda: dict(bench.speech.ended) == {"silence": 1} or str(bench.speech.ended))
        await asyncio.sleep(0.3)
        assert len(bench.double.streams) == 1
        bench.speak(0.1)
        await bench.until_streams(2)
        assert bench.troubles == []


@pytest.mark.parametrize("code", [429, 503])
async def test_who_is_told_to_come_less_often_does(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recogniser_rules, "LATER", Ladder(base=0.4, cap=1.6))
    async with benches() as bench:
        bench.double.misbehave(Fault(Manner.ERROR, code))
        begun = monotonic()
        while monotonic() - begun < 1.5:
            bench.speak(0.1)
            await asyncio.sleep(0.1)
        assert len(bench.double.streams) <= 9, "15 frames of audio came: a try for each would be a storm"
        assert {fault.reason.again.value for fault in bench.troubles if fault} == {"later"}
        bench.double.misbehave(None)
        await bench.speak_until(lambda: bench.troubles[-1:] == [None] or "not well", within=25.0)


async def test_a_normal_close_is_not_made_good_until_the_next_speech() -> None:
    async with benches() as bench:
        bench.double.misbehave(Fault(Manner.NORMAL, after=0.5, times=1))
        bench.speak(0.5)
        await bench.until_streams(1)
        await eventually(lambda: dict(bench.speech.ended) == {"normal": 1} or str(bench.speech.ended))
        bench.speak(0.5)
        await asyncio.sleep(0.3)
        assert len(bench.double.streams) == 1
        assert bench.troubles == []
        bench.ear.ends()
        bench.ear.begins(bench.position)
        await bench.until_streams(2)


async def test_a_service_that_asks_for_a_new_stream_gets_one_at_once() -> None:
    async with benches() as bench:
        bench.double.misbehave(Fault(Manner.ERROR, 503, after=0.5, times=1))
        bench.speak(1.0)
        await bench.until_streams(2)
        assert dict(bench.speech.ended) == {"restart": 1}


async def test_a_connection_that_is_half_open_is_noticed() -> None:
    async with benches() as bench:
        bench.double.misbehave(Fault(Manner.HALF_OPEN, after=0.5, times=1))
        bench.speak(0.6)
        await bench.until_streams(1)
        await bench.speak_until(lambda: len(bench.double.streams) >= 2 or "not noticed", within=15.0)


async def test_a_service_that_takes_audio_and_says_nothing_is_replaced() -> None:
    """Its pongs prove nothing."""
    async with benches() as bench:
        bench.speech.recogniser.stuck = 0.8
        bench.double.misbehave(Fault(Manner.MUTE, after=0.3, times=1))
        await bench.speak_until(lambda: len(bench.double.streams) >= 2 or "not replaced", within=20.0)
        assert set(bench.speech.ended) == {"stuck"}
        await eventually(lambda: bench.troubles[-1:] == [None] or f"not told well: {bench.troubles}")


async def test_silence_that_never_ends_a_stream_is_ended_by_the_age_of_audio(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep-alives bridge a pause, and then stop: they keep nothing for ever and prove nothing."""
    monkeypatch.setattr(soniox, "KEEPALIVE_AFTER", 0.1)
    async with benches(times=replace(QUICK, idle=0.7)) as bench:
        bench.speak(0.5)
        await bench.until_streams(1)
        await eventually(lambda: bench.double.open == 0 or "the stream is kept")
        seen = bench.double.streams[0]
        assert 1 <= seen.keepalives <= 8
        assert seen.finalised == 1
        assert bench.words == ["hello"]
        assert bench.troubles == []


async def test_lag_is_measured_where_it_arises() -> None:
    async with benches() as bench:
        bench.double.lag = 0.6
        bench.speak(1.0)
        await eventually(lambda: bench.ear.lags.answers >= 1 or "no answer")
        worst = bench.ear.lags.worst
        assert worst.recognised >= 0.5
        assert worst.waited < worst.recognised + patient(2.0)


async def test_a_translation_comes_with_what_was_said() -> None:
    async with benches(Want("en-US", "es-ES")) as bench:
        bench.speak(1.0)
        await eventually(lambda: len(bench.words) == 2 or str(bench.heard))
        first = next(said for said in bench.heard if said.final)
        assert (first.text, first.original, first.start_ms, first.end_ms) == (
            "hello·es world·es",
            "hello world",
            0,
            600,
        )
        translation = bench.double.streams[0].start.translation
        assert translation is not None
        assert (translation.type, translation.target_language) == ("one_way", "es")


async def test_any_language_is_told_which_it_was() -> None:
    async with benches(Want("auto")) as bench:
        bench.speak(1.0)
        await eventually(lambda: bool(bench.words) or "nothing heard")
        assert bench.heard[-1].language == "en"
        assert bench.double.streams[0].start.enable_language_identification


async def test_an_ear_that_nobody_wants_gives_its_stream_back_and_closing_leaves_nothing() -> None:
    async with benches() as bench:
        bench.speak(0.5)
        await bench.until_streams(1)
        bench.ear.retire()
        await eventually(lambda: bench.double.open == 0 or "the stream is kept")
        bench.speak(0.5)
        await asyncio.sleep(0.2)
        assert len(bench.double.streams) == 1


async def test_a_defect_of_a_recogniser_costs_its_stream_only() -> None:
    async with benches() as bench:
        open_, bench.speech.recogniser.open = bench.speech.recogniser.open, None  # type: ignore[method-assign, assignment]
        bench.speak(0.5)
        await eventually(lambda: [fault.reason for fault in bench.troubles if fault] == [Reason.CRASHED] or "not told")
        bench.speech.recogniser.open = open_  # type: ignore[method-assign]
        await bench.speak_until(lambda: bench.troubles[-1:] == [None] or "not well")
        assert bench.speech.streams == 1


@pytest.mark.parametrize(
    ("status", "reason"), [(401, Reason.UNAUTHORISED), (429, Reason.TOO_MANY), (500, Reason.UNAVAILABLE)]
)
async def test_a_door_that_stays_shut_is_told_by_its_status_and_the_key_shows_nowhere(
    status: int, reason: Reason, capsys: pytest.CaptureFixture[str]
) -> None:
    async with benches() as bench:
        bench.double.door = status
        bench.speak(0.5)
        await eventually(lambda: bool(bench.troubles) or "not told")
        fault = bench.troubles[0]
        assert fault is not None
        assert (fault.reason, fault.refused) == (reason, True)
        assert str(status) in fault.why
    said = capsys.readouterr()
    assert KEY not in f"{said.out}{said.err}{fault}{SonioxConfig(key=KEY)!r}"


async def test_a_stream_that_the_service_finds_too_long_is_replaced() -> None:
    async with benches() as bench:
        bench.double.longest = 1.5
        await bench.speak_until(lambda: len(bench.double.streams) >= 2 or "not replaced")
        assert set(bench.speech.ended) == {"bad_request"}
        assert {fault.reason for fault in bench.troubles if fault} == {Reason.CAP}


async def test_there_are_as_many_streams_as_are_allowed() -> None:
    async with benches() as bench:
        bench.speech.recogniser.limits = Limits(streams=1)
        bench.speech._admission = Admission(bench.speech.recogniser.limits)
        bench.speak(0.2)
        await bench.until_streams(1)
        troubles: list[Unheard | None] = []
        other = Ear(bench.speech, Want("es"), bench.heard.append, troubles.append)
        other.put(Piece(0, bytes(CHUNK), monotonic()))
        await eventually(lambda: bool(troubles) or "not told")
        assert troubles[0] is not None
        assert "all 1 recognisers are busy (GLASSBRIDGE_RECOGNISERS" in troubles[0].why
        bench.ear.retire()
        await eventually(lambda: troubles[-1] is None or "it does not get the place that is free", 10.0)
        await other.close()


def test_a_link_that_stands_still_in_the_middle_of_a_sentence_makes_no_slow_recogniser() -> None:
    """The utterance stays open until audio is back, since it may go on. Its final transcript is late by the link, of
    which people are told by its own word."""
    sound = spoken([(4, 900), (3, 900)])
    slow: list[Slow | None] = []
    heard: list[Transcript] = []

    async def speak() -> None:
        speech = Speech(Reader("offline"))
        ear = Ear(speech, Want("en-US"), heard.append, lambda _fault: None, slow.append)
        loop = asyncio.get_running_loop()
        for at in range(0, len(sound), CHUNK):
            await asyncio.sleep(12.0 if at == 14 * CHUNK else 0.1)
            ear.put(Piece(at // 2, sound[at : at + CHUNK], loop.time()))
        assert await ear.finish()
        assert ear.lags.answers == 2
        assert ear.lags.worst.total < 1.5
        await ear.close()

    with virtual_time() as loop:
        loop.run_until_complete(speak())
    assert [said.text for said in heard if said.final] == ["1 2 3 4", "5 6 7"]
    assert slow == []


def test_who_waits_for_a_stream_is_told_how_late_captions_are() -> None:
    slow: list[Slow | None] = []

    async def speak() -> None:
        waits_a_minute = Reader("offline", troubles=[Trouble(0.0)])
        ear = Ear(Speech(waits_a_minute), Want("en-US"), lambda _said: None, lambda _fault: None, slow.append)
        loop = asyncio.get_running_loop()
        for at in range(0, 6 * SECOND, CHUNK):
            await asyncio.sleep(0.1)
            ear.put(Piece(at // 2, b"\x11\x11" * (CHUNK // 2), loop.time()))
        await ear.close()

    with virtual_time() as loop:
        loop.run_until_complete(speak())
    told = [found.seconds for found in slow if found is not None]
    assert told == pytest.approx([2.5, 5.0], abs=0.25)
