"""A shipper of log lines before a moody sink, in virtual time; and that its checkers find a defect that it once had."""

from collections.abc import Callable

import pytest

from glassbridge.core import outbox
from glassbridge.core.outbox import SinkVerdict
from tests.sim.log_sink import Checker, run

Patch = pytest.MonkeyPatch
SEEDS = 15


def test_every_line_arrives_that_the_sink_does_not_refuse() -> None:
    outcomes = [run(seed) for seed in range(SEEDS)]
    assert [violation for outcome in outcomes for violation in outcome.violations] == []
    assert sum(outcome.lines for outcome in outcomes) > 100 * SEEDS
    assert {200, 301, 307, 400, 413, 503, None} <= set[int | None]().union(*(outcome.answers for outcome in outcomes))


def outbox_that_takes_a_redirect_for_a_refusal(patch: Patch) -> None:
    """A sink that redirects loses line after line."""
    genuine = outbox.verdict

    def verdict(status: int | None) -> SinkVerdict:
        return SinkVerdict.TOO_MUCH if status is not None and status // 100 == 3 else genuine(status)

    patch.setattr(outbox, "verdict", verdict)


MUTATIONS: list[tuple[Callable[[Patch], None], Checker]] = [
    (outbox_that_takes_a_redirect_for_a_refusal, Checker.ARRIVES)
]


@pytest.mark.parametrize(("defect", "checker"), MUTATIONS, ids=lambda value: getattr(value, "__name__", "in"))
def test_defect_is_found(defect: Callable[[Patch], None], checker: Checker, monkeypatch: Patch) -> None:
    defect(monkeypatch)
    assert any(run(seed).violates(checker) for seed in range(SEEDS))
