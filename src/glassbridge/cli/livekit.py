"""`glassbridge livekit start`: a livekit-server on this machine."""

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glassbridge.cli.common import LogFormat, LogLevel, livekit_keys, load_settings, start_logging
from glassbridge.runtime.complaints import Complaint
from glassbridge.runtime.errors import UserError

if TYPE_CHECKING:
    from glassbridge.livekit.server import LiveKitServer
    from glassbridge.livekit.tokens import LiveKitKeys

app = typer.Typer(help="A LiveKit server on this machine.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _livekit() -> None: ...


@app.command()
def start(
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on, loopback only; 0 takes a free one.")
    ] = 7880,
    embedded: Annotated[bool, typer.Option("--embedded", help="The stand-in in Python, for development only.")] = False,
    log_level: LogLevel = "info",
    log_format: LogFormat = "auto",
) -> None:
    """Run a real livekit-server until Ctrl-C: found, or built once with Go (LIVEKIT_SERVER_BIN, PATH, cache)."""
    settings = load_settings()
    start_logging("livekit", log_level, log_format)
    keys = livekit_keys()
    try:
        keys.require_strong()
    except ValueError as error:
        raise UserError(str(error), 2) from None
    asyncio.run(_serve(port, keys, None if embedded else settings.livekit_server_bin, embedded))


async def _serve(port: int, keys: "LiveKitKeys", binary: Path | None, embedded: bool) -> None:
    from glassbridge.livekit.binary import provide_binary
    from glassbridge.livekit.embedded import EmbeddedLiveKit
    from glassbridge.livekit.server import LiveKitServer
    from glassbridge.runtime.signals import stop_on_signals

    server: EmbeddedLiveKit | LiveKitServer
    if embedded:
        server = EmbeddedLiveKit(keys, port=port)
    else:
        server = LiveKitServer(await provide_binary(binary, _say), keys, port=port)
    with stop_on_signals(hangup=True) as stop:
        async with server:
            print(f"LiveKit is ready at {server.url} (API key {keys.api_key}); Ctrl-C stops it", flush=True)
            if isinstance(server, LiveKitServer):
                await _watch(server, stop)
            else:
                await stop.wait()


async def _watch(server: "LiveKitServer", stop: asyncio.Event) -> None:
    """Returns when asked to stop. Raises UserError when the server ends by itself."""
    ended, stopping = asyncio.create_task(server.wait()), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((ended, stopping), return_when=asyncio.FIRST_COMPLETED)
    finally:
        ended.cancel()
        stopping.cancel()
    if not stop.is_set():
        raise UserError(Complaint.LIVEKIT_ENDED.text(status=ended.result()))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
