"""`glassbridge logs`: whether a log sink takes our lines, and what a user is called in them."""

from typing import Annotated

import typer

from glassbridge.cli.common import load_settings, log_sinks, parse_user
from glassbridge.runtime.complaints import Complaint
from glassbridge.runtime.errors import UserError

app = typer.Typer(help="Ask about logs and their sinks.", no_args_is_help=True, rich_markup_mode=None)


@app.command()
def test() -> None:
    """Send one line, a batch and a complex line to each sink of the settings. Exit status 0 if all arrived."""
    from glassbridge.telemetry.sink_probe import probe

    sinks = log_sinks()
    if not sinks:
        raise UserError(
            Complaint.SINK_UNSET.text(),
            2,
        )
    failed = False
    for sink in sinks:
        print(f"{sink.kind} at {sink.place}")
        for probed in probe(sink):
            failed |= not probed.arrived
            status = "no answer" if probed.answer.status is None else str(probed.answer.status)
            print(f"  {probed.what}: {status}, {'arrived' if probed.arrived else f'NOT arrived: {probed.advice}'}")
    raise typer.Exit(1 if failed else 0)


@app.command()
def user(name: Annotated[str, typer.Argument(metavar="USER", help="A user id.")]) -> None:
    """Print what the user is called in the log: a hash, where GLASSBRIDGE_LOG_USER_KEY is set."""
    from glassbridge.telemetry.logs import hash_user

    key = load_settings().log_user_key.get_secret_value()
    spelled = parse_user(name)
    print(hash_user(spelled, key) if key else spelled)
