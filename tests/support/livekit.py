"""LiveKit for tests: a real livekit-server and the embedded one, each on ports of its own, and tokens good and bad.

Fixtures (known to every test through tests/conftest.py):
    livekit            both kinds, one after the other (`real` skips where no server can be had)
    real_livekit       a real livekit-server
    embedded_livekit   the stand-in
Each gives a LiveKit: `url`, `keys`, `start()`, `stop()`, `kill()`; after stop or kill it starts again on its port.
"""

from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path
from time import time
from typing import Any, Protocol

import jwt
import pytest

from glassbridge.livekit.binary import find_binary
from glassbridge.livekit.server import LiveKitServer
from glassbridge.livekit.tokens import LiveKitKeys
from glassbridge.settings import settings

KEYS = LiveKitKeys("testkey", "a-secret-of-test-servers-only-0123456789")


class LiveKit(Protocol):
    """What tests need of a server, real or not."""

    @property
    def url(self) -> str: ...

    @property
    def port(self) -> int: ...

    async def start(self) -> None: ...

    async def stop(self) -> None:
        """Goes away as it should: clients are told SERVER_SHUTDOWN."""

    async def kill(self) -> None:
        """Goes away as in a crash: no word, no goodbye."""


@cache
def server_binary() -> Path | None:
    """The real server, None when there is none on this machine (`make test` tries to get one first)."""
    return find_binary(settings().livekit_server_bin)


def real_server(**options: Any) -> LiveKitServer:
    """A real server that is not started yet; skips the test where there is none."""
    binary = server_binary()
    if binary is None:
        pytest.skip("no livekit-server on this machine")
    return LiveKitServer(binary, KEYS, **options)


@pytest.fixture
async def real_livekit() -> AsyncIterator[LiveKit]:
    async with real_server() as server:
        yield server


@pytest.fixture
async def embedded_livekit() -> AsyncIterator[LiveKit]:
    from glassbridge.livekit.embedded import EmbeddedLiveKit

    async with EmbeddedLiveKit(KEYS) as server:
        yield server


@pytest.fixture(params=[pytest.param("real", marks=pytest.mark.real), "embedded"])
def livekit(request: pytest.FixtureRequest) -> LiveKit:
    server: LiveKit = request.getfixturevalue(f"{request.param}_livekit")
    return server


def token(identity: str, room: str = "room", ttl: float = 600.0, **claims: Any) -> str:
    """A token of the test servers. Further claims replace the usual ones (None leaves one out); `video` likewise."""
    now = int(time())
    video = {"roomJoin": True, "room": room, "canPublish": True, "canSubscribe": True, "canPublishData": True}
    video |= claims.pop("video", {})
    body = {"iss": KEYS.api_key, "sub": identity, "nbf": now, "exp": now + int(ttl), "video": video} | claims
    return jwt.encode({k: v for k, v in body.items() if v is not None}, KEYS.secret, algorithm="HS256")


def expired_token(identity: str, room: str = "room") -> str:
    """Ended two minutes ago: beyond LiveKit's leeway of one."""
    return token(identity, room, ttl=-120, nbf=int(time()) - 600)


def future_token(identity: str, room: str = "room") -> str:
    """Begins in ten minutes."""
    return token(identity, room, ttl=1200, nbf=int(time()) + 600)


def forged_token(identity: str, room: str = "room") -> str:
    """Signed with another secret."""
    body = jwt.decode(token(identity, room), options={"verify_signature": False})
    return jwt.encode(body, KEYS.secret[::-1], algorithm="HS256")
