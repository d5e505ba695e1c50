"""`glassbridge inspect`: one session's flight recorder in the terminal, or as a file for a bug report."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote, urlencode

import typer

from glassbridge.cli.admin_client import AdminClient, CloudOption, connect
from glassbridge.cli.common import parse_user, redactor
from glassbridge.runtime.complaints import Complaint
from glassbridge.runtime.errors import UserError

if TYPE_CHECKING:
    from glassbridge.wire.recorder_file import RecorderFile

FILE_SUFFIX = ".json"
"""An argument with this ending names a file, not a user."""


def inspect(
    user: Annotated[str, typer.Argument(metavar="USER|FILE", help="Whose session; or a recorder's file (.json).")],
    cloud: CloudOption = "",
    session: Annotated[str, typer.Option(help="This session of the user's; default: the newest one.")] = "",
    seconds: Annotated[int, typer.Option(min=1, max=900, help="Only the last so many seconds.")] = 900,
    all_: Annotated[bool, typer.Option("--all", help="Every event, voice and microphone too.")] = False,
    captions: Annotated[bool, typer.Option("--captions", help="With what was understood.")] = False,
    bridge: Annotated[
        str, typer.Option(help="Base URL of a bridge's metrics port: what its supervisor knows is shown too.")
    ] = "",
    export: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="Write it all to this file instead: no audio, no tokens, no transcripts."),
    ] = None,
) -> None:
    """Show which hop was dead, when, why, and what healed it.

    Needs GLASSBRIDGE_ADMIN_TOKEN, but not beside `glassbridge dev`, nor for a file: that of --export, or one that the
    console gave.
    """
    if user.endswith(FILE_SUFFIX):
        kept = _open(Path(user))
        _show(kept.timeline, kept.bridge_rooms, all_)
        return
    name = parse_user(user)
    client = connect(cloud)
    timeline = _timeline(client, name, session, seconds, captions)
    rooms = client.rooms_at(bridge, name) if bridge else []
    if export is not None:
        _export(export, timeline, rooms)
        print(f"wrote {export} ({export.stat().st_size // 1024 + 1} kB): no audio, no tokens", end="")
        print("" if captions else ", no transcripts")
        return
    _show(timeline, rooms, all_)


def _timeline(client: AdminClient, user: str, session: str, seconds: int, captions: bool) -> dict[str, Any]:
    found = client.get(f"sessions?{urlencode({'user': user})}")["sessions"]
    wanted = [row for row in found if session in ("", row["id"])]
    if not wanted:
        which = f"no session {session} of {user}" if session else f"no session of {user}"
        raise UserError(Complaint.SESSION_UNKNOWN.text(which=which))
    query = urlencode({"seconds": seconds, "captions": str(captions).lower()})
    timeline: dict[str, Any] = client.get(f"sessions/{quote(wanted[0]['id'], safe='')}/timeline?{query}")
    return timeline


def _open(path: Path) -> "RecorderFile":
    from glassbridge.core.flight import COLUMNS
    from glassbridge.wire.recorder_file import MAX_BYTES, BadRecorderFile, decode

    try:
        with path.open("rb") as file:
            return decode(file.read(MAX_BYTES + 1), frozenset(COLUMNS))
    except OSError as error:
        raise UserError(Complaint.RECORDER_UNREADABLE.text(path=path, why=error.strerror)) from None
    except BadRecorderFile as error:
        raise UserError(Complaint.RECORDER_WRONG.text(path=path, why=error)) from None


def _export(path: Path, timeline: dict[str, Any], rooms: list[Any]) -> None:
    from glassbridge import __version__
    from glassbridge.wire.recorder_file import FORMAT, RecorderFile, encode

    text = redactor()(encode(RecorderFile(FORMAT, __version__, timeline, rooms)).decode())
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise UserError(Complaint.FILE_UNWRITABLE.text(path=path, why=error.strerror)) from None


def _show(timeline: dict[str, Any], rooms: list[Any], every_event: bool) -> None:
    from rich.console import Console

    from glassbridge.cli import lanes

    console = Console(highlight=False)
    lanes.show(timeline, console, every_event=every_event)
    for caption in timeline["captions"] or ():
        said = f"[{caption['seconds']:.0f} s are missing]" if "gap" in caption else caption["text"]
        console.print(f"{lanes.clock(caption['at_ms'])}  » {said}", markup=False)
    for room in rooms:
        lanes.show_room(room, console)
