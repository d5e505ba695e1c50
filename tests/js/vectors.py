"""What our own phone decides: inputs and outputs as JSON, for a phone in another language. Schedules are drawn at
random from SEED; where few values decide, every case is there."""

import random
import struct
from enum import Enum
from itertools import product
from typing import Any

from glassbridge.core import audio_routes, sending
from glassbridge.core import phone_place as place
from glassbridge.core import phone_socket as socket
from glassbridge.core.diagnosis import MUTED
from glassbridge.core.link_events import AudioRoute as Route
from glassbridge.core.phone_link import DEAD_SOUND, Event, PhoneLink
from glassbridge.core.route_reports import Arrived
from glassbridge.core.sending_levels import LEVELS
from glassbridge.core.values import AudioState, Generation, LossReason
from glassbridge.phone import client, coding, pacing
from glassbridge.phone.capture import Capture, Frame
from glassbridge.phone.track_tail import TrackTail
from glassbridge.runtime.tcp import RoundTrip
from glassbridge.wire import phone as wire_phone
from glassbridge.wire.audio_frames import encode_numbered

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
                newest = rng.choice((11.9, 12.2, 12.6))
                steps.append(("acknowledge", {"epoch": epoch, "position": position, "missing": missing}, newest))
                ours.acknowledge(epoch, position, [(start, stop) for start, stop in missing])
                made.append([wire(frame) for frame in (*ours.missing, *ours.newest(newest))])
    return steps, made


def pcm(samples: list[int]) -> bytes:
    return struct.pack(f"<{len(samples)}h", *samples)


def wire(frame: Frame) -> list[int]:
    return list(encode_numbered(frame.number, frame.pcm))


class Sum:
    """The codec of tests/js/decide.js."""

    def __init__(self, _bit_rate: int) -> None:
        pass

    def encode(self, block: bytes) -> bytes:
        samples = struct.unpack(f"<{len(block) // 2}h", block)
        total = sum(samples) & 0xFFFF
        return bytes((len(samples) & 255, total & 255, total >> 8))


def coded(rng: random.Random) -> tuple[list[Any], list[Any]]:
    """Frames of one capture at changing levels of sending, and what our own phone makes of them."""
    ours = Capture(7, lambda: 12_500_000)
    live, again = coding.Coder(ours.encoders), coding.Coder(ours.encoders)
    steps: list[Any] = []
    made: list[Any] = []
    for number in range(200):
        index = rng.randrange(len(LEVELS)) if rng.random() < 0.2 or not steps else steps[-1][1]
        level = LEVELS[index]
        match rng.choices(("code", "flush", "repair", "recoded", "forget"), (20, 2, 2, 1, 2))[0]:
            case "code":
                samples = [rng.randint(-3000, 3000) for _ in range(rng.choice((160, 320, 480, 1600, 100)))]
                steps.append(("code", index, samples, number * 30_000, last := rng.random() < 0.1))
                out = live.code(ours.take(pcm(samples), number * 30_000, last=last), level)
            case "flush":
                steps.append(("flush", index))
                out = live.flush(level)
            case "repair":
                first = rng.randrange(4)
                steps.append(("repair", index, first, first + (many := rng.randrange(5))))
                out = coding.repaired(list(ours.kept)[first : first + many], level, again)
            case _:
                steps.append(("recoded", index))
                waiting = [coding.Outgoing(frame.number, frame.stop, frame.pcm) for frame in ours.kept]
                out = coding.recoded(waiting, ours, level, again)
        made.append([list(frame.encoded(level.copies)) for frame in out])
    return steps, made


def sent(rng: random.Random) -> tuple[list[Any], list[Any]]:
    """A link that now and then loses, delays or stops what is sent; the level that our own sender takes to after each
    step, and whether a second socket is to carry audio, or to stand by."""
    ours = sending.Sending()
    steps: list[Any] = []
    made: list[Any] = []
    now, stop, late, loss, trouble = 1000.0, 0, 0.0, 0.0, rng.choice((0.0, 0.003, 0.02))
    arrived = {Route.ROOM: 0, Route.SOCKET: 0}
    carries, probed_at = rng.choice(((Route.ROOM, Route.SOCKET), (Route.SOCKET,))), rng.choice((5, 200))

    def step(name: str, *given: Any) -> None:
        steps.append((now, name, *given))
        made.append([ours.level.name, ours.doubles(now), ours.spares])

    def begin() -> None:
        reports, trip = not steps or rng.random() < 0.8, rng.choice((0.0, 0.4))
        ours.begin(reports=reports, now=now, trip=trip)
        step("begin", reports, now, trip)

    begin()
    for number in range(1500):
        now, stop = now + 0.03, stop + 480
        if rng.random() < trouble:
            late, loss = rng.choice((0.0, 0.0, 0.3, 0.8)), rng.choice((0.0, 0.0, 0.03, 0.3, 1.0))
        for route in carries:
            ours.sent(route, stop, 960, now)
            step("sent", route.value, stop, 960, now)
            arrived[route] += rng.random() >= loss
        if number % 8 == 7:
            told = {r: Arrived(arrived[r], stop - 960, late) for r in carries if rng.random() < 0.8}
            ours.reported(told, now)
            reports = [(r.value, {"frames": a.frames, "stop": a.stop, "late": a.late}) for r, a in told.items()]
            step("reported", reports, now)
        if number % 8 == 7 or rng.random() < trouble:
            backlog = rng.choice((0.0, 0.2, 0.6)) if rng.random() < trouble else 0.0
            ours.judge(now, backlog, queued := rng.choice((0.0, 0.1, 0.3)))
            step("judge", now, backlog, queued)
        if rng.random() < 3 * trouble:
            ours.repeated(segments := rng.choice((1, 3)), now)
            step("repeated", segments, now)
        if number == 3 and trouble:
            ours.doubted(rate := rng.choice((4e4, 2e5, 1e6)), now)
            step("doubted", rate, now)
        if number == probed_at and trouble:
            ours.probed(passed := rng.choice((None, 4e4, 2e5, 1e6)), now, repeated=(again := rng.random() < 0.5))
            step("probed", passed, now, again)
        if rng.random() < trouble / 5:
            ours.refused(now)
            step("refused", now)
        if rng.random() < 0.002:
            begin()
    return steps, made


