"""`glassbridge demo` and `glassbridge dev`: the whole system on this machine."""

import asyncio
import os
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import replace
from secrets import token_urlsafe
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from glassbridge.cli.common import LogFormat, LogLevel, livekit_keys, load_settings, parse_user, start_logging
from glassbridge.cli.programs import ParticipantName, ParticipantOption
from glassbridge.runtime.complaints import Complaint
from glassbridge.runtime.errors import UserError

if TYPE_CHECKING:
    from glassbridge.core.values import UserId
    from glassbridge.lab.dev_control import DevControl
    from glassbridge.lab.networks import Cell
    from glassbridge.lab.program import Line
    from glassbridge.lab.stack import Stack, StackConfig

INTERRUPTED = 130

LiveKitOption = Annotated[
    str,
    typer.Option(
        "--livekit",
        help="real, embedded (a stand-in in Python), the URL of a running server (keys: LIVEKIT_API_KEY and "
        "LIVEKIT_API_SECRET), or auto: real where a livekit-server is at hand, else embedded.",
    ),
]


BreakOption = Annotated[
    bool,
    typer.Option("--break", help="Keys break things while it runs: watch the audio die and come back; q quits."),
]


def demo(
    livekit: LiveKitOption = "auto",
    break_: BreakOption = False,
    network: Annotated[
        str,
        typer.Option(
            help="The network of the phone, as in '10% loss', '200 ms delay, 64 kbit/s', or by name "
            "(docs/networks.md). Needs root."
        ),
    ] = "",
    participant: ParticipantOption = ParticipantName.OWN,
    log_level: LogLevel = "info",
) -> None:
    """Show the whole path: a phone speaks a clip, its captions come back. Exit status 0 if audio and words arrived."""
    start_logging("demo", "error", "auto")  # warnings are part of the picture
    cell = _network(network, livekit, break_=break_) if network else None
    config = stack_config(_breakable(livekit) if break_ else livekit, participant, log_level=log_level)
    raise typer.Exit(until_signal(_demo(config, break_, cell), stopped=INTERRUPTED))


def _network(text: str, livekit: str, *, break_: bool) -> "Cell":
    """The network, once this process is in a namespace of its own; else the command runs in one, and this exits."""
    from glassbridge.lab import impaired
    from glassbridge.lab.network_words import described

    cell = described(text)
    if break_ or livekit not in ("auto", "real", "embedded"):
        raise UserError(Complaint.NETWORK_NOT_HERE.text(), 2)
    impaired.require_available()
    if impaired.INSIDE not in os.environ:
        raise typer.Exit(impaired.in_own_network([sys.executable, "-m", "glassbridge", *sys.argv[1:]]))
    del os.environ[impaired.INSIDE]
    return cell


def dev(
    livekit: LiveKitOption = "auto",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the cloud; 0 takes a free one.")] = 8002,
    livekit_port: Annotated[int, typer.Option(min=0, max=65535, help="Port of LiveKit; 0 takes a free one.")] = 7880,
    workers: Annotated[int, typer.Option(min=1, max=16, help="Workers of the bridge.")] = 1,
    user: Annotated[str, typer.Option(help="Whose core token is printed.")] = "me",
    break_: BreakOption = False,
    participant: ParticipantOption = ParticipantName.OWN,
    log_level: LogLevel = "info",
    log_format: LogFormat = "auto",
) -> None:
    """Run LiveKit, bridge and cloud for a client of your own; Ctrl-C stops all."""
    start_logging("dev", log_level, log_format)
    fmt = "console" if log_format == "auto" and sys.stderr.isatty() and not break_ else log_format
    config = stack_config(
        _breakable(livekit) if break_ else livekit,
        participant,
        log_level=log_level,
        log_format=fmt,
        cloud_port=port,
        livekit_port=livekit_port,
        workers=workers,
        breakable=break_,
    )
    serve = _dev_and_break if break_ else _dev
    raise typer.Exit(until_signal(serve(config, parse_user(user)), stopped=0))


def _breakable(livekit: str) -> str:
    """Only a real server of ours has ways that can be broken."""
    if livekit not in ("auto", "real"):
        raise UserError(Complaint.BREAK_NEEDS_LIVEKIT.text(), 2)
    return "real"


def stack_config(livekit: str, participant: ParticipantName, **options: Any) -> "StackConfig":
    from glassbridge.lab.stack import StackConfig

    settings = load_settings()
    return StackConfig(
        livekit=livekit,
        keys=livekit_keys(),
        jwt_secret=settings.jwt_secret.get_secret_value(),
        livekit_bin=settings.livekit_server_bin,
        participant=participant.value,
        **options,
    )


