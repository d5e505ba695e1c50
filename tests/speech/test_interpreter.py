"""What a process of many streams does with its audio, without the process: a model that counts, time that is told."""

import io

import msgspec
import pytest

from glassbridge.core.speech_load import BUSY, USUAL_RATE, Partials
from glassbridge.speech.base import Transcript
from glassbridge.speech.interpreter import FIRST_PARTIAL, Interpreter
from glassbridge.speech.pool import PATIENCE
from glassbridge.speech.process_wire import FRAME, Answer, Finished, ProcessOrder, ProcessStatus, Ready, Said, Shed
from glassbridge.speech.worker import serve
from tests.speech.test_segments import Loud

SECOND = 32_000
SPEECH, SILENCE = b"\x11\x11" * 16_000, bytes(SECOND)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Processor:
    """Gives a `share` of itself to whoever works for long, and all of itself to whoever hardly does: as a scheduler
    does. So what little work costs on a busy machine says nothing of what much work will."""

    BURST = 0.2

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.share = 1.0
        self.cpu = 0.0
        """Seconds that were given."""
        self._saved, self._looked_at = self.BURST, clock.now
        self._reviewed = (clock.now, 0.0)

    def work(self, seconds: float) -> None:
        saved = min(self.BURST, self._saved + self.share * (self.clock.now - self._looked_at))
        at_once = seconds if self.share == 1.0 else min(saved, seconds)
        self.clock.now += at_once + (seconds - at_once) / self.share
        self.cpu += seconds
        self._saved, self._looked_at = max(0.0, saved - at_once), self.clock.now

    def idle(self) -> float:
        """Others use what this program does not get."""
        (at, cpu), self._reviewed = self._reviewed, (self.clock.now, self.cpu)
        used = (self.cpu - cpu) / max(1e-3, self.clock.now - at)
        return max(0.0, 1.0 - used) if self.share == 1.0 else 0.0


class Model:
    """Takes `cost` seconds for each second of audio, and understands how many of them were loud."""

    def __init__(self, processor: Processor, cost: float = 0.0) -> None:
        self.processor = processor
        self.cost = cost
        self.heard: list[bytes] = []

    def transcribe(self, pcm: bytes) -> str:
        self.heard.append(pcm)
        self.processor.work(self.cost * len(pcm) / SECOND)
        return f"loud {pcm.count(0x11) / SECOND:.2f}."


class Desk:
    """Speaks to an interpreter in real time."""

    def __init__(self, cost: float = 0.0) -> None:
        self.clock = Clock()
        self.processor = Processor(self.clock)
        self.model = Model(self.processor, cost)
        self.interpreter = Interpreter(
            self.model, Loud, self.clock, lambda: self.processor.cpu, self.processor.idle, cost or USUAL_RATE
        )
        self.answers: list[tuple[float, Answer]] = []
        self.positions: dict[int, int] = {}
        self._status_at = self.clock.now

    def open(self, *streams: int) -> None:
        for stream in streams:
            self.interpreter.obey(ProcessOrder.OPEN, stream, 0, b"")
            self.positions[stream] = 0

    def say(self, sound: dict[int, bytes]) -> None:
        """Plays to each stream, 0.1 s at a time; what is late piles up as it does in a pipe."""
        begun = self.clock.now
        for at in range(0, max(map(len, sound.values())), 3_200):
            self.clock.now = max(self.clock.now, begun + at / SECOND)
            for stream, pcm in sound.items():
                self.feed(stream, pcm[at : at + 3_200])
            self.work(until=begun + (at + 3_200) / SECOND)

    def feed(self, stream: int, pcm: bytes) -> None:
        self.interpreter.obey(ProcessOrder.AUDIO, stream, self.positions[stream], pcm)
        self.positions[stream] += len(pcm) // 2

    def work(self, until: float = float("inf")) -> None:
        while self.clock.now < until:
            if self.clock.now >= self._status_at:
                self._status_at = self.clock.now + 1.0
                self.answers += [(self.clock.now, answer) for answer in self.interpreter.review(self.clock.now)]
            if (answers := self.interpreter.work()) is None:
                return
            for answer in answers:
                self.answers.append((self.clock.now, answer))

    def said(self, stream: int, *, final: bool) -> list[tuple[float, Transcript]]:
        return [
            (at, answer.transcript)
            for at, answer in self.answers
            if isinstance(answer, Said) and answer.stream == stream and answer.transcript.final is final
        ]

    @property
    def status(self) -> ProcessStatus:
        return [answer for _, answer in self.answers if isinstance(answer, ProcessStatus)][-1]


