"""`glassbridge bench`: measurements beside their floor."""

import asyncio
import json as json_module
import os
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glassbridge.cli.common import load_settings, start_logging
from glassbridge.cli.programs import ParticipantName, ParticipantOption
from glassbridge.cli.together import INTERRUPTED, until_signal
from glassbridge.runtime.choices import require_known
from glassbridge.runtime.complaints import Complaint

if TYPE_CHECKING:
    from glassbridge.lab.bench_network import NetworkConfig
    from glassbridge.lab.network_judge import Result
    from glassbridge.lab.program import Line

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
    print(_as_json(report) if json else table(report))
    if report["ours"]["errors"]:
        raise typer.Exit(1)


@app.command()
def apps(
    rounds: Annotated[int, typer.Option(min=1, max=100, help="How often the clip of 12 s is spoken.")] = 3,
    recogniser: Annotated[
        str,
        typer.Option(help="What understands: offline, or script, which needs no CPU, for a machine that is busy."),
    ] = "offline",
    sockets: Annotated[int, typer.Option(min=2, max=500, help="App sockets of one user.")] = 50,
    deaf: Annotated[int, typer.Option(min=1, max=499, help="How many of them do not read.")] = 10,
    seconds: Annotated[float, typer.Option(min=1, help="How long each crowd is measured.")] = 10.0,
    json: Annotated[bool, typer.Option("--json", help="The whole report as one JSON object.")] = False,
) -> None:
    """What apps get of a user's speech, beside the recogniser itself; what apps that do not read cost those that do."""
    require_known("--recogniser", [recogniser], ("offline", "script"))
    if deaf >= sockets:
        raise typer.BadParameter(Complaint.ALL_DEAF.text())
    start_logging("bench", "error", "auto")
    from glassbridge.lab.bench_apps import AppsBench, measure, table

    config = AppsBench(recogniser=recogniser, rounds=rounds, apps=sockets, deaf=deaf, seconds=seconds)
    report = asyncio.run(measure(config, say=lambda text: print(text, file=sys.stderr, flush=True)))
    print(_as_json(report) if json else table(report))
    said = report["transcripts"]
    if not said["raw_pcm_bit_exact"] or said["from_the_first_sample_ms"]["ratio_p50"] > 1.2:
        raise typer.Exit(1)


@app.command()
def phones(
    count: Annotated[int, typer.Option("--phones", min=1, max=20_000, help="Phones that say nothing.")] = 10_000,
    back: Annotated[int, typer.Option(min=1, help="So many lose their sockets at once.")] = 1_000,
    seconds: Annotated[float, typer.Option(min=1, help="How long the cloud is measured at rest.")] = 20.0,
    json: Annotated[bool, typer.Option("--json", help="The whole report as one JSON object.")] = False,
) -> None:
    """The cost of idle phones for a cloud and for a bare server, and how soon many are back at once. Exit status 0
    if all holds."""
    start_logging("bench", "error", "auto")
    from glassbridge.lab.bench_phones import PhonesBench, measure, table

    config = PhonesBench(phones=count, back=min(back, count), seconds=seconds)
    report = asyncio.run(measure(config, say=_say))
    print(_as_json(report) if json else table(report))
    if not all(report["holds"].values()):
        raise typer.Exit(1)


@app.command()
def speaker(
    runs: Annotated[int, typer.Option(min=1, max=200, help="First sounds of each side.")] = 10,
    participant: ParticipantOption = ParticipantName.OWN,
    json: Annotated[bool, typer.Option("--json", help="The whole report as one JSON object.")] = False,
) -> None:
    """From PlayAudio to the phone's ear: first sound, stop, length and gaps; beside a bare participant of the SDK."""
    start_logging("bench", "error", "auto")
    from glassbridge.lab.bench_speaker import SpeakerConfig, measure, table

    config = SpeakerConfig(runs, participant.value, load_settings().livekit_server_bin)
    report = asyncio.run(measure(config, say=lambda text: print(text, file=sys.stderr, flush=True)))
    print(_as_json(report) if json else table(report))
    if not all(report["holds"].values()):
        raise typer.Exit(1)


