"""`glassbridge top`: the sessions of a running cloud, the ones in trouble first, anew each second."""

import time
from contextlib import suppress
from typing import Annotated, Any, Final

import typer

from glassbridge.cli.admin_client import AdminClient, CloudOption, connect
from glassbridge.runtime.errors import UserError

EVERY: Final = 1.0


def top(
    cloud: CloudOption = "",
    ended: Annotated[bool, typer.Option("--ended", help="Show ended sessions, too.")] = False,
    once: Annotated[bool, typer.Option("--once", help="Print it once and end.")] = False,
) -> None:
    """Watch the sessions of a running cloud; Ctrl-C ends it.

    Needs GLASSBRIDGE_ADMIN_TOKEN, but not beside `glassbridge dev`.
    """
    from rich.console import Console

    from glassbridge.cli.top_view import view

    client = connect(cloud)
    console = Console(highlight=False)
    if once:
        console.print(view(*_ask(client, ended), client.base, console.width, None))
        return
    from rich.live import Live

    (sessions, health), trouble = _ask(client, ended), ""  # what is wrong at the start ends it, with advice
    with suppress(KeyboardInterrupt), Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            shown = view(sessions, health, client.base, console.width, console.height, trouble)
            live.update(shown, refresh=True)
            time.sleep(EVERY)
            try:
                (sessions, health), trouble = _ask(client, ended), ""
            except UserError as error:
                trouble = str(error)


def _ask(client: AdminClient, ended: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the cloud knows of its sessions, and of itself. Raises UserError."""
    sessions: dict[str, Any] = client.get(f"sessions?ended={str(ended).lower()}")
    health = client.health()
    return sessions, health
