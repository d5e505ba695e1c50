"""What is expected of a phone: one promise a row, each with a pure judge over what was seen. Docs: docs/phone-check.md.

The limits are generous: they tell a phone that does a thing from one that does not, not a quick one from a slow one.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from typing import Final

from glassbridge.core.values import BYTES_PER_SAMPLE, SAMPLE_RATE
from glassbridge.lab.phone_check.acts import AWAY, OFF, PING, STAYS, Act
from glassbridge.lab.phone_check.ledger import Stretches
from glassbridge.lab.phone_check.seen import (
    Acknowledged,
    Announced,
    Asked,
    Attempt,
    Placed,
    Said,
    Seen,
    Sound,
    Ticket,
)
from glassbridge.wire.audio_frames import CODING_OPUS, CODING_PCM16

BACK: Final = 10.0
"""Seconds in which a phone comes back, renews what is dead, and sends again what is missing."""
FIRST: Final = 5.0
ANSWER: Final = 3.0
QUIET: Final = 3.0
"""Seconds between two signs of a phone that is there; one each second is promised."""
MOST_ATTEMPTS: Final = 24
"""Within AWAY. Full jitter under 1 s makes about 8."""
MOST_REFUSED: Final = 2
"""Attempts with a refused token: one with a fresh one is allowed."""
ON_ITS_WAY: Final = 1.5
"""Seconds in which what was captured before an order, or was on its way, may still come."""
CLOCK_SLACK_US: Final = 200_000
SAME_SPEECH_US: Final = 20_000
"""What is captured so soon after a frame belongs to the same speech."""


class PromiseVerdict(Enum):
    KEPT = "kept"
    BROKEN = "BROKEN"
    UNTESTED = "not tested"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a judge found; `seen` says it in words: the figure, what was seen instead, or why nothing could be."""

    verdict: PromiseVerdict
    seen: str = ""


def kept(seen: str = "") -> Finding:
    return Finding(PromiseVerdict.KEPT, seen)


def broken(seen: str) -> Finding:
    return Finding(PromiseVerdict.BROKEN, seen)


def untested(why: str) -> Finding:
    return Finding(PromiseVerdict.UNTESTED, why)


SILENT_PHONE: Final = untested("it sent no samples in this act")
Judge = Callable[[Seen], Finding]


@dataclass(frozen=True, slots=True)
class Promise:
    """`needs`: fields of Announced without which a phone does not make it."""

    id: str
    text: str
    """What is expected, with its limit."""
    source: str
    """Where it is written."""
    act: Act | None
    """None: judged in each act."""
    needs: tuple[str, ...]
    judge: Judge


LACKS: Final[Mapping[str, str]] = {
    "sockets": "it never asked for a socket",
    "room": "it wants no room (`livekit=true`)",
    "numbered": "it does not number its audio (`audio=2`)",
    "named": "it gives no name (`phone=`), so a cloud asks nothing of the kind of it",
    "pings": "it sends no pings",
}


def judge(promise: Promise, acts: Mapping[Act, Seen], phone: Announced, no_room: str = "") -> Finding:
    """Of one promise, by all acts that were played. `no_room`: why there is no LiveKit server, if so."""
    for need in ("sockets", *promise.needs):
        if not getattr(phone, need):
            if need == "sockets" and promise.id == "connects":
                return broken(f"it never asked for a socket{_its_end(acts)}")
            return untested(LACKS[need])
    if no_room and "room" in promise.needs:
        return untested(no_room)
    if promise.act is None:
        findings = [(act, promise.judge(seen)) for act, seen in acts.items()]
        bad = [f"{found.seen} (act {act.label})" for act, found in findings if found.verdict is PromiseVerdict.BROKEN]
        if bad:
            return broken("; ".join(bad[:3]))
        good = [found for _, found in findings if found.verdict is PromiseVerdict.KEPT]
        return kept(f"in {len(good)} acts") if good else findings[0][1] if findings else untested("no act was played")
    if promise.act not in acts:
        return untested("the act was not played")
    seen = acts[promise.act]
    if seen.overflow:
        return broken(f"more than could be counted: {seen.overflow} more than {len(seen.records)} connections, frames "
                      "and messages in one act")  # fmt: skip
    return promise.judge(seen)


