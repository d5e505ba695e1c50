"""`glassbridge app run`: one app under a whole system on this machine, restarted when its source changes."""

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple, NoReturn

import typer

from glassbridge.cli.common import LogLevel, parse_user, start_logging
from glassbridge.cli.programs import ParticipantName
from glassbridge.cli.together import (
    LiveKitOption,
    admin_token,
    findable,
    first_to_end,
    greet,
    say,
    stack_config,
    until_signal,
)
from glassbridge.runtime.child import Child
from glassbridge.runtime.complaints import Complaint
from glassbridge.runtime.errors import UserError
from glassbridge.runtime.tasks import cancelled

if TYPE_CHECKING:
    import aiohttp

    from glassbridge.core.values import UserId
    from glassbridge.lab.program import Line, Program
    from glassbridge.lab.stack import StackConfig

app = typer.Typer(help="Develop an app.", no_args_is_help=True, rich_markup_mode=None)

LOOK_EVERY: Final = 0.3
STOP_WITHIN: Final = 5.0
ASK_EVERY: Final = 0.5
REST_WITHIN: Final = 30.0
RUNNING: Final = "running"
MODULE: Final = "glassbridge.app"
LOAD_WITHIN: Final = 20.0
MAX_SOURCES: Final = 2_000
"""Files that are looked at."""
NOT_SOURCES: Final = frozenset({".git", ".venv", "venv", "node_modules", "__pycache__", "site-packages"})


@app.callback()
def _group() -> None: ...


@app.command()
def run(
    file: Annotated[Path, typer.Argument(dir_okay=False, help="Python file that makes one AppServer.")],
    reload: Annotated[
        bool, typer.Option("--reload", help="Restart the app when a .py file beside it changes.")
    ] = False,
    user: Annotated[str, typer.Option(help="Who uses the app.")] = "me",
    settings: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="What users can choose (see `glassbridge apps add`)."),
    ] = None,
    livekit: LiveKitOption = "auto",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the cloud; 0 takes a free one.")] = 8002,
    livekit_port: Annotated[int, typer.Option(min=0, max=65535, help="Port of LiveKit; 0 takes a free one.")] = 7880,
    log_level: LogLevel = "warning",
) -> None:
    """Run an app, and all that it needs: LiveKit, bridge, cloud. It gets all permissions, and starts for the user
    as soon as a phone connects. Ctrl-C stops all."""
    if not file.is_file():
        raise UserError(Complaint.APP_FILE_MISSING.text(file=file), 2)
    start_logging("app", "warning", "auto")
    config = stack_config(livekit, ParticipantName.OWN, log_level=log_level, cloud_port=port, livekit_port=livekit_port)
    raise typer.Exit(until_signal(_run(config, parse_user(user), file, settings, reload), stopped=0))


