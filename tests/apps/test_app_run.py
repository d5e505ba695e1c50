"""`glassbridge app run`: a file becomes an app under a whole system, and a change of the file another one."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from glassbridge.livekit.server import free_port
from tests.support.patience import deadline
from tests.support.poll import eventually
from tests.support.process import Program

APP = """
from glassbridge.app import AppServer, Session
from words import WORD

server = AppServer("com.example.developed", port={port})


@server.on_session
async def begin(session: Session) -> None:
    await session.layouts.show_text(WORD)
"""


def is_token(line: str) -> bool:
    return len(line) > 100 and line.startswith("ey")


async def test_an_app_runs_is_changed_breaks_and_runs_again(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP.format(port=free_port()))
    words = tmp_path / "words.py"
    words.write_text("WORD = 'one'\n")
    options = ("--reload", "--livekit", "embedded", "--port", "0", "--livekit-port", "0")
    program = Program.glassbridge("app", "run", str(tmp_path / "app.py"), *options)
    async with program, aiohttp.ClientSession() as http:
        await eventually(lambda: any(map(is_token, program.out)) or f"not ready: {program.err[-5:]}", 40.0)
        cloud = next(line.split()[1] for line in program.out if line.startswith("  cloud"))
        headers = {"Authorization": f"Bearer {next(filter(is_token, program.out))}"}
        shown: list[str] = []

        async def read_until(word: str) -> None:
            async with http.ws_connect(f"{cloud}/glasses-ws", headers=headers) as phone:
                async for message in phone:
                    said: dict[str, Any] = json.loads(message.data)
                    if said["type"] == "display_event" and said["packageName"] == "com.example.developed":
                        shown.append(said["layout"]["text"])
                    if shown[-1:] == [word]:
                        return

        async def said(text: str) -> None:
            await eventually(lambda: any(text in line for line in program.err) or f"{text}: {program.err[-5:]}", 20.0)

        async with deadline(40):
            await read_until("one")
        words.write_text("WORD = 'tw\n")
        await said("it is started again when its source changes")
        words.write_text("WORD = 'three'\n")
        async with deadline(40):
            await read_until("three")


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("", "makes no AppServer at its top level"),
        ("import nothing_of_this_name", "ModuleNotFoundError"),
        ("from glassbridge.app import AppServer\nAppServer('')", "an app has a package name"),
    ],
)
def test_a_file_that_is_no_app_is_told_in_a_line(tmp_path: Path, source: str, why: str) -> None:
    (tmp_path / "app.py").write_text(source)
    command = [sys.executable, "-m", "glassbridge", "app", "run", str(tmp_path / "app.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert why in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_an_app_without_a_key_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("from glassbridge.app import AppServer\nAppServer('com.example.x', port=0).run()")
    env = {name: value for name, value in os.environ.items() if name != "APP_KEY"}
    done = subprocess.run(
        [sys.executable, str(tmp_path / "app.py")], capture_output=True, text=True, timeout=60, check=False, env=env
    )
    assert done.returncode == 1
    assert "APP_KEY" in done.stderr
    assert "Traceback" not in done.stderr
