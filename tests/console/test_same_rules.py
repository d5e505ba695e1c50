"""The browser phone decides as our own does: the same schedules, played to both machines, give the same effects."""

import json
import random
import struct
from dataclasses import replace
from enum import Enum
from typing import Any

import pytest

from glassbridge.core import phone_place as place
from glassbridge.core import phone_socket as socket
from glassbridge.core.phone_link import Event, PhoneLink
from glassbridge.core.values import AudioState, Generation, LossReason
from glassbridge.phone.capture import Capture
from glassbridge.wire.audio_frames import FLAG_REPLAYED, encode_numbered
from glassbridge.wire.close_codes import CloseCode
from tests.console.browser import Browser

SEED = 20261121
SCHEDULES = 120
STEPS = 60

PLAY = """
(async () => {
  const { PhoneLink } = await import("/console/assets/phone/link_machine.js");
  return SCHEDULES.map(({ room, chances, steps }) => {
    let drawn = 0;
    const link = new PhoneLink(() => chances[drawn++ % chances.length], room);
    const after = (effects) => [effects, link.nextDeadline(), link.socket.state, link.place.state];
    return steps.map(([event, now]) => after(link.step(event, now)));
  });
})()
"""


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
            return socket.Heard(there, rng.choice((None, rng.randint(1, 40))))
        case "told":
            retry_at = rng.choice((None, now + rng.uniform(0.3, 9.3)))
            return place.AudioTold(there, rng.choice(list(AudioState)), rng.choice(list(place.Blame)), "why", retry_at)
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


FRAMES = """
(async () => {
  const { Capture, LAST, PRESENCE, REPLAYED, encode } = await import("/console/assets/phone/frames.js");
  const capture = new Capture(() => 12.5, 7);
  const log = [];
  for (const [step, ...rest] of STEPS) {
    if (step === "take") log.push([...encode(capture.take(Int16Array.from(rest[0]), rest[1]))]);
    else if (step === "presence") log.push([...capture.presence(rest[0])]);
    else if (step === "beginning") log.push([...capture.beginning()]);
    else log.push(capture.acknowledge(rest[0]).map((frame) => [...encode(frame, REPLAYED)]));
  }
  return log;
})()
"""


def captured(rng: random.Random) -> tuple[list[Any], list[Any]]:
    """What a microphone and its cloud do, and the frames that our own phone makes of it."""
    ours = Capture(7, lambda: 12_500_000)
    steps: list[Any] = []
    made: list[Any] = []
    for number in range(200):
        match rng.choice(("take", "take", "take", "presence", "beginning", "acknowledge")):
            case "take":
                samples = [rng.randint(-32768, 32767) for _ in range(rng.randint(1, 40))]
                steps.append(("take", samples, number * 2_500))
                frame = ours.take(struct.pack(f"<{len(samples)}h", *samples), number * 2_500)
                made.append(list(encode_numbered(frame.number, frame.pcm)))
            case "presence":
                steps.append(("presence", on := rng.random() < 0.5))
                made.append(list(encode_numbered(ours.presence(microphone_on=on).number, b"")))
            case "beginning":
                steps.append(("beginning",))
                made.append(list(encode_numbered(ours.beginning().number, b"")))
            case _:
                epoch, position = rng.choice((7, 7, 7, 8)), rng.randint(0, ours.position + 5)
                missing = [sorted((rng.randint(0, position), rng.randint(0, position)))] if rng.random() < 0.5 else []
                steps.append(("acknowledge", {"epoch": epoch, "position": position, "missing": missing}))
                heard = epoch == 7 and ours.acknowledged <= position <= ours.position
                ours.acknowledge(epoch, position, [(start, stop) for start, stop in missing])
                again = ours.missing if heard else ()
                made.append([list(encode_numbered(replace(f.number, flags=FLAG_REPLAYED), f.pcm)) for f in again])
    return steps, made


@pytest.mark.chromium
async def test_the_browser_phone_decides_as_ours(pages: str) -> None:
    rng = random.Random(SEED)
    played, decided = zip(*(schedule(rng) for _ in range(SCHEDULES)), strict=True)
    seen = {tuple(states) for steps in decided for _, _, *states in steps}
    assert len(seen) > 20, f"the schedules see only {seen}"
    async with Browser() as browser:
        page = await browser.open(f"{pages}/console/phone")
        found = await page.run(PLAY.replace("SCHEDULES", json.dumps(played)))
        codes = await page.run("import('/console/assets/phone/cloud_socket.js').then(({CLOSE_CODES}) => CLOSE_CODES)")
        steps, made = captured(rng)
        assert await page.run(FRAMES.replace("STEPS", json.dumps(steps))) == made, f"seed {SEED}"
        assert page.complaints == []
    for number, (theirs, ours) in enumerate(zip(found, decided, strict=True)):
        for step, (their, our) in enumerate(zip(theirs, ours, strict=True)):
            event = played[number]["steps"][step]
            assert their == json.loads(json.dumps(our)), f"seed {SEED}, schedule {number}, step {step}: {event}"
    assert codes == {str(int(code)): [code.meaning, code.come_back.value] for code in CloseCode}
