"""The JavaScript phone decides as our own does: the same schedules, played to both, give the same effects, levels of
sending and bytes on the wire."""

import json
import random
import struct
from enum import Enum
from typing import Any

import pytest

from glassbridge.core import phone_place as place
from glassbridge.core import phone_socket as socket
from glassbridge.core import sending
from glassbridge.core.diagnosis import MUTED
from glassbridge.core.link_events import AudioRoute as Route
from glassbridge.core.phone_link import DEAD_SOUND, Event, PhoneLink
from glassbridge.core.values import AudioState, Generation, LossReason
from glassbridge.phone import client, coding
from glassbridge.phone.capture import Capture, Frame
from glassbridge.wire import phone as wire_phone
from glassbridge.wire.audio_frames import encode_numbered
from tests.js.node import ROOT, run

SEED = 20261121
SCHEDULES = 120
STEPS = 60
CODES = ("", MUTED, "no_audio", *sorted(DEAD_SOUND), *sorted(wire_phone.PHONE_REJOINS))


def camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)


def spoken(value: Any) -> Any:
    """A field as JavaScript has it."""
    if isinstance(value, LossReason):
        return {"code": value.code, "text": value.text}
    return value.value if isinstance(value, Enum) else value


def as_object(thing: Any, tag: str) -> dict[str, Any]:
    """A dataclass of the machines as the browser's machines have it."""
    fields = {camel(name): spoken(getattr(thing, name)) for name in thing.__dataclass_fields__}
    return {tag: type(thing).__name__, **fields}


def some_event(rng: random.Random, link: PhoneLink, now: float) -> Event:
    """What could happen next, now and then of a former socket or place."""
    there = Generation(max(1, link.socket.generation - (rng.random() < 0.1)))
    held = Generation(max(1, link.place.generation - (rng.random() < 0.1)))
    kinds = {
        "tick": 10, "accepted": 8, "heard": 8, "told": 10, "joined": 8, "left": 8, "lost": 3, "failed": 3,
        "closed": 3, "refused": 3, "network": 2, "offline": 1, "switch": 1,
        "narrowed": 1,
    }  # fmt: skip
    match rng.choices(list(kinds), list(kinds.values()))[0]:
        case "tick":
            return socket.Tick()
        case "accepted":
            return socket.Accepted(there, same_room=rng.random() < 0.7, answers=rng.random() < 0.7)
        case "heard":
            return socket.MessageReceived(there, rng.choice((None, rng.randint(1, 40))))
        case "told":
            state, blame = rng.choice(list(AudioState)), rng.choice(list(place.Blame))
            retry_at = rng.choice((None, now + rng.uniform(0.3, 9.3)))
            return place.AudioTold(there, state, blame, "why", retry_at, rng.choice(CODES))
        case "joined":
            return place.PlaceJoined(held)
        case "left":
            return place.PlaceLeft(held)
        case "lost":
            return place.PlaceLost(held, rng.choice(list(LossReason)))
        case "failed":
            return place.PlaceFailed(held, "no way in")
        case "closed":
            return socket.SocketClosed(there, rng.choice(list(socket.ComeBack)[1:]), "broke")
        case "refused":
            return socket.SocketFailed(there, final=rng.random() < 0.02, reason="refused")
        case "narrowed":
            return place.Narrowed(rng.random() < 0.5)
        case "network":
            return socket.NetworkChanged()
        case "offline":
            return socket.NetworkLost()
        case _:
            return socket.Switch()


def schedule(rng: random.Random) -> tuple[dict[str, Any], list[Any]]:
    """What the browser is given, and what our own machine made of it."""
    chances = [rng.random() for _ in range(199)]
    drawn = iter(range(10**9))
    room = rng.random() < 0.8
    link = PhoneLink(lambda: chances[next(drawn) % len(chances)], room=room)
    now, steps, decided = 1000.0, [], []
    for number in range(STEPS):
        event: Event = socket.Start() if number == 0 else some_event(rng, link, now)
        deadline = link.next_deadline()
        if isinstance(event, socket.Tick) and deadline is not None and rng.random() < 0.9:
            now = max(now, deadline) + rng.choice((0.0, 0.01, 0.01, 1.7, 7.3))
        else:
            now += rng.uniform(0.0, 0.7)
        effects = [as_object(effect, "effect") for effect in link.step(event, now)]
        steps.append((as_object(event, "type"), now))
        decided.append([effects, link.next_deadline(), link.socket.state.label, link.place.state.label])
    return {"room": room, "chances": chances, "steps": steps}, decided


