"""`glassbridge lab`: breaks a running system on purpose, and proves that audio comes back."""

import json as json_module
import sys
from pathlib import Path
from random import randrange
from typing import TYPE_CHECKING, Annotated

import typer

from glassbridge.cli.common import start_logging
from glassbridge.cli.programs import ParticipantName
from glassbridge.cli.sim import sim
from glassbridge.cli.together import LiveKitOption, stack_config, until_signal

if TYPE_CHECKING:
    from glassbridge.lab.runner import Outcome
    from glassbridge.lab.scenario import Scenario
    from glassbridge.lab.stack import StackConfig
    from glassbridge.livekit.participant import ParticipantKind

INTERRUPTED = 130

app = typer.Typer(
    help="Break a running system, prove that audio comes back.", no_args_is_help=True, rich_markup_mode=None
)
app.command("sim")(sim)


@app.command("list")
def list_() -> None:
    """What can be run: each failure, and what must hold."""
    from glassbridge.lab.catalogue import catalogue

    for scenario in catalogue():
        print(f"{scenario.id:6} {scenario.title}  [{scenario.story}]")
        print(f"       {'; '.join(str(limit) for limit in scenario.must)}")


@app.command()
def run(
    names: Annotated[
        list[str],
        typer.Argument(metavar="NAME...", help="F2, F7, N-loss5, a letter (N: all networks), or all (but M, N and V)."),
    ],
    runs: Annotated[int | None, typer.Option(min=1, help="Runs of each; each has several users.")] = None,
    participant: Annotated[
        ParticipantName | None,
        typer.Option(help="LiveKit participant. Left out: our own, and the SDK's where it must hold too."),
    ] = None,
    livekit: LiveKitOption = "auto",
    json: Annotated[bool, typer.Option("--json", help="One JSON object for each scenario.")] = False,
    out: Annotated[Path, typer.Option(file_okay=False, help="Folder for the report and the logs of failures.")] = Path(
        "out/lab"
    ),
    seed: Annotated[
        int | None, typer.Option(min=0, help="For what is random. Left out: a random one, printed.")
    ] = None,
    keep_logs: Annotated[bool, typer.Option("--keep-logs", help="Keep the logs of what passed, too.")] = False,
    users: Annotated[
        int | None, typer.Option(min=1, max=200, help="Users who speak. Left out: as many as the scenario wants.")
    ] = None,
    jobs: Annotated[
        int, typer.Option(min=1, max=16, help="N only: phones that speak side by side, each with a system of its own.")
    ] = 1,
) -> None:
    """Run scenarios on real processes. Exit status 0 if all numbers hold."""
    from glassbridge.lab.catalogue import find

    start_logging("lab", "warning", "auto")
    chosen = find(names)
    participants: list[ParticipantKind] = ["own", "sdk"] if participant is None else [participant.value]
    out.mkdir(parents=True, exist_ok=True)
    config = stack_config(livekit, participant or ParticipantName.OWN)
    raise typer.Exit(
        until_signal(
            _run(config, chosen, participants, runs, json, out, seed, keep_logs, users, jobs), stopped=INTERRUPTED
        )
    )


async def _run(
    config: "StackConfig",
    chosen: "list[Scenario]",
    participants: "list[ParticipantKind]",
    runs: int | None,
    json: bool,
    out: Path,
    seed: int | None,
    keep_logs: bool,
    users: int | None,
    jobs: int,
) -> int:
    from glassbridge.lab.report import as_json, line, save
    from glassbridge.lab.runner import Runner

    if seed is None:
        seed = randrange(1 << 32)  # noqa: S311 - no secret
    outcomes: list[Outcome] = []
    progress = Progress()
    runner = Runner(config, out, progress.say, seed=seed, keep_logs=keep_logs, users=users, jobs=jobs)
    async for outcome in runner.run_all(chosen, participants, runs):
        outcomes.append(outcome)
        progress.clear()
        print(json_module.dumps(as_json(outcome)) if json else line(outcome), flush=True)
        save(outcomes, out)
    print(
        f"{sum(found.passed for found in outcomes)} of {len(outcomes)} passed (seed {seed}); {out / 'report.md'}",
        file=sys.stderr,
    )
    return 0 if all(found.passed for found in outcomes) else 1


class Progress:
    """What goes on, on standard error: one line that changes on a terminal, plain lines elsewhere."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()

    def say(self, text: str) -> None:
        print(
            f"\r\033[K{text}" if self._terminal else text,
            file=sys.stderr,
            end="" if self._terminal else "\n",
            flush=True,
        )

    def clear(self) -> None:
        """Before something else is printed."""
        if self._terminal:
            print("\r\033[K", file=sys.stderr, end="", flush=True)