def _its_end(acts: Mapping[Act, Seen]) -> str:
    status = next((seen.ended for seen in acts.values() if seen.ended is not None), None)
    return "" if status is None else f"; it ended by itself with status {status} (--output shows what it wrote)"


def _ms(samples: int) -> str:
    return f"{samples * 1000 / SAMPLE_RATE:.0f} ms"


def _within(at: float | None, since: float | None, limit: float, what: str) -> Finding:
    """Whether something happened in time."""
    if since is None:
        return untested("it did not come to that")
    if at is None:
        return broken(f"{what} never")
    took = at - since
    return kept(f"after {took:.1f} s") if took <= limit else broken(f"{what} after {took:.1f} s")


# ---- the socket


def _connects(seen: Seen) -> Finding:
    attempt = seen.first(Attempt)
    if attempt is None:
        return untested("it did not come")
    return kept() if attempt.signed_in else broken("it asked without the token that it was given")


def _waits(seen: Seen) -> Finding:
    greeted = {ack.socket: ack.at for ack in seen.all(Acknowledged)}
    for sound in seen.all(Sound):
        if sound.socket is not None and sound.at < greeted.get(sound.socket, float("inf")):
            return broken(f"a binary frame of {len(sound.payload)} bytes on socket {sound.socket} before it")
    return kept() if greeted else untested("no socket was acknowledged")


def _begins(seen: Seen) -> Finding:
    firsts: dict[int, Sound] = {}
    for sound in seen.all(Sound):
        if sound.socket is not None and sound.numbered:
            firsts.setdefault(sound.socket, sound)
    for socket, sound in firsts.items():
        if sound.number is None or not (sound.number.presence and sound.number.replayed):
            flags = "no header" if sound.number is None else f"flags {sound.number.flags}"
            return broken(f"the first frame on socket {socket} had {flags}")
    return kept() if firsts else untested("no numbered frame came by a socket")


def _speaks_protocol(seen: Seen) -> Finding:
    said = list(seen.all(Said))
    for one in said:
        if one.problem:
            return broken(f"{one.type}: {one.problem}")
    return kept() if said else untested("it said nothing")


def _pings(seen: Seen) -> Finding:
    pings = [said for said in seen.all(Said) if said.type == "ping"]
    if len(pings) < 2:
        return broken(f"{len(pings)} pings in an act of more than ten seconds")
    every = pings[0].fields.get("every")
    if not isinstance(every, int | float):
        return broken("its first ping does not say `every`")
    gap = max(b.at - a.at for a, b in pairwise(pings) if a.socket == b.socket)
    if gap > every + 2.0:
        return broken(f"it promised one each {every:g} s, and was silent for {gap:.1f} s")
    return kept(f"one each {every:g} s, {gap:.1f} s apart at most")


def _answers(seen: Seen) -> Finding:
    at = seen.did("ping")
    pong = next((one for one in seen.all(Said, at or 0.0) if one.type == "pong"), None)
    if pong is not None and pong.fields.get("timestamp") != PING:
        return broken(f"a pong with timestamp {pong.fields.get('timestamp')!r}, sent {PING}")
    return _within(pong.at if pong else None, at, ANSWER, "answered")


def _returns_after(what: str) -> Judge:
    def judge(seen: Seen) -> Finding:
        at = seen.did(what)
        back = seen.first(Acknowledged, at or 0.0)
        return _within(back.at if back else None, at, BACK, "came back")

    return judge


def _backs_off(seen: Seen) -> Finding:
    begun, ended = seen.did("cut"), seen.did("open")
    if begun is None or ended is None:
        return untested("it did not come to that")
    tries = sum(one.at <= ended for one in seen.all(Attempt, begun))
    return kept(f"{tries} attempts") if tries <= MOST_ATTEMPTS else broken(f"{tries} attempts")


