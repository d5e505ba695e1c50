"""gRPC's poller has two sockets for the whole process: started before the first test that counts descriptors."""

import asyncio

import grpc
import pytest


async def _begin() -> None:
    grpc.aio.init_grpc_aio()


@pytest.fixture(scope="session", autouse=True)
def grpc_is_here() -> None:
    """Import it into a conftest.py to have it for the tests there. On a loop of its own: there may be none yet."""
    asyncio.run(_begin())