def captured(rng: random.Random) -> tuple[list[Any], list[Any]]:
    """What a microphone and its cloud do, and the frames that our own phone makes of it."""
    ours = Capture(7, lambda: 12_500_000)
    steps: list[Any] = []
    made: list[Any] = []
    for number in range(300):
        match rng.choice(("take", "take", "take", "presence", "behind", "beginning", "acknowledge")):
            case "take":
                samples = [rng.randint(-32768, 32767) for _ in range(rng.randint(1, 40))]
                steps.append(("take", samples, number * 2_500, last := rng.random() < 0.1))
                made.append(wire(ours.take(pcm(samples), number * 2_500, last=last)))
            case "presence":
                steps.append(("presence", on := rng.random() < 0.5))
                made.append(wire(ours.presence(microphone_on=on)))
            case "behind":
                steps.append(("behind",))
                made.append(wire(ours.behind()))
            case "beginning":
                steps.append(("beginning",))
                made.append(wire(ours.beginning()))
            case _:
                epoch, position = rng.choice((7, 7, 7, 8)), rng.randint(0, ours.position + 5)
                missing = [sorted((rng.randint(0, position), rng.randint(0, position)))] if rng.random() < 0.5 else []
                steps.append(("acknowledge", {"epoch": epoch, "position": position, "missing": missing}))
                ours.acknowledge(epoch, position, [(start, stop) for start, stop in missing])
                made.append([wire(frame) for frame in ours.missing])
    return steps, made


def pcm(samples: list[int]) -> bytes:
    return struct.pack(f"<{len(samples)}h", *samples)


def wire(frame: Frame) -> list[int]:
    return list(encode_numbered(frame.number, frame.pcm))


class Sum:
    """The codec of tests/js/play.mjs."""

    def __init__(self, _bit_rate: int) -> None:
        pass

    def encode(self, block: bytes) -> bytes:
        samples = struct.unpack(f"<{len(block) // 2}h", block)
        total = sum(samples) & 0xFFFF
        return bytes((len(samples) & 255, total & 255, total >> 8))


def coded(rng: random.Random) -> tuple[list[Any], list[Any]]:
    """Frames of one capture at changing levels of sending, and what our own phone makes of them."""
    ours, live, again = Capture(7, lambda: 12_500_000), coding.Coder(), coding.Coder()
    steps: list[Any] = []
    made: list[Any] = []
    for number in range(200):
        index = rng.randrange(len(sending.LEVELS)) if rng.random() < 0.2 or not steps else steps[-1][1]
        level = sending.LEVELS[index]
        match rng.choices(("code", "flush", "repair", "recoded", "forget"), (20, 2, 2, 1, 2))[0]:
            case "code":
                samples = [rng.randint(-3000, 3000) for _ in range(rng.choice((160, 320, 480, 1600, 100)))]
                steps.append(("code", index, samples, number * 30_000, last := rng.random() < 0.1))
                out = live.code(ours.take(pcm(samples), number * 30_000, last=last), level)
            case "flush":
                steps.append(("flush", index))
                out = live.flush(level)
            case "repair":
                steps.append(("repair", index))
                out = coding.repair(ours.kept[0], level, again) if ours.kept else []
            case _:
                steps.append(("recoded", index))
                waiting = [coding.Outgoing(frame.number, frame.stop, frame.pcm) for frame in ours.kept]
                out = coding.recoded(waiting, ours, level, again)
        made.append([list(frame.encoded(level.copies)) for frame in out])
    return steps, made


