"""The original's SDK (npm `@mentra/sdk`) as a real process under our clouds, in each version that docs/apps.md
names: version 2 on Node, version 3 on Bun, which npm has, too."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from glassbridge.core.values import user_id
from glassbridge.lab.original_sdk import VERSIONS, provide_sdk, steady_port
from glassbridge.runtime.errors import UserError
from tests.cloud.app_stage import KEY, PACKAGE, AppStage, app_stages
from tests.cloud.conftest import ANN, Phone
from tests.support.balancer import Balancer, answer_at
from tests.support.poll import eventually
from tests.support.process import Program

PEER = Path(__file__).with_name("mentra_peer.mjs")


@pytest.fixture(scope="session", params=VERSIONS)
def peer_command(request: pytest.FixtureRequest) -> list[str]:
    """What runs the peer. The SDK is installed once for this machine; the test says loudly what is missing."""
    try:
        return provide_sdk(request.param, PEER)
    except UserError as error:
        pytest.skip(str(error))


class Peer:
    """The app's process."""

    def __init__(self, program: Program) -> None:
        self._program = program

    def told(self, event: str) -> list[dict[str, Any]]:
        lines = [json.loads(line[1:]) for line in self._program.out if line.startswith("@")]
        return [line for line in lines if line["event"] == event]

    async def does(self, what: str, argument: Any = None) -> None:
        stdin = self._program.child.stdin
        assert stdin is not None
        stdin.write(json.dumps({"does": what, "argument": argument}).encode() + b"\n")
        await stdin.drain()

    async def heard(self, name: str, within: float = 3.0) -> dict[str, Any]:
        """The newest that it heard of this."""

        def found() -> list[dict[str, Any]]:
            return [one["data"] for one in self.told("heard") if one["name"] == name]

        await eventually(lambda: bool(found()) or f"{name}: {self.told('heard')} {self.told('denied')}", within)
        return found()[-1]

    async def done(self, name: str, within: float) -> dict[str, Any]:
        """How something that it does ended."""
        await eventually(lambda: any(one["name"] == name for one in self.told("done")) or f"{name} hangs", within)
        return [one for one in self.told("done") if one["name"] == name][-1]

    async def result(self, does: str, argument: Any = None, name: str = "", within: float = 3.0) -> Any:
        """What it gets when it does this now."""
        before = len(self.told("done"))
        await self.does(does, argument)
        await eventually(lambda: len(self.told("done")) > before or f"{name or does} hangs", within)
        return (await self.done(name or does, within)).get("result")

    async def calls(self, path: str, *args: Any, within: float = 3.0) -> dict[str, Any]:
        """How a call of a method of its session ended: `result` or `error`, and `ms`."""
        before = len(self.told("done"))
        await self.does("call", {"path": path, "args": args})

        def ended() -> list[dict[str, Any]]:
            return [one for one in self.told("done")[before:] if one["name"] == path]

        await eventually(lambda: bool(ended()) or f"{path} hangs", within)
        return ended()[-1]


class Scene:
    """Two clouds, the app, and a phone that is with one of them."""

    def __init__(self, peer: Peer, *clouds: AppStage) -> None:
        self.peer, self.clouds = peer, clouds
        self.phone: Phone | None = None

    async def move_to(self, number: int) -> None:
        if self.phone is not None:
            await self.phone.vanish()
        self.phone = await self.clouds[number].phone(query="?livekit=true")
        await self.phone.say(type="start_app", packageName=PACKAGE)

    async def listens(self) -> None:
        """The app listens to phone and glasses, and the cloud knows it."""
        await self.peer.does("hear")

        def in_force() -> bool | str:
            apps = self.clouds[0].cloud.sessions.apps_of(user_id(ANN))
            app = None if apps is None else apps.find(PACKAGE)
            streams = apps.subscriptions_of(app) if apps and app else []
            return "glasses_connection_state" in streams or str(streams)

        await eventually(in_force)

    async def is_heard(self, number: int, within: float = 8.0) -> None:
        """What is said reaches the app as a transcription."""
        before, built = len(self.peer.told("transcription")), self.clouds[number]

        async def heard() -> bool | str:
            assert self.phone is not None
            await self.phone.say(type="VAD", status=True)
            if ANN in built.bridge.rooms:
                built.bridge.send(ANN, bytes(6400))
            for stream in built.recogniser.streams:
                stream.say("hello", final=True)
            return len(self.peer.told("transcription")) > before or f"deaf: {self.peer.told('error')}"

        await eventually(heard, within, every=0.2)

    async def hears_all(self, number: int, texts: list[str], every: float = 0.2) -> None:
        """Each of these is said once, and reaches the app once."""
        assert self.phone is not None
        built = self.clouds[number]
        await self.phone.say(type="VAD", status=True)
        for text in texts:
            if ANN in built.bridge.rooms:
                built.bridge.send(ANN, bytes(6400))
            await asyncio.sleep(every)
            for stream in built.recogniser.streams:
                stream.say(text, final=True)

        def heard() -> bool | str:
            got = [one["text"] for one in self.peer.told("transcription") if one["text"] in texts]
            return got == texts or str(got)

        await eventually(heard)


@asynccontextmanager
async def a_scene(
    command: list[str],
    clouds: int = 1,
    balanced: bool = False,
    env: dict[str, str] | None = None,
    key: str = KEY,
    **options: Any,
) -> AsyncIterator[Scene]:
    """`options` are those of a stage, `env` is for the app; `balanced`: it finds the clouds behind a plain balancer."""
    async with AsyncExitStack() as stack, app_stages() as begin:
        port = steady_port()
        program = Program(*command, PACKAGE, key, str(port), env=env)
        peer = Peer(await stack.enter_async_context(program))
        await eventually(lambda: bool(peer.told("ready")) or f"not ready: {program.err}", 20.0)
        url = f"http://127.0.0.1:{port}"
        built = [await begin(url=url, **options) for _ in range(clouds)]
        if balanced:
            balancer = await stack.enter_async_context(Balancer(*(stage.cloud.port for stage in built)))
            for stage in built:
                answer_at(stage.cloud, balancer.url)
        try:
            yield Scene(peer, *built)
        finally:
            print(*program.out[-200:], *program.err[-20:], sep="\n")
            program.signal(signal.SIGKILL)  # Bun takes its time for any other