def until_signal(work: Coroutine[Any, Any, int], *, stopped: int) -> int:
    """Runs it; the first SIGINT, SIGTERM or SIGHUP cancels it and everything that it started: status `stopped`."""
    from glassbridge.runtime.signals import stop_on_signals

    async def run() -> int:
        with stop_on_signals(hangup=True) as stop:
            task = asyncio.create_task(work)
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait((task, stopping), return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            task.cancel()
            await asyncio.wait((task,))
            return stopped if task.cancelled() else task.result()

    return asyncio.run(run())


def _without_public_secrets(config: "StackConfig") -> "StackConfig":
    """A demo talks to nobody but itself: where the settings hold only the development values that everybody knows, it
    gets secrets of its own. A LiveKit server that runs elsewhere keeps the keys that it knows."""
    from glassbridge.livekit.tokens import LiveKitKeys
    from glassbridge.settings import PUBLIC_SECRETS

    if config.jwt_secret in PUBLIC_SECRETS:
        config = replace(config, jwt_secret=token_urlsafe(32))
    if config.keys.secret in PUBLIC_SECRETS and "://" not in config.livekit:
        config = replace(config, keys=LiveKitKeys("demo", token_urlsafe(32)))
    return config


async def _demo(config: "StackConfig", break_: bool, network: "Cell | None") -> int:
    from glassbridge.lab.break_demo import BreakDemo
    from glassbridge.lab.demo import Demo
    from glassbridge.lab.demo_view import view

    config = _without_public_secrets(config)
    with view() as shown:
        verdict = await (BreakDemo(config, shown) if break_ else Demo(config, shown, network)).run()
    print(verdict.line)
    return 0 if verdict.passed else 1


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


async def _dev(config: "StackConfig", user: "UserId") -> NoReturn:
    from glassbridge.lab.dev_control import DevControl
    from glassbridge.lab.stack import Stack

    async with DevControl(admin_token()) as control:
        config = replace(config, env=control.environment)
        async with Stack(config, lambda line: say(f"{line.program:7} | {line.text}"), say) as stack:
            with findable(stack, config, control):
                greet(stack, user, control)
                await first_to_end(stack)


async def _dev_and_break(config: "StackConfig", user: "UserId") -> int:
    from glassbridge.lab.break_it import BreakIt
    from glassbridge.lab.dev_control import DevControl
    from glassbridge.lab.scene import described
    from glassbridge.lab.stack import Stack

    async with BreakIt(say) as breaking, DevControl(admin_token(), breaking) as control:

        def show(line: "Line") -> None:
            say(f"{line.program:7} | {described(line.fields) or line.text}")
            breaking.on_line(line)

        async with Stack(replace(config, taps=breaking.taps, env=control.environment), show, say) as stack:
            with findable(stack, config, control):
                greet(stack, user, control)
                await breaking.run(stack)
    return 1 if breaking.failed else 0


def admin_token() -> str:
    """The one that is set, or one for this run."""
    return load_settings().admin_token.get_secret_value() or token_urlsafe(24)


@contextmanager
def findable(stack: "Stack", config: "StackConfig", control: "DevControl") -> Iterator[None]:
    """Meanwhile `top`, `inspect` and `doctor` of this user find it."""
    from glassbridge.cli.running_dev import announced

    environment = stack.environment | {
        "LIVEKIT_GRPC_SOCKET": ",".join(map(str, stack.backends[0].sockets)),
        "GLASSBRIDGE_ADMIN_TOKEN": control.admin_token,
    }
    with announced(stack.cloud_url, environment) as trouble:
        if trouble:
            say(f"top, inspect and doctor will not find this by themselves ({trouble}): give them --cloud and a token")
        yield


def greet(stack: "Stack", user: "UserId", control: "DevControl") -> None:
    cloud, core_token = stack.backends[0].phone_url, stack.core_token(user)
    control.phone_page = f"{cloud}/console/phone#token={core_token}"
    print(
        f"""glassbridge is ready; Ctrl-C stops it.
  cloud    {cloud}  (phones connect to /glasses-ws, `livekit: true` asks for a room)
  LiveKit  {stack.livekit_url}  ({stack.livekit_kind})
  bridge   unix:{stack.bridge_socket}
See it, in a browser or here:
  {stack.cloud_url}/console#token={control.admin_token}
  glassbridge top    glassbridge inspect {user}    glassbridge doctor
Speak to it, in a browser or from a file:
  {control.phone_page}
  glassbridge phone --cloud {cloud} --token "$(glassbridge token --user {user} | tail -n 1)" --wav FILE
A core token for {user}, for 24 hours:
{core_token}""",
        flush=True,
    )


async def first_to_end(stack: "Stack") -> NoReturn:
    """None should end by itself."""
    programs = {asyncio.create_task(program.wait()): program for program in (stack.bridge, stack.cloud)}
    try:
        done, _ = await asyncio.wait(programs, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in programs:
            task.cancel()
    program = programs[done.pop()]
    raise UserError(
        Complaint.PROGRAM_ENDED.text(program=program.name, status=program.returncode, last_words=program.last_words)
    )
