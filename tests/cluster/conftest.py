"""Each kind of directory, empty, for a test that must hold for all of them."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from glassbridge.cluster.address import read_address
from glassbridge.cluster.directory import Directory
from glassbridge.cluster.memory import MemoryDirectory
from glassbridge.cluster.valkey import ValkeyDirectory
from tests.support.grpc_runtime import grpc_is_here
from tests.support.valkey import Valkey

__all__ = ["grpc_is_here"]

Connect = Callable[[], Directory]
"""One more connection to the same directory: one for each node."""


@pytest.fixture
async def valkey(tmp_path: Path) -> AsyncIterator[Valkey]:
    async with Valkey(tmp_path) as server:
        yield server


@pytest.fixture(params=["memory", "valkey"])
async def connect(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Connect]:
    async with AsyncExitStack() as stack:
        if request.param == "memory":
            shared = MemoryDirectory()
            yield lambda: shared
            return
        server = await stack.enter_async_context(Valkey(tmp_path))

        def open_one() -> Directory:
            directory = ValkeyDirectory(read_address(server.url))
            stack.push_async_callback(directory.close)
            return directory

        yield open_one


@pytest.fixture
async def valkey_and_memory(valkey: Valkey) -> AsyncIterator[tuple[Directory, MemoryDirectory]]:
    """Two empty ones whose clocks stand still, so that they must give the same epochs: the epochs of the test are far
    beyond the time of the server."""
    directory = ValkeyDirectory(read_address(valkey.url))
    yield directory, MemoryDirectory(lambda: 0)
    await directory.close()
