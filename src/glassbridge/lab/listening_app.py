"""An app of the lab's users that takes their audio: the last subscriber of the path, outside of every backend."""

from collections import defaultdict
from contextlib import AsyncExitStack
from pathlib import Path
from time import monotonic_ns
from typing import Self

from glassbridge.app import AppServer, Session
from glassbridge.cloud.apps.registry import TomlRegistry, new_app
from glassbridge.core.values import UserId
from glassbridge.lab.judge import Block
from glassbridge.lab.stamps import stamps_in
from glassbridge.livekit.server import free_port

PACKAGE = "org.example.lab"


class ListeningApp:
    """Use as `async with`. Clouds that are given `registry` know it; phones that start PACKAGE have it."""

    def __init__(self, registry: Path, unsigned_from: tuple[str, ...] = ()) -> None:
        self.registry = registry
        self._unsigned_from = unsigned_from
        self.sessions: defaultdict[UserId, list[Session]] = defaultdict(list)
        """All that ever began, by user."""
        self.ended: list[Session] = []
        self.blocks: defaultdict[UserId, list[Block]] = defaultdict(list)
        """What it heard; `backend` is the id of the app's session."""
        self._cleanup = AsyncExitStack()

    async def __aenter__(self) -> Self:
        port = free_port()
        record, key = new_app(PACKAGE, f"http://127.0.0.1:{port}", "Lab", ["MICROPHONE"])
        TomlRegistry(self.registry).add(record)
        server = AppServer(PACKAGE, key, port=port, unsigned_from=self._unsigned_from)
        server.on_session(self._begin)
        server.on_stop(self._stop)
        await self._cleanup.enter_async_context(server)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._cleanup.aclose()

    def _begin(self, session: Session) -> None:
        user = UserId(session.user_id)
        self.sessions[user].append(session)
        rest = b""

        @session.on_audio
        def heard(pcm: bytes) -> None:
            nonlocal rest
            stamps, strange, rest = stamps_in(rest + pcm)
            self.blocks[user].append(Block(session.session_id, "", True, monotonic_ns(), tuple(stamps), strange))

    def _stop(self, session: Session, why: str) -> None:
        self.ended.append(session)