async def _run(config: "StackConfig", user: "UserId", file: Path, settings: Path | None, reload: bool) -> NoReturn:
    import aiohttp

    from glassbridge.cloud.apps.registry import new_app, open_registry, read_settings
    from glassbridge.lab.dev_control import DevControl
    from glassbridge.lab.program import Program
    from glassbridge.lab.stack import Stack

    package, url = await _describe(file)
    async with AsyncExitStack() as cleanup:
        registry = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="glassbridge-app-")), "apps.toml")
        record, key = new_app(package, url, "", ["all"], read_settings(settings) if settings else ())
        open_registry(registry).add(record)
        control = await cleanup.enter_async_context(DevControl(admin_token()))
        config = replace(config, apps=registry, env=control.environment)
        stack = await cleanup.enter_async_context(Stack(config, _show, say))
        program = Program("app", (str(file),), {"APP_KEY": key, "PYTHONUNBUFFERED": "1"}, _show, MODULE)
        cleanup.push_async_callback(program.stop, STOP_WITHIN)
        cleanup.enter_context(findable(stack, config, control))
        greet(stack, user, control)
        await program.start()
        rest = await cleanup.enter_async_context(
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=REST_WITHIN))
        )
        tasks = [
            asyncio.create_task(_keep_started(_Asked(rest, stack.cloud_url, stack.core_token(user), package))),
            asyncio.create_task(_keep_running(program, file, reload)),
            asyncio.create_task(first_to_end(stack)),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await cancelled(*tasks)
    raise AssertionError("none of these tasks ends without an error")


def _show(line: "Line") -> None:
    say(f"{line.program:7} | {line.text}")


async def _describe(file: Path) -> tuple[str, str]:
    """(package, URL) of the app that the file makes. Raises UserError."""
    child = await Child.start(
        [sys.executable, "-m", MODULE, str(file), "--describe"],
        env=dict(os.environ), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stderr is not None
    try:
        async with asyncio.timeout(LOAD_WITHIN):
            out, err = await asyncio.gather(child.stdout.read(), child.stderr.read())
            status = await child.wait()
    except TimeoutError:
        raise UserError(Complaint.APP_LOADS_SLOWLY.text(file=file, seconds=LOAD_WITHIN)) from None
    finally:
        await child.stop(grace=0.1)
    if status != 0:
        said = err.decode(errors="replace").strip().splitlines()
        raise UserError(Complaint.APP_NOT_LOADED.text(file=file, why=said[-1] if said else "it says nothing"))
    found = json.loads(out.decode().splitlines()[-1])
    return found["package"], f"http://{found['host']}:{found['port']}"


async def _keep_running(program: "Program", file: Path, reload: bool) -> NoReturn:
    """Restarts the app when a source changes. Without `reload` its end is the end. Raises UserError."""
    before = _sources(file)
    ended = False
    while True:
        await asyncio.sleep(LOOK_EVERY)
        if not program.running and not ended:
            ended = True
            if not reload:
                raise UserError(Complaint.APP_ENDED.text(status=program.returncode, last_words=program.last_words))
            say("app     | has ended: it is started again when its source changes")
        now = _sources(file)
        if not reload or now == before:
            continue
        changed = [path.name for path in now.keys() | before.keys() if now.get(path) != before.get(path)]
        say(f"app     | {', '.join(sorted(changed)[:5])} changed: restarting")
        before, ended = now, False
        await program.stop(STOP_WITHIN)
        await program.start()


def _sources(file: Path) -> dict[Path, int]:
    """When each source of the app was last changed."""
    found: dict[Path, int] = {}
    for path in _python_files(file.resolve().parent):
        try:
            found[path] = path.stat().st_mtime_ns
        except FileNotFoundError:
            continue
        if len(found) >= MAX_SOURCES:
            break
    return found


def _python_files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_dir() and path.name not in NOT_SOURCES and not path.is_symlink():
            yield from _python_files(path)
        elif path.suffix == ".py":
            yield path


async def _keep_started(asked: "_Asked") -> NoReturn:
    """The app runs whenever the user's phone is here, and soon after it was restarted."""
    told = ""
    while True:
        state = await asked.start()
        if state not in ("", told):
            say(f"app     | {asked.package}: {state}")
        told = state or told
        await asyncio.sleep(ASK_EVERY)


class _Asked(NamedTuple):
    """How the cloud is asked for the app."""

    http: "aiohttp.ClientSession"
    cloud: str
    token: str
    package: str

    async def start(self) -> str:
        """How the app is, where a phone is here; else empty."""
        apps = await self._ask("GET", "/api/client/apps")
        mine = [one for one in apps.get("data", []) if one.get("packageName") == self.package]
        if mine and mine[0]["running"]:
            return RUNNING
        answer = await self._ask("POST", f"/apps/{self.package}/start")
        if answer.get("success"):
            return RUNNING
        error = answer.get("error", {})
        return "" if error.get("code") in (None, "SESSION_NOT_FOUND") else f"not started: {error.get('message')}"

    async def _ask(self, method: str, path: str) -> dict[str, Any]:
        import aiohttp

        headers = {"Authorization": f"Bearer {self.token}"}
        try:
            async with self.http.request(method, f"{self.cloud}{path}", headers=headers) as answer:
                found: dict[str, Any] = await answer.json()
                return found
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return {}
