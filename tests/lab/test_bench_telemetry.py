"""The benchmark of telemetry: its arithmetic, and that it measures what it says."""

import pytest

from glassbridge.lab.bench_telemetry import LEAST_FRAMES, CpuShares, Result, TelemetryConfig, measure, table
from tests.scenarios.systems import config
from tests.support.livekit import KEYS


def result(*pairs: tuple[float, float], counting_ns: float = 0.0) -> Result:
    on = [CpuShares(with_ / 4, with_ * 3 / 4) for with_, _ in pairs]
    off = [CpuShares(without / 4, without * 3 / 4) for _, without in pairs]
    return Result(TelemetryConfig(pairs=len(pairs)), on, off, counting_ns, frames=10.0, lines=5)


def test_a_share_is_of_the_path_without_telemetry() -> None:
    found = result((10.2, 10.0), (10.1, 10.0))
    assert found.shares == pytest.approx([0.02, 0.01])
    assert found.share == pytest.approx(0.015)
    assert found.uncertainty == pytest.approx(0.005)
    assert "telemetry costs +1.5%, standard error 0.5%; limit 3%" in table(found)
    assert "pair by pair: median +1.5%, +1.0% to +2.0%" in table(found)


def test_what_is_counted_on_both_sides_is_telemetry_too() -> None:
    """10 frames a second, 10 microseconds each: 0.1 of 10 ms."""
    assert result((10.0, 10.0), counting_ns=10_000).share == pytest.approx(0.1 / 9.9)


@pytest.mark.slow
async def test_both_sides_are_heard_and_only_one_tells() -> None:
    said: list[str] = []
    found = await measure(TelemetryConfig(2, seconds=2.0, pairs=1), config(livekit="auto", keys=KEYS), said.append)
    assert found.frames >= LEAST_FRAMES
    assert found.lines > 20, "the sink gets the lines of one side"
    assert found.counting_ns < 20_000
    assert min(window.cloud for window in (*found.on, *found.off)) > 0
    assert min(window.bridge for window in (*found.on, *found.off)) > 0