def _names_attempts(seen: Seen) -> Finding:
    attempts = list(seen.all(Attempt))
    if len(attempts) < 2:
        return untested("it came only once")
    for former, later in pairwise(attempts):
        if former.query.get("phone") != later.query.get("phone"):
            return broken("its name (`phone`) changed")
        numbers = [one.query.get("attempt", "") for one in (former, later)]
        # An HTTP library may repeat a request that was cut without an answer.
        least = 0 if former.socket is None else 1
        if not all(number.isdigit() for number in numbers) or int(numbers[1]) - int(numbers[0]) < least:
            return broken(f"`attempt` was {numbers[0] or 'missing'}, then {numbers[1] or 'missing'}")
    return kept(f"{len(attempts)} attempts")


def _stays_away(seen: Seen) -> Finding:
    at = seen.did("close")
    if at is None:
        return untested("it did not come to that")
    tries = sum(1 for _ in seen.all(Attempt, at))
    return broken(f"it came {tries} times within {STAYS:g} s") if tries else kept()


def _stays_refused(seen: Seen) -> Finding:
    tries = sum(1 for _ in seen.all(Attempt))
    return kept(f"{tries} attempts") if tries <= MOST_REFUSED else broken(f"{tries} attempts")


# ---- audio


def _is_well_formed(seen: Seen) -> Finding:
    frames = [sound for sound in seen.all(Sound) if sound.numbered]
    for frame in frames:
        if frame.problem:
            return broken(f"{frame.problem} (by the {frame.route})")
    return kept() if frames else untested("no numbered frame came")


def _codes_when_asked(seen: Seen) -> Finding:
    understood = {CODING_PCM16} | {coding for ack in seen.all(Acknowledged) for coding in ack.codings}
    for sound in seen.samples():
        assert sound.number is not None
        if sound.number.coding not in understood:
            return broken(f"a frame of coding {sound.number.coding} to a cloud that does not name it")
    return kept() if seen.first(Sound) else untested("no frame came")


def _speaks_on(seen: Seen) -> Finding:
    fresh = sum(one.samples for one in seen.samples())
    if not fresh:
        return broken("no samples came") if seen.first(Sound) else SILENT_PHONE
    codings = sorted({str(one.number.coding) for one in seen.samples() if one.number})
    return kept(f"{_ms(fresh)} came, in coding {' and '.join(codings)}")


def _one_sample_a_place(seen: Seen) -> Finding:
    known: dict[int, dict[int, bytes]] = {}
    compared = 0
    for sound in seen.samples():
        number = sound.number
        assert number is not None
        if number.coding == CODING_OPUS:
            continue
        epoch = known.setdefault(number.epoch, {})
        for at in range(sound.samples):
            value = sound.payload[at * BYTES_PER_SAMPLE : (at + 1) * BYTES_PER_SAMPLE]
            former = epoch.setdefault(number.position + at, value)
            compared += 1
            if former != value:
                return broken(f"position {number.position + at} of an epoch held two different samples")
    return kept() if compared else SILENT_PHONE


def _keeps_counting(seen: Seen) -> Finding:
    cut, back = seen.did("cut"), seen.did("open")
    if cut is None or back is None:
        return untested("it did not come to that")
    before = [sound for sound in seen.samples() if sound.at < cut]
    after = [sound for sound in seen.samples(back) if sound.number and not sound.number.replayed]
    if not before or not after:
        return untested("no samples came before, or after, its socket broke")
    old, new = before[-1], after[0]
    assert old.number is not None
    assert new.number is not None
    if old.number.epoch != new.number.epoch:
        return broken("a new epoch began with the new socket")
    if new.stop < old.stop:
        return broken(f"positions went back from {old.stop} to {new.number.position}")
    return kept()


