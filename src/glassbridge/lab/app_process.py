"""The lab's side of an app that runs as a program of its own, on the SDK of another version (lab/app_program.py)."""

import asyncio
import base64
import json
import os
from collections import defaultdict
from pathlib import Path
from typing import Any, Final, Self

from glassbridge.cloud.apps.registry import TomlRegistry, new_app
from glassbridge.core.values import UserId
from glassbridge.lab.judge import Block
from glassbridge.lab.listening_app import PACKAGE
from glassbridge.lab.needs import LabError
from glassbridge.lab.stamps import stamps_in
from glassbridge.livekit.server import free_port
from glassbridge.runtime.child import Child, lines
from glassbridge.runtime.tasks import TaskGroup

SCRIPT: Final = Path(__file__).with_name("app_program.py")
READY_WITHIN: Final = 20.0


class AppProcess:
    """`async with`, as lab/listening_app.py; hears the same."""

    def __init__(self, registry: Path, python: Path) -> None:
        self.registry = registry
        self.blocks: defaultdict[UserId, list[Block]] = defaultdict(list)
        """What it heard, by user; `backend` is the id of the app's session."""
        self.stopped: list[str] = []
        """Ids of its sessions that ended."""
        self._python = python
        self._rest: defaultdict[str, bytes] = defaultdict(bytes)
        self._ready = asyncio.Event()
        self._tasks = TaskGroup("app-process")

    async def __aenter__(self) -> Self:
        """Raises LabError."""
        port = free_port()
        record, key = new_app(PACKAGE, f"http://127.0.0.1:{port}", "Lab", ["MICROPHONE"])
        TomlRegistry(self.registry).add(record)
        pipe = asyncio.subprocess.PIPE
        argv = [str(self._python), str(SCRIPT), PACKAGE, str(port)]
        self._child = await Child.start(argv, env=os.environ | {"APP_KEY": key}, stdout=pipe)
        self._tasks.spawn(self._read(), "read")
        try:
            async with asyncio.timeout(READY_WITHIN):
                await self._ready.wait()
        except TimeoutError:
            await self.__aexit__()
            raise LabError(f"the app of another version does not start within {READY_WITHIN:g} s") from None
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._child.stop(1.0)
        await self._tasks.close()

    async def _read(self) -> None:
        assert self._child.stdout is not None
        async for line in lines(self._child.stdout):
            if line.startswith("{"):
                self._hear(json.loads(line))

    def _hear(self, said: Any) -> None:
        match said["event"]:
            case "ready":
                self._ready.set()
            case "stopped":
                self.stopped.append(said["session"])
            case "heard":
                session = said["session"]
                pcm = base64.b64decode(said["pcm"])
                stamps, strange, self._rest[session] = stamps_in(self._rest[session] + pcm)
                block = Block(session, "", True, said["at_ns"], tuple(stamps), strange)
                self.blocks[UserId(said["user"])].append(block)
