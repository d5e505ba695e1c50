"""What a cloud tells of itself in numbers: where, to whom, and whether it is true."""

from collections import deque
from collections.abc import Awaitable, Callable

import pytest

from glassbridge import __version__
from glassbridge.core.values import LossReason
from glassbridge.telemetry import loop_lag
from glassbridge.telemetry.traces import Origin
from glassbridge.wire import livekit_bridge_pb2 as pb
from tests.cloud.conftest import ANN, Stage
from tests.cloud.test_recovery import live, present, until_told
from tests.support.poll import eventually
from tests.telemetry.test_numbers import Samples, read

Begin = Callable[..., Awaitable[Stage]]
ADMIN = "an-admin-token-of-the-tests"


async def scrape(built: Stage, url: str = "", **headers: str) -> Samples:
    async with built.http.get(f"{url or built.url}/metrics", headers=headers) as answer:
        assert answer.status == 200
        return read(await answer.text())


def of(found: Samples, name: str, **labels: str) -> float:
    return found["glassbridge_" + name, frozenset(labels.items())]


async def test_the_public_port_tells_only_who_shows_the_admin_token(stage: Begin) -> None:
    closed, open_ = await stage(), await stage(admin_token=ADMIN)
    for built, headers, status in (
        (closed, {}, 403),
        (open_, {}, 401),
        (open_, {"Authorization": "Bearer something-else"}, 401),
    ):
        async with built.http.get(f"{built.url}/metrics", headers=headers) as answer:
            assert answer.status == status
            assert "glassbridge_sessions" not in await answer.text()
    found = await scrape(open_, Authorization=f"Bearer {ADMIN}")
    assert of(found, "info", program="cloud", version=__version__) == 1


async def test_a_port_of_its_own_tells_everybody_who_reaches_it(stage: Begin) -> None:
    built = await stage(metrics_port=0)
    assert built.cloud.metrics_address is not None
    url = f"http://{built.cloud.metrics_address}"
    others = of(await scrape(built, url), "sessions", state="active")  # of clouds that former tests let die
    await built.phone()
    assert of(await scrape(built, url), "sessions", state="active") == others + 1


async def test_a_fault_is_counted_from_its_first_second_to_its_last(stage: Begin) -> None:
    built = await stage(admin_token=ADMIN)

    async def now() -> Samples:
        return await scrape(built, Authorization=f"Bearer {ADMIN}")

    begun = await now()
    phone = await live(built)
    flows = await now()

    def grew(before: Samples, after: Samples, name: str, /, **labels: str) -> float:
        key = "glassbridge_" + name, frozenset(labels.items())
        return after.get(key, 0.0) - before.get(key, 0.0)

    assert grew(begun, flows, "phone_sockets_total", kind="new") == 1
    assert grew(begun, flows, "joins_total", result="joined", reason="") == 1
    assert grew(begun, flows, "time_to_audio_seconds_count", after="start") == 1
    assert grew(begun, flows, "frames_received_total", hop="stream") == 1
    assert of(flows, "audio_states", state="live") == of(flows, "audio_links", state="live") == 1
    assert of(flows, "audio_dead_seconds") == 0.0

    built.bridge.refuse, built.bridge.refuse_reason = "LiveKit is away", pb.REASON_UNREACHABLE
    built.bridge.end(ANN, reason=LossReason.NETWORK.code)
    told = await until_told(phone, "unreachable")
    trace = Origin.read(told["traceparent"])
    assert trace is not None, told

    assert of(await now(), "audio_dead_seconds") > 0.0
    built.bridge.refuse = ""
    await phone.say(type="network_state_change")
    await phone.until_state("connecting", "awaiting_audio", within=10)
    present(built)
    await phone.until_state("live")
    assert "traceparent" not in phone.of_type("audio_state")[-1], "nothing goes on any more"
    back = await now()
    assert of(back, "audio_dead_seconds") == 0.0
    assert grew(flows, back, "places_lost_total", reason="network") == 1
    assert grew(flows, back, "rejoins_total", reason="network") == 1
    assert grew(flows, back, "joins_total", result="failed", reason="unreachable") >= 1
    assert grew(flows, back, "time_to_audio_seconds_count", after="fault") == 1
    assert grew(flows, back, "notices_total", state="live", hop="") == 1
    await phone.close()
    await eventually(lambda: not next(iter(built.cloud.sessions.living)).has_phone or "the phone to be away")
    gone = await now()
    assert (of(gone, "sessions", state="active"), of(gone, "sessions", state="grace")) == (0, 1)
    assert of(gone, "audio_dead_seconds") == 0.0, "nobody waits for audio"


async def test_what_is_left_of_a_cloud_is_told_to_autoscalers(stage: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """By each of the three things that bound it: 1 is idle, 0 is full."""
    built = await stage(admin_token=ADMIN, max_sessions=4)

    async def left() -> dict[str, float]:
        found = await scrape(built, Authorization=f"Bearer {ADMIN}")
        return {of_what: of(found, "capacity_left_ratio", of=of_what) for of_what in ("sessions", "speakers", "loop")}

    monkeypatch.setattr(loop_lag, "_newest", deque([0.0]))
    assert await left() == {"sessions": 1.0, "speakers": 1.0, "loop": 1.0}
    phones = [await built.phone(f"user{number}@example.com") for number in range(3)]
    monkeypatch.setattr(loop_lag, "_newest", deque([0.0, loop_lag.MOST / 4, 0.01]))
    found = await left()
    assert (found["sessions"], found["loop"]) == (0.25, 0.75)
    phones.append(await built.phone("user3@example.com"))
    monkeypatch.setattr(loop_lag, "_newest", deque([10 * loop_lag.MOST]))
    found = await left()
    assert (found["sessions"], found["loop"]) == (0.0, 0.0)
    monkeypatch.setattr(type(built.recogniser), "fits", 0)
    assert (await left())["speakers"] == 0.0
