"""Bad networks: what must hold on each, by the figures of a phone that spoke there."""

import json
import random
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from math import inf
from typing import Any

import pytest

from glassbridge.lab import impaired
from glassbridge.lab.bench_network import NetworkConfig
from glassbridge.lab.network_judge import Result, table, verdict
from glassbridge.lab.network_words import described
from glassbridge.lab.networks import BY_NAME
from glassbridge.lab.scenario import Alone
from glassbridge.lab.scenarios.networks import measure
from glassbridge.runtime.errors import UserError

GOOD = {
    "lost": 0.0, "live": 1.0, "late": 0.0, "age_s": 0.05, "hole_s": 0.1, "ready_s": 1.0, "breaks": 0, "speech_ends": 1,
    "codes": 1, "says": 1, "in_room": 1, "untold_s": 0.5,
}  # fmt: skip


def result(name: str, figures: Mapping[str, float] | None = None, transport: str = "data") -> Result:
    cell = BY_NAME[name]
    return Result(cell=cell, transport=transport, figures=GOOD | dict(figures or {}))


@pytest.mark.parametrize(
    ("name", "figures", "broken"),
    [
        ("loss5", {}, []),
        ("loss5", {"lost": 0.005}, ["lost"]),
        ("loss5", {"unseen": 15, "lost": 0.005}, ["unseen", "lost"]),
        ("loss5", {"dropped": 1}, ["dropped"]),
        ("loss5", {"live": 0.985}, ["live"]),
        ("loss5", {"age_s": inf}, ["age_s"]),
        ("loss5", {"breaks": 1}, ["breaks"]),
        ("64k", {"speech_ends": 2}, ["speech_ends"]),
        ("64k", {"breaks": 1}, []),
        ("24k", {"codes": 0}, ["codes"]),
        ("slow2", {"hole_s": 3.1}, ["hole_s"]),
        ("turn", {"in_room": 0}, ["in_room"]),
        ("portal", {"ready_s": 12.5, "says": 0}, ["ready_s", "says"]),
        ("portal-later", {"untold_s": 4.1}, ["untold_s"]),
    ],
)
def test_the_limits_of_a_network(name: str, figures: dict[str, float], broken: list[str]) -> None:
    found = result(name, figures)
    assert [limit.figure for limit in found.broken] == broken
    assert verdict(found).startswith("FAILED" if broken else "held")


def test_a_phone_without_a_room_need_not_be_in_it() -> None:
    cell = BY_NAME["turn"]
    figures = {name: value for name, value in GOOD.items() if name != "in_room"}
    assert not Result(cell=cell, transport="websocket", figures=figures).broken


def test_the_table_shows_the_worst_of_all_runs() -> None:
    text = table(
        [result("loss5"), result("loss5", {"live": 0.5, "age_s": 2.0}), result("loss5", {"hole_s": 7.0}, "websocket")]
    )
    assert text.splitlines()[2:] == [
        "| loss5 | data | 50.0 % | 0.0 % | 2.00 s | 0.1 s | 1 of 2 held: age_s <= 0.25, live >= 0.99 |",
        "| loss5 | websocket | 100.0 % | 0.0 % | 0.05 s | 7.0 s | 1 of 1 held |",
    ]


@pytest.mark.parametrize("jobs", [1, 2, 3, 7, 20])
def test_shares_take_every_turn_once(jobs: int) -> None:
    config = NetworkConfig(cells=[BY_NAME["loss5"], BY_NAME["64k"]], runs=3)
    shares = [replace(config, share=(which, jobs)).turns for which in range(jobs)]
    taken = [turn.user for share in shares for turn in share]
    assert sorted(taken) == sorted(turn.user for turn in config.turns)
    assert len(set(taken)) == 2 * 2 * 3
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_result_crosses_to_another_process() -> None:
    before = result("loss5", {"age_s": inf, "lost": 0.25})
    after = Result.from_json(json.loads(json.dumps(before.to_json())), {"loss5": before.cell})
    assert after == before
    assert [limit.figure for limit in after.broken] == ["lost", "age_s"]


@pytest.mark.real
@pytest.mark.skipif(not impaired.available(), reason="needs root, /dev/net/tun and network namespaces")
@pytest.mark.slow
async def test_a_network_without_udp_by_data_and_by_websocket() -> None:
    cell = BY_NAME["turn"]
    samples = await measure(cell, Alone("own", 1, 1, jobs=2))
    assert [sample.user for sample in samples] == ["turn-data", "turn-websocket"]
    assert samples[0].figures["in_room"] == 1
    assert all(sample.figures["lost"] == 0 for sample in samples)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10% loss", {"loss": 0.1}),
        ("loss 2.5 %", {"loss": 0.025}),
        ("200 ms delay, 64 kbit/s", {"delay": 0.2, "rate": 64_000.0}),
        ("5 % and 50 ms jitter + 3% doubled", {"loss": 0.05, "jitter": 0.05, "duplicate": 0.03}),
        ("bursts of 0.5 s each 5 s, 300 ms queue", {"burst": (0.5, 5.0), "queue": 0.3}),
        ("1000k then 64k after 10 s", {"rate": 1_000_000.0, "later": (10.0, 64_000.0)}),
    ],
)
def test_a_network_in_words(text: str, expected: dict[str, Any]) -> None:
    cell = described(text)
    assert {name: getattr(cell.both, name) for name in expected} == expected
    assert cell.both == cell.upward


def test_a_network_by_name_or_a_sentence_about_what_there_is() -> None:
    assert described("burst1") is BY_NAME["burst1"]
    with pytest.raises(UserError, match=r"'fog' is no network.*loss20.*10% loss"):
        described("10% loss, fog")


def test_a_network_that_is_bad_one_way() -> None:
    cell = described("up 20% loss, 50 ms delay")
    assert (cell.upward.loss, cell.both.loss, cell.upward.delay, cell.both.delay) == (0.2, 0.0, 0.05, 0.05)
    assert described("down 64 kbit/s").upward.rate == 0


@pytest.mark.parametrize(("after", "at_once"), [(10.0, 2), (0.0, 0)])
async def test_a_rate_that_falls(after: float, at_once: int) -> None:
    delivered: list[bytes] = []
    way = impaired.Direction(delivered.append, random.Random(1))
    way.begin(impaired.Impairment(later=(after, 8_000)))
    for _ in range(2):
        way.take(bytes(1_000))
    assert len(delivered) == at_once


FLOODED = """
import asyncio, random, socket
from glassbridge.lab.impaired import PHONE, Wire

async def main():
    async with Wire(random.Random(1)) as wire:
        before = wire.dropped
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
            for _ in range(2_000):
                sending.sendto(bytes(100), (PHONE, 9))
        print(before, wire.dropped > 0)

asyncio.run(main())
"""


@pytest.mark.skipif(not impaired.available(), reason="needs root and TUN devices")
def test_packets_that_the_lab_itself_loses_are_counted() -> None:
    argv = [*impaired.OWN_NETWORK, sys.executable, "-c", FLOODED]
    found = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert found.stdout.split() == ["0", "True"], found.stderr