@app.command()
def telemetry(
    sessions: Annotated[int, typer.Option(min=1, max=200, help="Users with a phone that speaks, on each side.")] = 20,
    seconds: Annotated[float, typer.Option(min=2, help="Length of each window.")] = 30.0,
    pairs: Annotated[int, typer.Option(min=2, help="Windows with telemetry, each beside one without; even.")] = 8,
    json: Annotated[bool, typer.Option("--json", help="The whole report as one JSON object.")] = False,
) -> None:
    """What logs, metrics, traces and the recorder cost: the path with all of it on and off, side by side. Exit status 0
    if that is within the limit."""
    if pairs % 2:
        raise typer.BadParameter(Complaint.PAIRS_ODD.text())
    start_logging("bench", "error", "auto")
    from glassbridge.cli.together import stack_config
    from glassbridge.lab.bench_telemetry import LIMIT, TelemetryConfig, measure, table

    config = TelemetryConfig(sessions=sessions, seconds=seconds, pairs=pairs)
    base = stack_config("auto", ParticipantName.OWN)
    result = asyncio.run(measure(config, base, say=lambda text: print(text, file=sys.stderr, flush=True)))
    print(_as_json(result.as_json()) if json else table(result))
    if result.share > LIMIT:
        raise typer.Exit(1)