def _is_present(seen: Seen) -> Finding:
    first_ack, end = seen.first(Acknowledged), seen.did("end")
    if first_ack is None or end is None:
        return untested("no socket was acknowledged")
    at = first_ack.at
    longest = 0.0
    for sound in [*seen.all(Sound, at), None]:
        now = end if sound is None else sound.at
        longest, at = max(longest, now - at), now
    return kept(f"{longest:.1f} s at most") if longest <= QUIET else broken(f"nothing came for {longest:.1f} s")


def _off(seen: Seen) -> tuple[float, float] | None:
    begun, ended = seen.did("microphone off"), seen.did("microphone on")
    return None if begun is None or ended is None else (begun, ended)


def _tells_off(seen: Seen) -> Finding:
    off = _off(seen)
    if off is None:
        return untested("it did not come to that")
    presence = [
        one for one in seen.all(Sound, off[0] + ON_ITS_WAY) if one.number and one.number.presence and one.at < off[1]
    ]
    if not presence:
        return broken("no presence frame came while it was off")
    bad = [one for one in presence if one.number and not one.number.last]
    return broken(f"{len(bad)} of {len(presence)} presence frames without it") if bad else kept()


def _stops(seen: Seen) -> Finding:
    off = _off(seen)
    if off is None:
        return untested("it did not come to that")
    if not any(True for _ in seen.samples()):
        return SILENT_PHONE
    before = max((one.stop for one in seen.samples() if one.at < off[0] + ON_ITS_WAY), default=0)
    new = [one for one in seen.samples(off[0] + ON_ITS_WAY) if one.at < off[1] and one.stop > before]
    return broken(f"{_ms(new[-1].stop - before)} of new samples came") if new else kept()


def _end_is_the_end(seen: Seen) -> Finding:
    ends = 0
    for sound in seen.all(Sound):
        number = sound.number
        if number is None or not number.last or sound.problem:
            continue
        ends += 1
        stop, over_us = number.position, number.capture_time_us
        if sound.has_samples:
            stop, over_us = sound.stop, over_us + sound.samples * 1_000_000 // SAMPLE_RATE + SAME_SPEECH_US
        for later in seen.samples(sound.at):
            assert later.number is not None
            if later.number.epoch == number.epoch and later.stop > stop and later.number.capture_time_us < over_us:
                return broken(
                    f"`last` came at position {stop}, and {_ms(later.stop - stop)} of the same speech after it"
                )
    return kept() if ends else untested("it never set `last`")


def _fills_the_end(seen: Seen) -> Finding:
    off = _off(seen)
    if off is None:
        return untested("it did not come to that")
    told = [
        one.number for one in seen.all(Sound, off[0] + ON_ITS_WAY) if one.number and one.number.presence
        and not one.number.replayed and one.at < off[1]
    ]  # fmt: skip
    if not told:
        return untested("no presence frame told where its speech ends")
    newest = max(told, key=lambda number: number.position)
    missing = _missing(seen, newest.epoch, newest.position)
    return broken(f"the last {_ms(missing)} never came") if missing else kept()


def _missing(seen: Seen, epoch: int, stop: int) -> int:
    """Samples before `stop` that the examiner did not get."""
    came = Stretches()
    start = stop
    for sound in seen.all(Sound):
        if sound.number is None or sound.number.epoch != epoch or sound.problem:
            continue
        start = min(start, sound.number.position)
        if sound.has_samples and not sound.withheld:
            came.add(sound.number.position, min(sound.stop, stop))
    return sum(b - a for a, b in came.without(start, stop))


def _goes_on(seen: Seen) -> Finding:
    begun, ended = seen.did("acknowledge nothing"), seen.did("acknowledge")
    if begun is None or ended is None:
        return untested("it did not come to that")
    frames = [one for one in seen.samples(begun) if one.at < ended]
    if not frames:
        return broken("no samples came") if any(True for _ in seen.samples()) else SILENT_PHONE
    fresh = max(one.stop for one in frames) - min(one.number.position for one in frames if one.number)
    enough = 0.5 * (ended - begun) * SAMPLE_RATE
    return kept(f"{_ms(fresh)} came") if fresh >= enough else broken(f"only {_ms(fresh)} of new samples came")