def sent(rng: random.Random) -> tuple[list[Any], list[str]]:
    """A link that now and then loses, delays or stops what is sent, and the levels that our own sender takes to."""
    ours = sending.Sending()
    steps: list[Any] = [("begin", True, 1000.0, rng.choice((0.0, 0.5)))]
    ours.begin(reports=True, now=1000.0, trip=steps[0][3])
    levels = [ours.level.name]
    now, stop, late, loss, trouble = 1000.0, 0, 0.0, 0.0, rng.choice((0.0, 0.003, 0.02))
    arrived = {Route.ROOM: 0, Route.SOCKET: 0}

    def step(name: str, *given: Any) -> None:
        steps.append((name, *given))
        levels.append(ours.level.name)

    for number in range(1500):
        now, stop = now + 0.03, stop + 480
        if rng.random() < trouble:
            late, loss = rng.choice((0.0, 0.0, 0.3, 0.8)), rng.choice((0.0, 0.0, 0.03, 0.3, 1.0))
        for route in Route:
            ours.sent(route, stop, 960, now)
            step("sent", route.value, stop, 960, now)
            arrived[route] += rng.random() >= loss
        if number % 8 == 7:
            told = {route: sending.Arrived(arrived[route], stop - 960, late) for route in Route if rng.random() < 0.8}
            ours.reported(told, now)
            step(
                "reported",
                [(r.value, {"frames": a.frames, "stop": a.stop, "late": a.late}) for r, a in told.items()],
                now,
            )
        if number % 8 == 7 or rng.random() < trouble:
            ours.judge(now, backlog := rng.choice((0.0, 0.2, 0.6)) if rng.random() < trouble else 0.0)
            step("judge", now, backlog)
        if number in (3, 5) and trouble:
            rate = rng.choice((4e4, 2e5, 1e6) if number == 3 else (None, 4e4, 2e5, 1e6))
            ours.doubted(rate or 0.0, now) if number == 3 else ours.probed(rate, now)
            step("doubted" if number == 3 else "probed", rate, now)
        if rng.random() < trouble / 5:
            ours.refused(now)
            step("refused", now)
        if rng.random() < 0.002:
            ours.begin(reports=(reports := rng.random() < 0.8), now=now, trip=(trip := rng.choice((0.0, 0.4))))
            step("begin", reports, now, trip)
    return steps, levels


def test_the_javascript_phone_decides_as_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coding, "Encoder", Sum)
    rng = random.Random(SEED)
    played, decided = zip(*(schedule(rng) for _ in range(SCHEDULES)), strict=True)
    seen = {tuple(states) for steps in decided for _, _, *states in steps}
    assert len(seen) > 20, f"the schedules see only {seen}"
    sendings, levels = zip(*(sent(rng) for _ in range(12)), strict=True)
    assert {name for run in levels for name in run} == {level.name for level in (sending.STATIC, *sending.LEVELS)}
    frames, made = captured(rng)
    coding_steps, coded_frames = coded(rng)
    notices = [
        wire_phone.AudioStateNotice(state="interrupted", code=code, hop=hop, since=0)
        for code in CODES
        for hop in (None, "phone")
    ]
    given = {
        "link": played, "sending": sendings, "capture": frames, "coding": coding_steps,
        "blame": [{"code": notice.code, "hop": notice.hop} for notice in notices],
    }  # fmt: skip
    found = json.loads(run("node", "tests/js/play.mjs", cwd=ROOT, stdin=json.dumps(given)))
    for number, (theirs, ours) in enumerate(zip(found["link"], decided, strict=True)):
        for step, (their, our) in enumerate(zip(theirs, ours, strict=True)):
            event = played[number]["steps"][step]
            assert their == json.loads(json.dumps(our)), f"seed {SEED}, schedule {number}, step {step}: {event}"
    for number, (theirs, ours) in enumerate(zip(found["sending"], levels, strict=True)):
        differs = next((step for step, (a, b) in enumerate(zip(theirs, ours, strict=True)) if a != b), None)
        assert differs is None, f"seed {SEED}, link {number}, step {differs}: {theirs[differs]}, ours {ours[differs]}"
    assert found["capture"] == made, f"seed {SEED}"
    assert found["coding"] == coded_frames, f"seed {SEED}"
    assert found["blame"] == [client.blame(notice).value for notice in notices]