@app.command()
def speech(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(help="Folders of recordings, each with a text (.txt) of the same name; beside our own clips."),
    ] = None,
    engine: Annotated[list[str] | None, typer.Option(help="Only this one; may be given again.")] = None,
    noise: Annotated[bool, typer.Option(help="With noise, too.")] = True,
    crowds: Annotated[bool, typer.Option(help="How many people may speak at a time; takes minutes.")] = True,
    product: Annotated[
        bool, typer.Option(help="Instead: word errors through phone, room, bridge and cloud, beside the engine alone.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="The whole report as one JSON object.")] = False,
) -> None:
    """How well, how soon and at which price each installed recogniser understands speech."""
    start_logging("bench", "error", "auto")
    from glassbridge.lab.bench_speech import CONDITIONS, SpeechBench, measure, table
    from glassbridge.speech.providers import PROVIDERS, ProviderConfig

    require_known("--engine", engine or (), PROVIDERS)
    if product:
        from glassbridge.lab import bench_product

        through = bench_product.ProductBench(folders=tuple(folders or ()))
        told = asyncio.run(bench_product.measure(through, say=_say))
        print(_as_json(told) if json else bench_product.table(told))
        return
    settings = load_settings()
    languages = tuple(part.strip() for part in settings.sherpa_languages.split(",") if part.strip())
    bench = SpeechBench(
        engines=tuple(engine or ()),
        folders=tuple(folders or ()),
        conditions=CONDITIONS if noise else CONDITIONS[:1],
        crowds=crowds,
        config=ProviderConfig(model=settings.sherpa_model, languages=languages),
    )
    report = asyncio.run(measure(bench, say=_say))
    print(_as_json(report) if json else table(report))


def _as_json(report: object) -> str:
    """In one line; paths as text."""
    return json_module.dumps(report, default=str)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@app.command()
def network(
    cells: Annotated[
        list[str] | None,
        typer.Argument(
            help="Networks by name or in words, as in '10% loss, 64 kbit/s' (docs/networks.md); left out: all."
        ),
    ] = None,
    transport: Annotated[list[str] | None, typer.Option(help="data, websocket, track; may be repeated.")] = None,
    seconds: Annotated[float, typer.Option(min=2, max=25, help="How long each phone speaks.")] = 20.0,
    runs: Annotated[int, typer.Option(min=1, max=20, help="How often on each network.")] = 1,
    frame_ms: Annotated[int, typer.Option(min=20, max=100, help="Milliseconds that are captured at once.")] = 100,
    seed: Annotated[int, typer.Option(help="Of the packets that are lost.")] = 1,
    participant: ParticipantOption = ParticipantName.OWN,
    loss: Annotated[float, typer.Option(help="A network of your own: percent of packets lost.")] = 0,
    delay: Annotated[float, typer.Option(help="Milliseconds one way.")] = 0,
    jitter: Annotated[float, typer.Option(help="Milliseconds, evenly distributed; packets overtake.")] = 0,
    rate: Annotated[float, typer.Option(help="kbit/s.")] = 0,
    queue: Annotated[float, typer.Option(help="Milliseconds that packets wait for the rate.")] = 0,
    burst: Annotated[float, typer.Option(help="Milliseconds of total loss in each --every.")] = 0,
    every: Annotated[float, typer.Option(help="Milliseconds.")] = 0,
    duplicate: Annotated[float, typer.Option(help="Percent of packets that come twice.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="One JSON object for each phone.")] = False,
    log: Annotated[bool, typer.Option("--log", help="Show the log of all programs.")] = False,
    jobs: Annotated[int, typer.Option(min=1, max=16, help="Phones that speak side by side, a system for each.")] = 1,
    share: Annotated[str, typer.Option(hidden=True, help="Of a process of --jobs: which, of how many.")] = "",
) -> None:
    """What of a phone's speech reaches the recogniser, and how late, on networks that phones have. Needs root."""
    start_logging("bench", "warning", "auto")
    from glassbridge.lab.bench_network import NetworkConfig
    from glassbridge.lab.network_words import custom, described
    from glassbridge.lab.networks import CELLS

    own = {"loss": loss, "delay": delay, "jitter": jitter, "rate": rate, "queue": queue, "burst": burst, "every": every,
           "duplicate": duplicate}  # fmt: skip
    config = NetworkConfig(
        cells=[custom(**own)] if any(own.values()) else [described(text) for text in cells or ()] or CELLS,
        transports=transport or ["data", "websocket"],
        participant=participant.value,
        seconds=seconds,
        runs=runs,
        frame_ms=frame_ms,
        seed=seed,
        livekit_bin=load_settings().livekit_server_bin,
        log_level="info" if log else "warning",
    )
    if share:
        which, shares = map(int, share.split("/"))
        raise typer.Exit(until_signal(_share(replace(config, share=(which, shares))), stopped=INTERRUPTED))
    raise typer.Exit(until_signal(_shares(config, jobs, json, log), stopped=INTERRUPTED))


async def _share(config: "NetworkConfig") -> int:
    """In a process of its own: one JSON line for each phone."""
    from glassbridge.lab.bench_network import measure

    await measure(config, _say, lambda result: print(_as_json(result.to_json()), flush=True))
    return 0


async def _shares(config: "NetworkConfig", jobs: int, json: bool, log: bool) -> int:
    from glassbridge.lab.network_judge import line, table
    from glassbridge.lab.side_by_side import measure_shares

    def tell(said: "Line", result: "Result | None") -> None:
        if result is not None:
            print(line(result), file=sys.stderr if json else None, flush=True)
        elif log:
            _say(said.text)

    words = sys.argv[sys.argv.index("network") + 1 :]
    print(f"seed {config.seed}", file=sys.stderr if json else None, flush=True)
    results = await measure_shares(words, config.cells, len(config.turns), jobs, tell)
    for result in results if json else ():
        print(_as_json(result.to_json()))
    for result in results if log else ():
        print(result.cell.name, result.transport, result.detail.get("changes"), result.detail.get("ages"))
    if not json and not log:
        print(table(results))
    return int(any(result.broken for result in results))


@app.command()
def peers(
    system: Annotated[
        list[str] | None, typer.Option(help="Only these: glassbridge, sdk, livekit-agents, pipecat; may be repeated.")
    ] = None,
    fault: Annotated[
        list[str] | None, typer.Option(help="Only these: cut3, cut10, kill, livekit; may be repeated.")
    ] = None,
    runs: Annotated[int, typer.Option(min=1, max=20, help="Episodes of each fault.")] = 1,
    install: Annotated[
        bool, typer.Option("--install", help="Instead: install the packages of the others into your cache, once.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="The figures of each run as one JSON object.")] = False,
) -> None:
    """How soon others hear a phone again after a fault, and what they never hear: the bare SDK, livekit-agents and
    pipecat beside ours, at the same moment. Needs root."""
    from glassbridge.lab import impaired
    from glassbridge.lab.peers import venvs
    from glassbridge.lab.peers.subjects import FAULTS, SUBJECTS

    subjects = [one for one in SUBJECTS if one.name in (system or [one.name])]
    faults = [one for one in FAULTS if one.name in (fault or [one.name])]
    require_known("--system", system or (), [one.name for one in SUBJECTS])
    require_known("--fault", fault or (), [one.name for one in FAULTS])
    if install:
        for name in dict.fromkeys(one.python for one in subjects if one.python):
            if venvs.python_of(name) is None:
                venvs.install(name, _say)
        return
    impaired.require_available()
    if impaired.INSIDE not in os.environ:
        raise typer.Exit(impaired.in_own_network([sys.executable, "-m", "glassbridge", *sys.argv[1:]]))
    del os.environ[impaired.INSIDE]
    start_logging("bench", "warning", "auto")
    absent = {one.python for one in subjects if one.python and venvs.python_of(one.python) is None}
    for name in sorted(absent):
        _say(f"left out: {venvs.missing(name)}")
    from glassbridge.lab.peers.bench import PeersConfig, measure, table

    config = PeersConfig(
        subjects=[one for one in subjects if one.python not in absent],
        faults=faults,
        runs=runs,
        livekit_bin=load_settings().livekit_server_bin,
    )
    results = asyncio.run(measure(config, _say))
    if json:
        for (name, key), figures in results.items():
            for run in figures:
                print(_as_json({"fault": name, "system": key, **asdict(run)}))
    else:
        print(table(results))