def _replays(seen: Seen) -> Finding:
    lost = [sound for sound in seen.samples() if sound.withheld]
    if not lost:
        return SILENT_PHONE
    if seen.did("open") is not None and seen.first(Acknowledged, seen.did("open") or 0.0) is None:
        return untested("it did not come back")
    if seen.first(Asked) is None:
        return untested("nothing was asked for: it sent nothing after the loss")
    rest = sum(_missing_of(seen, sound) for sound in lost)
    total = sum(sound.samples for sound in lost)
    return kept(f"{_ms(total)} came again") if not rest else broken(f"{_ms(rest)} of {_ms(total)} never came again")


def _missing_of(seen: Seen, lost: Sound) -> int:
    assert lost.number is not None
    came = Stretches()
    for sound in seen.samples(lost.at):
        if sound.number and sound.number.epoch == lost.number.epoch and not sound.withheld:
            came.add(sound.number.position, sound.stop)
    return sum(b - a for a, b in came.without(lost.number.position, lost.stop))


def _marks_replay(seen: Seen) -> Finding:
    lost = [sound for sound in seen.samples() if sound.withheld]
    again = 0
    for sound in seen.samples(max((one.at for one in lost), default=0.0)):
        if sound.withheld or not any(one.number and one.number.position < sound.stop and sound.number
                                     and sound.number.position < one.stop for one in lost):  # fmt: skip
            continue
        again += 1
        assert sound.number is not None
        if not (sound.number.replayed or sound.number.repair):
            return broken(f"samples from position {sound.number.position} came again with flags {sound.number.flags}")
    return kept(f"{again} frames") if again else untested("nothing came again")


def _loses_nothing(seen: Seen) -> Finding:
    if seen.did("open") is None or seen.first(Acknowledged, seen.did("open") or 0.0) is None:
        return untested("it did not come back")
    end = (seen.did("end") or 0.0) - ON_ITS_WAY
    newest = max((one for one in seen.samples() if one.at < end), key=lambda one: one.at, default=None)
    if newest is None or newest.number is None:
        return SILENT_PHONE
    missing = _missing(seen, newest.number.epoch, newest.stop)
    return broken(f"{_ms(missing)} never came") if missing else kept()


def _clock_runs(seen: Seen) -> Finding:
    times: dict[int, list[tuple[int, int]]] = {}
    for sound in seen.samples():
        assert sound.number is not None
        times.setdefault(sound.number.epoch, []).append((sound.number.position, sound.number.capture_time_us))
    for found in times.values():
        for former, later in pairwise(sorted(found)):
            if later[1] < former[1] - CLOCK_SLACK_US:
                return broken(
                    f"position {later[0]} was captured {(former[1] - later[1]) / 1e6:.1f} s before {former[0]}"
                )
    return kept() if times else SILENT_PHONE


def _speaks_elder(seen: Seen) -> Finding:
    frames = [sound for sound in seen.all(Sound) if sound.payload]
    if not frames:
        return untested("no audio came")
    numbered = sum(1 for sound in frames if sound.number is not None)
    if 2 * numbered > len(frames):
        return broken(f"{numbered} of {len(frames)} frames were numbered")
    return kept(f"{len(frames)} frames")


# ---- the room


def _joins(seen: Seen) -> Finding:
    ack, placed = seen.first(Acknowledged), seen.first(Placed)
    return _within(placed.at if placed else None, ack.at if ack else None, BACK, "joined")


def _takes_place_again(what: str) -> Judge:
    def judge(seen: Seen) -> Finding:
        at = seen.did(what)
        if at is None:
            return untested("it was not in the room before")
        placed = seen.first(Placed, at)
        return _within(placed.at if placed else None, at, BACK, "took a new place")

    return judge


