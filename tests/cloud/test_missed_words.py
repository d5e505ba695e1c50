"""Sentences for an app that is away: it is told them once, in order, when it listens again."""

from collections.abc import AsyncIterator

import pytest

from glassbridge.cloud.apps.missed import KEPT, MOST_BYTES, Missed
from glassbridge.core.subscriptions import Stream
from glassbridge.core.values import user_id
from glassbridge.speech.base import Transcript, Want
from glassbridge.wire import apps as wire
from glassbridge.wire.close_codes import CloseCode
from tests.cloud.app_stage import PACKAGE, App, AppStage, Begin, app_stages
from tests.cloud.conftest import ANN, Phone
from tests.support.poll import eventually

ENGLISH = ("en-US",)
WORDS = "transcription:en-US"


@pytest.fixture
async def stage() -> AsyncIterator[Begin]:
    async with app_stages() as begin:
        yield begin


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def sentence(text: str) -> wire.DataStream:
    said = wire.Transcription(text=text, is_final=True, start_time=0, end_time=1, transcribe_language="en-US")
    return wire.DataStream(session_id="s", stream_type=WORDS, data=wire.raw(said))


def texts(messages: list[wire.DataStream]) -> list[str]:
    said = [wire.read_data(message) for message in messages]
    return [one.text for one in said if isinstance(one, wire.Transcription)]


def everything(_stream: Stream, _languages: tuple[str, ...]) -> bool:
    return True


def nothing(_stream: Stream, _languages: tuple[str, ...]) -> bool:
    return False


async def spoken_to(built: AppStage) -> tuple[Phone, App]:
    """An app that hears its user."""
    phone = await built.phone()
    app = await built.running(WORDS)
    await phone.socket.send_bytes(bytes(3200))
    await eventually(lambda: bool(built.recogniser.streams) or "no stream")
    built.recogniser.streams[0].say("before", final=True)
    await app.until_heard("transcription")
    return phone, app


async def gone(phone: Phone, app: App) -> None:
    await app.vanish()
    await eventually(lambda: phone.of_type("app_state_change")[-1]["state"] == "reconnecting" or str(phone.told))


def said_to(app: App) -> list[str]:
    return [said["text"] for said in app.heard("transcription")]


async def test_what_is_said_while_the_app_is_away_comes_when_it_listens_again(stage: Begin) -> None:
    built = await stage()
    phone, app = await spoken_to(built)
    await gone(phone, app)
    stream = built.recogniser.streams[0]
    stream.say("take a pic", final=False)
    stream.say("take a picture", final=True)
    stream.say("of the river", final=True)
    back = await built.app()
    await back.until("tpa_connection_ack")
    await back.subscribe("VAD")  # the original's SDK asks anew for each handler: this one hears no words yet
    await back.subscribe("VAD", WORDS)
    await back.until_heard("transcription", 2)
    built.recogniser.streams[-1].say("now", final=True)
    await back.until_heard("transcription", 3)
    assert said_to(back) == ["take a picture", "of the river", "now"]
    assert not back.heard("delivery_gap")


async def test_an_app_that_relies_on_what_is_in_force_gets_them_before_the_next_word(stage: Begin) -> None:
    built = await stage()
    phone, app = await spoken_to(built)
    await gone(phone, app)
    built.recogniser.streams[0].say("take a picture", final=True)
    back = await built.app()
    await back.until("tpa_connection_ack")
    built.recogniser.streams[0].say("and ano", final=False)
    await back.until_heard("transcription", 2)
    assert said_to(back) == ["take a picture", "and ano"]


async def test_what_is_said_while_a_closed_socket_is_still_seen_off_comes_later(stage: Begin) -> None:
    """A goodbye may take as long as what waits before it: 15 s."""
    built = await stage()
    await spoken_to(built)
    apps = built.cloud.sessions.apps_of(user_id(ANN))
    running = apps.find(PACKAGE) if apps is not None else None
    assert apps is not None
    assert running is not None
    assert running.socket is not None
    running.socket.close(CloseCode.SILENT)
    apps.transcript(Transcript("take a picture", True, 0, 1), frozenset({Want("en-US")}))
    back = await built.app()
    await back.until("tpa_connection_ack")
    await back.subscribe(WORDS)
    await back.until_heard("transcription")
    assert said_to(back) == ["take a picture"]


async def test_the_next_owner_of_the_user_tells_them(stage: Begin) -> None:
    former, owner = await stage(), await stage()
    phone, app = await spoken_to(former)
    await gone(phone, app)
    former.recogniser.streams[0].say("take a picture", final=True)
    apps = former.cloud.sessions.apps_of(user_id(ANN))
    await eventually(lambda: bool(apps and apps.handed_over().missed) or "nothing was kept")
    assert apps is not None
    await owner.phone()
    taking = owner.cloud.sessions.apps_of(user_id(ANN))
    assert taking is not None
    taking.take_over(apps.handed_over())
    moved = await owner.app()
    await moved.until("tpa_connection_ack")
    await moved.subscribe(WORDS)
    await moved.until_heard("transcription")
    assert said_to(moved) == ["take a picture"]


def test_what_is_too_old_or_too_much_is_dropped_and_counted() -> None:
    clock = Clock()
    missed = Missed(clock)
    missed.keep(Stream.TRANSCRIPTION, ENGLISH, sentence("old"))
    clock.now += KEPT + 1
    missed.keep(Stream.TRANSCRIPTION, ENGLISH, sentence("big" * (MOST_BYTES // 6)))
    missed.keep(Stream.TRANSCRIPTION, ENGLISH, sentence("big" * (MOST_BYTES // 6)))
    missed.keep(Stream.TRANSCRIPTION, ENGLISH, sentence("new"))
    assert missed.take(nothing) == []
    assert len(texts(missed.take(everything))) == 2
    assert (missed.take_dropped(), missed.take_dropped()) == (2, 0)
    assert not missed


def test_what_the_former_owner_kept_comes_first_and_goes_on_growing_old() -> None:
    clock = Clock()
    former, owner = Missed(clock), Missed(clock)
    former.keep(Stream.TRANSCRIPTION, ENGLISH, sentence("oldest"))
    clock.now += KEPT - 1
    former.keep(Stream.TRANSCRIPTION, ENGLISH, sentence("older"))
    (oldest, older) = former.handed_over()
    owner.keep(Stream.TRANSCRIPTION, ENGLISH, sentence("newer"))
    owner.take_over([{"age": "?"}, oldest, older, older | {"message": "{"}, older | {"stream": "of nothing"}])
    clock.now += 2
    assert texts(owner.take(everything)) == ["older", "newer"]
    assert owner.take_dropped() == 1