def test_partials_come_soon_and_twice_a_second_and_the_final_after_the_pause() -> None:
    desk = Desk()
    desk.open(1)
    begun = desk.clock.now
    desk.say({1: SILENCE + SPEECH * 3 + SILENCE})
    partials = desk.said(1, final=False)
    assert partials[0][0] <= begun + 1.0 + FIRST_PARTIAL + 0.3
    assert len(partials) in (4, 5, 6)
    [(at, final)] = desk.said(1, final=True)
    assert at <= begun + 4.0 + 0.7
    assert 990 <= final.start_ms <= 1_010
    assert 3_960 <= final.end_ms <= 4_000
    assert final.text == "loud 3.00."
    assert not partials[0][1].text.endswith("."), "a sentence that goes on has no full stop"


def test_a_pause_is_understood_before_it_ends_the_utterance_and_no_second_time() -> None:
    desk = Desk(cost=0.05)
    desk.open(1)
    begun = desk.clock.now
    desk.say({1: SPEECH * 7 + SILENCE[: SECOND // 2] + SPEECH + SILENCE})
    [(at, final)] = desk.said(1, final=True)
    assert final.text == "loud 8.00."
    assert at - begun - final.end_ms / 1000 <= 0.65, "0.55 s of pause, and nothing else"
    whole = [pcm for pcm in desk.model.heard if pcm.count(0x11) == 8 * SECOND]
    assert len(whole) == len(set(whole))
    assert any(pcm.count(0x11) == 7 * SECOND for pcm in desk.model.heard), "the pause inside of it"


def test_finish_is_answered_after_the_last_words_and_each_stream_gets_its_own() -> None:
    desk = Desk()
    desk.open(1, 2)
    desk.say({1: SPEECH, 2: SPEECH * 2})
    for stream in (1, 2):
        desk.interpreter.obey(ProcessOrder.FINISH, stream, 0, b"")
    desk.work()
    kinds = [
        (answer.stream, isinstance(answer, Finished) or answer.transcript.text)
        for _, answer in desk.answers
        if isinstance(answer, Finished) or (isinstance(answer, Said) and answer.transcript.final)
    ]
    assert kinds == [(1, "loud 1.00."), (1, True), (2, "loud 2.00."), (2, True)]


def test_finals_come_before_partials() -> None:
    desk = Desk()
    desk.open(1, 2)
    for stream in (1, 2):
        desk.feed(stream, SPEECH)
    desk.clock.now += 1.0
    desk.feed(1, SILENCE)
    answers = desk.interpreter.work()
    assert answers is not None
    [said] = answers
    assert isinstance(said, Said)
    assert (said.stream, said.transcript.final) == (1, True)


def test_a_closed_stream_costs_nothing_more() -> None:
    desk = Desk()
    desk.open(1)
    desk.feed(1, SPEECH + SILENCE)
    desk.interpreter.obey(ProcessOrder.CLOSE, 1, 0, b"")
    desk.interpreter.obey(ProcessOrder.AUDIO, 1, 0, SPEECH)
    desk.interpreter.obey(ProcessOrder.FINISH, 1, 0, b"")
    desk.work()
    assert desk.model.heard == []
    assert [answer for _, answer in desk.answers if isinstance(answer, Said | Finished)] == []


@pytest.mark.parametrize(("speakers", "paces"), [(2, {"FAST"}), (5, {"SLOWER", "SLOW"}), (11, {"FINALS"})])
def test_partials_slow_down_with_the_load_and_finals_stay_in_time(speakers: int, paces: set[str]) -> None:
    desk = Desk(cost=0.05)
    streams = range(1, speakers + 1)
    desk.open(*streams)
    silent = {stream: SILENCE * (stream % 3) for stream in streams}
    desk.say({stream: silent[stream] + (SPEECH * 4 + SILENCE) * 8 for stream in streams})
    assert desk.status.pace in paces
    desk.work()
    for stream in streams:
        finals = desk.said(stream, final=True)
        assert len(finals) == 8
        lags = [at - 100.0 - said.end_ms / 1000 for at, said in finals[1:]]
        assert max(lags) < 2.0, (stream, lags)


def test_when_too_many_speak_the_newest_are_told_and_the_others_are_in_time() -> None:
    """They were let in while they paused."""
    desk = Desk(cost=0.08)
    streams = range(1, 25)
    desk.open(*streams)
    desk.say(dict.fromkeys(streams, SILENCE * 30))
    begun = desk.clock.now
    desk.say({stream: SILENCE * (stream % 4) + (SPEECH * 4 + SILENCE) * 20 for stream in streams})
    desk.work()
    gone = [answer.stream for _, answer in desk.answers if isinstance(answer, Shed)]
    assert gone == sorted(gone, reverse=True)
    stay = [stream for stream in streams if stream not in gone]
    assert 6 <= len(stay) <= 12
    lags = sorted(
        at - 100.0 - said.end_ms / 1000
        for stream in stay
        for at, said in desk.said(stream, final=True)
        if said.start_ms > (begun - 100.0) * 1000
    )
    assert len(lags) == 20 * len(stay)
    assert lags[len(lags) * 95 // 100] <= 3.0, lags[-20:]


class Crowd:
    """Each of `people` knocks once a second until there is room; `text` gives what one of them says."""

    def __init__(self, desk: Desk, text: dict[int, bytes]) -> None:
        self.desk = desk
        self.text = text
        self.admitted = dict[int, float]()
        self.gone: list[int] = []
        self._begun = desk.clock.now

    def speak(self, seconds: int) -> None:
        desk, begun = self.desk, self._begun
        for at in range(0, seconds * SECOND, 3_200):
            due = begun + at / SECOND
            desk.clock.now = max(desk.clock.now, due)
            if at % SECOND == 0:
                self._knock(due)
            for person, since in self.admitted.items():
                said = round((due - since) * 10) * 3_200
                desk.feed(person, self.text[person][said : said + 3_200])
            desk.work(until=due + 0.1)
        self._begun += seconds

    def _knock(self, now: float) -> None:
        self.gone = [answer.stream for _, answer in self.desk.answers if isinstance(answer, Shed)]
        statuses = [answer for _, answer in self.desk.answers if isinstance(answer, ProcessStatus)]
        status = statuses[-1] if statuses else ProcessStatus(Partials.FAST.name, 0.0, 0.0, 0.0, fits=1)
        room = max(0, status.fits - max(0, len(self.admitted) - len(self.gone) - status.streams))
        for person in [person for person in self.text if person not in self.admitted][:room]:
            self.desk.open(person)
            self.admitted[person] = now

    def lags(self, since: float = 0.0) -> list[float]:
        """Of finals of those who stayed, of what was said after that many seconds."""
        self.desk.work()
        return sorted(
            at - begun - said.end_ms / 1000
            for person, begun in self.admitted.items()
            if person not in self.gone
            for at, said in self.desk.said(person, final=True)
            if begun + said.start_ms / 1000 >= 100.0 + since
        )


def talkative(people: int) -> dict[int, bytes]:
    """People who hardly pause."""
    return {one: SILENCE * (one % 4) + (SPEECH * (3 + one % 4) + SILENCE) * 20 for one in range(1, people + 1)}


def p95(lags: list[float]) -> float:
    return lags[len(lags) * 95 // 100]


@pytest.mark.parametrize("cost", [0.03, 0.06, 0.12])
def test_of_forty_who_speak_at_once_those_who_are_let_in_stay_and_are_in_time(cost: float) -> None:
    desk = Desk(cost)
    crowd = Crowd(desk, talkative(40))
    crowd.speak(60)
    lags = crowd.lags()
    assert crowd.gone == []
    assert 0.6 * BUSY / (cost * 1.25) <= len(crowd.admitted) <= BUSY / (cost * 0.8) + 1, "they speak 0.8 of the time"
    assert p95(lags) <= 3.0, lags[-20:]


@pytest.mark.parametrize("share", [0.25, 0.35, 0.5, 0.7])
def test_on_a_busy_machine_few_are_let_in_at_first_and_they_stay_and_are_in_time(share: float) -> None:
    """Other programs leave so much of the processor to this one, and would take the rest of it."""
    desk = Desk(0.06)
    desk.processor.share = share
    crowd = Crowd(desk, talkative(40))
    crowd.speak(90)
    lags = crowd.lags()
    assert crowd.gone == []
    assert len(crowd.admitted) >= int(share * 0.5 / 0.06)
    assert p95(lags) <= 3.0, lags[-20:]


@pytest.mark.parametrize(("people", "go"), [(7, False), (40, True)])
def test_when_a_machine_loses_half_of_its_speed_somebody_goes_only_if_nothing_else_helps(people: int, go: bool) -> None:
    desk = Desk(0.06)
    crowd = Crowd(desk, talkative(people))
    crowd.speak(30)
    admitted = len(crowd.admitted)
    desk.processor.share = 0.5
    crowd.speak(40)
    lags = crowd.lags(since=45.0)
    assert (crowd.gone != []) == go
    assert crowd.gone == sorted(crowd.gone, reverse=True)
    stay = admitted - len(crowd.gone)
    assert stay >= min(people, 6), "more went than had to"
    assert len(crowd.admitted) == admitted, "others came meanwhile"
    assert p95(lags) <= 3.0, lags[-20:]


@pytest.mark.parametrize("joining", [0, 5])
def test_forty_who_speak_a_third_of_the_time_are_let_in_within_seconds(joining: int) -> None:
    """By two processes, this one takes half of them. They never say that they are silent. So many seconds the machine
    is busy with letting them into their rooms."""
    desk = Desk(0.04)
    one = (SPEECH * 4 + SILENCE) * 4 + SILENCE * 40
    whole = len(one) // 20 // 3_200 * 3_200
    crowd = Crowd(desk, {person: (one * 4)[person * whole :] for person in range(20)})
    desk.processor.share = 0.3
    crowd.speak(joining)
    desk.processor.share = 1.0
    crowd.speak(round(PATIENCE) - joining)
    assert len(crowd.admitted) == 20
    crowd.speak(60)
    assert (len(crowd.admitted), crowd.gone) == (20, [])
    assert p95(crowd.lags()) <= 3.0


def test_serve_reads_frames_and_writes_lines_until_its_input_ends() -> None:
    frames = [(ProcessOrder.OPEN, b""), (ProcessOrder.AUDIO, SPEECH), (ProcessOrder.FINISH, b"")]
    source = io.BytesIO(b"".join(FRAME.pack(order, 7, 0, len(pcm)) + pcm for order, pcm in frames) + b"cut")
    sink = io.BytesIO()
    serve(source, sink, Interpreter(Model(Processor(Clock())), Loud))
    decoder: msgspec.json.Decoder[Answer] = msgspec.json.Decoder(Answer)
    first, *rest = [decoder.decode(line) for line in sink.getvalue().splitlines()]
    assert isinstance(first, Ready)
    said = [answer for answer in rest if not isinstance(answer, ProcessStatus)]
    assert [type(answer) for answer in said] == [Said, Finished]
    assert said[0] == Said(7, Transcript("loud 1.00.", True, 0, 1_000))
    assert {answer.pace for answer in rest if isinstance(answer, ProcessStatus)} == {Partials.FAST.name}
