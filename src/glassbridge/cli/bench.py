"""`glassbridge bench path`: measurements beside their floor."""

import asyncio
import json as json_module
import sys
from typing import Annotated

import typer

from glassbridge.cli.common import load_settings, start_logging
from glassbridge.cli.programs import ParticipantName, ParticipantOption

app = typer.Typer(help="Measure, beside the floor, in one run.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _bench() -> None: ...


@app.command()
def path(
    sessions: Annotated[int, typer.Option(min=1, max=500, help="Users with a phone that speaks.")] = 10,
    frame_ms: Annotated[int, typer.Option(min=10, max=400, help="Milliseconds of audio in a frame.")] = 100,
    seconds: Annotated[float, typer.Option(min=1, help="How long each side is measured.")] = 15.0,
    replaces: Annotated[int, typer.Option(min=0, help="Joins replaced under live audio at the end.")] = 20,
    workers: Annotated[int, typer.Option(min=1, max=16, help="Workers of the bridge.")] = 1,
    participant: ParticipantOption = ParticipantName.OWN,
    json: Annotated[bool, typer.Option("--json", help="The whole report as one JSON object.")] = False,
) -> None:
    """From a phone's packet to the gRPC stream: joins, latency, CPU, memory, loss; ours beside the bare SDK."""
    start_logging("bench", "warning", "auto")
    from glassbridge.lab.bench_path import PathConfig, measure, table

    config = PathConfig(
        sessions=sessions,
        frame_ms=frame_ms,
        seconds=seconds,
        replaces=replaces,
        workers=workers,
        participant=participant.value,
        livekit_bin=load_settings().livekit_server_bin,
    )
    report = asyncio.run(measure(config, say=lambda text: print(text, file=sys.stderr, flush=True)))
    print(json_module.dumps(report) if json else table(report))
    if report["ours"]["errors"]:
        raise typer.Exit(1)