def _asks_for_tickets(seen: Seen) -> Finding:
    at = seen.did("miss")
    placed = seen.first(Placed, at or 0.0)
    if at is None or placed is None:
        return untested("it took no new place")
    return kept() if any(ticket.at <= placed.at for ticket in seen.all(Ticket, at)) else broken("it asked for none")


def _uses_socket(since: str | None) -> Judge:
    def judge(seen: Seen) -> Finding:
        ack = seen.first(Acknowledged)
        at = seen.did(since) if since is not None else ack.at if ack else None
        if at is None:
            return untested("it did not come to that")
        if seen.first(Sound) is None:
            return SILENT_PHONE if since is None else untested("it sent no audio before")
        sound = next((one for one in seen.all(Sound, at) if one.route == "socket" and one.has_samples), None)
        back = seen.first(Placed, at)
        if sound is None and back is not None and back.at - at < FIRST:
            return untested(f"it was in the room again after {back.at - at:.1f} s")
        return _within(sound.at if sound else None, at, BACK, "samples came by the socket")

    return judge


PHONE: Final = "docs/phone.md"
NUMBERED: Final = "docs/numbered-audio.md"
PROTOCOL: Final = "docs/protocol/phone.asyncapi.json"

PROMISES: Final[tuple[Promise, ...]] = (
    Promise("connects", "It asks for /glasses-ws with its core token.", PHONE, None, (), _connects),
    Promise("speaks-protocol", "Its messages are those of the protocol.", PROTOCOL, None, (), _speaks_protocol),
    Promise("waits-for-ack", "It sends no audio before connection_ack.", NUMBERED, Act.PLAIN, ("numbered",), _waits),
    Promise(
        "begins", "The first frame on each socket is the beginning of what it keeps (flags 1 + 2).",
        NUMBERED, None, ("numbered",), _begins,
    ),
    Promise(
        "pings", "It pings, its first ping says `every`, and no ping is 2 s late.", PHONE, Act.PLAIN, ("pings",), _pings
    ),
    Promise(
        "answers-pings", f"It answers the cloud's ping within {ANSWER:g} s, with its timestamp.",
        PROTOCOL, Act.PLAIN, ("pings",), _answers,
    ),
    Promise(
        "comes-back", f"It comes back within {BACK:g} s once it can.", PHONE, Act.CUT, (), _returns_after("open")
    ),
    Promise(
        "backs-off", f"Attempts that fail are spread: at most {MOST_ATTEMPTS} in {AWAY:g} s.",
        PHONE, Act.CUT, (), _backs_off,
    ),
    Promise(
        "names-attempts", "It keeps its name, and `attempt` grows.", PHONE, Act.CUT, ("named",), _names_attempts
    ),
    Promise(
        "leaves-silent-socket", f"When its pings stay unanswered it opens another socket within {BACK:g} s.",
        PHONE, Act.SILENT, ("pings",), _returns_after("fall silent"),
    ),
    Promise(
        "comes-back-drained", f"After close code 4002 it comes back within {BACK:g} s.",
        PROTOCOL, Act.DRAINED, (), _returns_after("close"),
    ),
    Promise(
        "stays-superseded", f"After close code 4001 it stays away ({STAYS:g} s are watched).",
        PHONE, Act.SUPERSEDED, ("named",), _stays_away,
    ),
    Promise(
        "stays-refused", f"With a refused token it tries at most {MOST_REFUSED} times in {STAYS:g} s.",
        PHONE, Act.REFUSED, ("named",), _stays_refused,
    ),
    Promise(
        "frames", "Each numbered frame is well formed: version 2, a known coding, whole samples, the topic gb.audio.2.",
        NUMBERED, None, ("numbered",), _is_well_formed,
    ),
    Promise(
        "codings", "It sends only codings that the cloud has named.", NUMBERED, None, ("numbered",), _codes_when_asked
    ),
    Promise(
        "chooses-coding", "To a cloud that names Opus it speaks, in either coding.", NUMBERED, Act.OPUS, ("numbered",),
        _speaks_on,
    ),
    Promise(
        "one-sample-a-place", "A position of an epoch holds one sample, however often it is sent.",
        NUMBERED, None, ("numbered",), _one_sample_a_place,
    ),
    Promise(
        "keeps-counting", "Epoch and positions go on over a new socket.", NUMBERED, Act.CUT, ("numbered",),
        _keeps_counting,
    ),
    Promise(
        "clock", "Capture times grow with positions (0.2 s of slack).", NUMBERED, None, ("numbered",), _clock_runs
    ),
    Promise(
        "presence", f"Something comes each second, spoken or not ({QUIET:g} s are allowed).",
        NUMBERED, Act.PLAIN, ("numbered",), _is_present,
    ),
    Promise(
        "goes-on", "It goes on sending while nothing is acknowledged.", NUMBERED, Act.PLAIN, ("numbered",), _goes_on
    ),
    Promise(
        "stops", f"When the cloud switches the microphone off, positions stand still ({ON_ITS_WAY:g} s later; for "
        f"{OFF - ON_ITS_WAY:g} s).",
        NUMBERED, Act.PLAIN, ("numbered",), _stops,
    ),
    Promise(
        "tells-off", "Presence frames while the microphone is off say `last`.", NUMBERED, Act.PLAIN, ("numbered",),
        _tells_off,
    ),
    Promise(
        "end-is-the-end", "After a frame with `last` nothing more of the same speech comes.",
        NUMBERED, None, ("numbered",), _end_is_the_end,
    ),
    Promise(
        "fills-the-end", "All that it captured before the microphone went off comes.", NUMBERED, Act.PLAIN,
        ("numbered",), _fills_the_end,
    ),
    Promise(
        "replays", "What was lost before its socket broke comes again when the cloud asks for it.",
        NUMBERED, Act.CUT, ("numbered",), _replays,
    ),
    Promise(
        "marks-replay", "What comes again is marked: flag 1 or 8.", NUMBERED, Act.CUT, ("numbered",), _marks_replay
    ),
    Promise(
        "loses-nothing", "Nothing that it captured while its socket was away is lost.",
        NUMBERED, Act.CUT, ("numbered",), _loses_nothing,
    ),
    Promise(
        "repairs", "What was lost in the room comes again when the cloud asks for it.",
        NUMBERED, Act.HOLE, ("numbered", "room"), _replays,
    ),
    Promise(
        "speaks-elder", "To a cloud that does not agree on numbered audio it sends none.", NUMBERED, Act.ELDER,
        (), _speaks_elder,
    ),
    Promise("joins", f"It is in its room within {BACK:g} s.", PHONE, Act.PLAIN, ("room",), _joins),
    Promise(
        "renews", f"Told `phone_unheard`, it leaves its room and takes a new place within {BACK:g} s.",
        PHONE, Act.UNHEARD, ("room", "named"), _takes_place_again("miss"),
    ),
    Promise(
        "fresh-ticket", "Each new place is taken with a fresh LiveKit token.", PHONE, Act.UNHEARD, ("room", "named"),
        _asks_for_tickets,
    ),
    Promise(
        "returns-to-room", f"Removed from the room, it is there again within {BACK:g} s.",
        PHONE, Act.REMOVED, ("room", "named"), _takes_place_again("remove"),
    ),
    Promise(
        "speaks-by-socket", f"Without a room it sends samples by the socket within {BACK:g} s.",
        PHONE, Act.ROOMLESS, (), _uses_socket(None),
    ),
    Promise(
        "stays-heard", f"Removed from its room, it sends samples by the socket within {BACK:g} s, unless it is in the "
        f"room again within {FIRST:g} s.",
        PHONE, Act.REMOVED, ("room",), _uses_socket("remove"),
    ),
)  # fmt: skip


def acts_of(promises: Iterable[Promise]) -> list[Act]:
    """Those that these promises need, in order."""
    wanted = {promise.act for promise in promises if promise.act is not None} or {Act.PLAIN}
    return [act for act in Act if act in wanted]
