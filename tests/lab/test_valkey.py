"""The Valkey server of the lab and of tests, on a port that another one has taken meanwhile."""

from pathlib import Path

import pytest

from glassbridge.lab.valkey import Valkey
from glassbridge.runtime.errors import UserError


async def test_a_server_whose_port_was_taken_gets_another_one(tmp_path: Path) -> None:
    async with Valkey(tmp_path) as other:
        server = Valkey(tmp_path)
        server.port = other.port
        async with server:
            assert server.port != other.port
            assert await server.command("SET", "of", "mine") == "+OK"
            assert await other.command("GET", "of") == "$-1"


async def test_a_server_that_has_to_have_a_port_says_that_it_is_taken(tmp_path: Path) -> None:
    async with Valkey(tmp_path) as other:
        with pytest.raises(UserError, match=f"port {other.port} is taken"):
            await Valkey(tmp_path, port=other.port).start()
