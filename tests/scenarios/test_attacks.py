"""A short part of the attacks (`glassbridge lab run A`) on one system: a bystander speaks meanwhile.

Latency is not judged here: other tests run beside this one, and other programs may. They also cost the bystander frames
now and then, which an attack that harms does each time: so one that seems to harm is judged again. All of it: the lab.
"""

from pathlib import Path

import pytest

from glassbridge.lab.bystander import GROWN_MB, KEPT_MB, LINES_PER_S, Attack, judged
from glassbridge.lab.needs import Figures, Needs
from glassbridge.lab.scenarios.attacks_http import backslash_paths
from glassbridge.lab.scenarios.attacks_sockets import megabyte_subscription, start_stop_storm
from glassbridge.lab.system import System
from tests.scenarios.systems import config
from tests.support.patience import patient

NEEDS = Needs(hostile_app=True, frame_ms=20, env={"GLASSBRIDGE_GRACE": "3"})
ATTACKS: dict[str, Attack] = {"A1": backslash_paths, "A5": megabyte_subscription, "A12": start_stop_storm}
LIVEZ_S = 1.0
"""Four times what the lab allows, on a machine that runs tests."""
TIMES = 3


@pytest.mark.timeout(400)
@pytest.mark.parametrize("names", [("A1", "A5"), pytest.param(("A12",), marks=pytest.mark.slow)], ids=" ".join)
async def test_a_bystander_feels_nothing_of_an_attack(names: tuple[str, ...], tmp_path: Path) -> None:
    """That a storm of starts is refused, and another app starts meanwhile: tests/cloud/test_limits.py."""
    async with System(config(livekit="embedded"), NEEDS, 1, tmp_path / "logs", lambda _: None) as system:
        for name in names:
            for _ in range(TIMES):
                await judged(system, name, ATTACKS[name], quiet_s=1.0)
                if not (harm := harms(system.samples[-1].figures)):
                    break
            assert not harm, f"{name}, {TIMES} times of {TIMES}: {harm}"
    for sample in system.samples:
        found, name = sample.figures, sample.episode
        assert found["grown_mb"] <= GROWN_MB, name
        assert found["kept_mb"] <= KEPT_MB, name
        assert found["lines_per_s"] <= LINES_PER_S, name
        assert found["refused"], name
    assert {sample.episode for sample in system.samples} == set(names)


def harms(found: Figures) -> dict[str, float]:
    """What a machine without a processor to spare does to a bystander too."""
    return {name: found[name] for name, most in (("lost", 0), ("livez_s", patient(LIVEZ_S))) if found[name] > most}