def by_track(rng: random.Random) -> tuple[list[Any], list[Any]]:
    """What goes by a track, with holes in its capture times, and what of it goes again."""
    ours = TrackTail()
    steps: list[Any] = []
    made: list[Any] = []
    capture, at = Capture(7, lambda: 0), 0
    for _ in range(200):
        if rng.random() < 0.05:
            steps.append(("take", since := max(0, at - rng.randint(0, 9_000_000))))
            made.append([list(struct.unpack(f"<{len(piece.pcm) // 2}h", piece.pcm)) for piece in ours.take(since)])
            continue
        samples = [rng.randint(-9, 9) for _ in range(rng.choice((160, 480, 1600, 4000)))]
        steps.append(("note", at, samples))
        ours.note(capture.take(pcm(samples), at))
        made.append([])
        at += len(samples) * 125 // 2 + rng.choice((0, 0, 0, 31_007))
    return steps, made


def probed(rng: random.Random) -> tuple[list[list[float]], list[int | None]]:
    """When the four parts of a probe had arrived beyond the round trip, and the bit/s that our own phone makes of the
    same link: of any rate, and of a wide one that repeats what it lost."""
    parts, arrived, found = 4, [], []
    for rate in (16e3, 24e3, 64e3, 128e3, 200e3, 210e3, 225e3, 300e3, 1e6, 10e6):
        for least, lost in product((0.02, 0.4), (False, True)):
            takes = pacing.PROBE * 8 / rate
            grown = 0.0 if lost else 0.275 * takes  # what four answers add to a smoothed round trip
            long = least >= sending.LONG and grown < pacing.PROBE_QUEUED
            if (lost and takes > pacing.PROBE_TELLS / 2) or (long and takes > pacing.PROBE_TELLS):
                continue  # there the kernel tells our own phone more than a page can know
            again = rng.uniform(0.1, pacing.REPETITION + pacing.REPETITIONS * least) if lost else 0.0
            begins = rng.randrange(parts)
            at = [(part + 1) / parts * takes + again * (part >= begins) for part in range(parts)]
            trip = RoundTrip(least, least)
            rate_found = pacing.passing(trip, trip._replace(now=least + grown, repeated=int(lost)), least + at[-1])
            arrived.append(at)
            found.append(None if rate_found is None else round(rate_found))
    return arrived, found


def vectors() -> tuple[dict[str, Any], dict[str, Any]]:
    """The inputs by their kind, and what our own phone decides on each. `coding.Encoder` has to be Sum meanwhile."""
    rng = random.Random(SEED)
    played, decided = zip(*(schedule(rng) for _ in range(SCHEDULES)), strict=True)
    sendings, levels = zip(*(sent(rng) for _ in range(24)), strict=True)
    frames, made = captured(rng)
    coding_steps, coded_frames = coded(rng)
    tails, again = by_track(rng)
    probes, rates = probed(rng)
    notices = [
        wire_phone.AudioStateNotice(state="interrupted", code=code, hop=hop, since=0)
        for code in CODES
        for hop in (None, "phone")
    ]
    flags = (False, True)
    routes = [dict(zip(("room", "socket", "both", "reliable"), case, strict=True)) for case in product(flags, repeat=4)]
    known = [dict(zip(("due", "room", "carried"), case, strict=True)) for case in product(flags, repeat=3)]
    repairs = list(product((0.0, 1.4, 1.5, 4.9, 5.1, 9.0), known))
    states = [None, *(state.value for state in AudioState)]
    presence = list(product(states, (None, "slow_network", "no_audio"), flags))
    silences = list(product((0.0, 0.2, 0.25, 0.3, 0.6, 2.0), (0.0, 0.05, 0.4)))
    paces = list(product((0.01, 0.2, 1.5), (0.01, 0.1), (0.01, 0.2, 1.5), (1_500, 3_000, 32_000)))
    given = {
        "link": played, "sending": sendings, "capture": frames, "coding": coding_steps,
        "blame": [{"code": notice.code, "hop": notice.hop} for notice in notices],
        "routes": routes, "again": repairs, "presence": presence, "silence": silences,
        "pace": paces, "probe": probes, "tail": tails,
    }  # fmt: skip
    expected = {
        "link": decided, "sending": levels, "capture": made, "coding": coded_frames,
        "blame": [client.blame(notice).value for notice in notices],
        "routes": [[route.value for route in audio_routes.choose_routes(**case)] for case in routes],
        "again": [audio_routes.choose_again(age, **case)._asdict() for age, case in repairs],
        "presence": [audio_routes.presence_interval(state, code, spoke=spoke) for state, code, spoke in presence],
        "silence": [audio_routes.is_doubtful(*case) for case in silences],
        "pace": [pacing.in_flight(RoundTrip(now, least), lasting, rate) for now, least, lasting, rate in paces],
        "probe": rates, "tail": again,
    }  # fmt: skip
    return given, expected
