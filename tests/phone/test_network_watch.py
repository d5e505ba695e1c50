"""A phone notices by itself that its address is another one."""

import asyncio

import pytest

from glassbridge.phone import network_watch
from glassbridge.phone.network_watch import address_towards, watch
from tests.support.poll import eventually


async def test_another_address_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_watch, "EVERY", 0.005)
    looks: list[str] = []
    asked = 0
    cloud: str | None = None
    ours: str | None = "10.0.0.5"
    changes: list[str | None] = []

    def look(host: str) -> str | None:
        looks.append(host)
        return ours

    def open_to() -> str | None:
        nonlocal asked
        asked += 1
        return cloud

    monkeypatch.setattr(network_watch, "address_towards", look)
    watching = asyncio.ensure_future(watch(open_to, lambda: changes.append(ours)))

    async def look_again() -> None:
        seen = asked
        await eventually(lambda: asked > seen + 3)

    try:
        await look_again()
        assert not looks  # there is no socket yet, and nothing to compare with
        cloud = "192.0.2.1"
        await look_again()
        ours = None  # no network at all says nothing of the next
        await look_again()
        ours = "10.0.0.5"
        await look_again()
        assert changes == []
        ours, cloud = "100.64.0.9", None
        await look_again()
        assert changes == ["100.64.0.9"]
        cloud, ours = "198.51.100.1", "10.8.0.1"  # another cloud may be reached by another way
        await look_again()
        assert changes == ["100.64.0.9"]
        ours = "10.0.0.5"
        await look_again()
        assert changes == ["100.64.0.9", "10.0.0.5"]
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


def test_the_kernel_knows_the_address_towards_a_host() -> None:
    assert address_towards("127.0.0.1") == "127.0.0.1"
    assert address_towards("no.address.example.invalid") is None
