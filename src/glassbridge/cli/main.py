"""The `glassbridge` program: its commands and the one place where an error becomes a line and an exit status.

Commands import what they need when they run, so `glassbridge --help` stays quick.
"""

import os
import sys
from typing import Annotated, NoReturn

import typer

from glassbridge import __version__
from glassbridge.cli import (
    app_run,
    apps,
    bench,
    doctor,
    inspect,
    lab,
    livekit,
    logs,
    phone_check,
    programs,
    speech,
    together,
    token,
    top,
)
from glassbridge.cli.common import DEBUG_VARIABLE
from glassbridge.cli.common import program as program
from glassbridge.runtime.errors import UserError
from glassbridge.runtime.garbage import spare_the_start

INTERRUPTED = 130

program.command("demo")(together.demo)
program.command("dev")(together.dev)
program.command("cloud")(programs.cloud)
program.command("bridge")(programs.bridge)
program.command("phone")(programs.phone)
program.command("phone-check")(phone_check.phone_check)
program.command("inspect")(inspect.inspect)
program.command("token")(token.token)
program.command("doctor")(doctor.doctor)
program.command("top")(top.top)
program.command("soniox-double")(speech.soniox_double)
program.add_typer(app_run.app, name="app")
program.add_typer(apps.app, name="apps")
program.add_typer(livekit.app, name="livekit")
program.add_typer(bench.app, name="bench")
program.add_typer(lab.app, name="lab")
program.add_typer(logs.app, name="logs")


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"glassbridge {__version__}")
        raise typer.Exit


@program.callback()
def _options(
    _version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None: ...


def _spare_this_machine() -> None:
    """Programs on this machine are asked directly, whatever proxy the environment names for the rest."""
    spared = os.environ.get("no_proxy") or os.environ.get("NO_PROXY", "")
    if spared != "*":
        os.environ["no_proxy"] = ",".join(filter(None, (spared, "localhost", "127.0.0.1", "::1")))


def main() -> NoReturn:
    """Runs the command line; never returns, never shows a traceback unless asked to."""
    spare_the_start()
    _spare_this_machine()
    try:
        program()
    except UserError as error:
        _refuse(error)
    except BrokenPipeError:  # the reader of our output has gone; the rest of the buffer has nowhere to go
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        _end("interrupted", INTERRUPTED)
    except Exception as error:  # the boundary: an unexpected error
        if os.environ.get(DEBUG_VARIABLE):
            import traceback

            _end(f"unexpected error\n{traceback.format_exc()}", 1)
        what = f"{type(error).__name__}: {error}".split("\n")[0]
        _end(f"unexpected error: {what} ({DEBUG_VARIABLE}=1 shows where)", 1)
    sys.exit(0)


def _end(message: str, status: int) -> NoReturn:
    from glassbridge.cli.common import redactor

    print(f"glassbridge: {redactor()(message)}", file=sys.stderr)
    sys.exit(status)


def _refuse(error: UserError) -> NoReturn:
    """A line for each thing that the user has to put right."""
    _end("\nglassbridge: ".join(str(error).splitlines()), error.exit_code)
