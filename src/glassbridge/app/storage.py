"""Texts that the cloud keeps for this app and this user, beyond sessions and restarts."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

import aiohttp

from glassbridge.app.errors import StorageFailed
from glassbridge.runtime.world import World

PATH = "/api/sdk/simple-storage"
TIMEOUT = 10.0


class Storage:
    """100,000 characters a text, 1 MiB in all. Each method raises StorageFailed, whose text says why."""

    def __init__(self, cloud: Callable[[], str], package: str, api_key: str, user_id: str, world: World) -> None:
        self._cloud = cloud
        self._world = world
        self._headers = {"Authorization": f"Bearer {package}:{api_key}"}
        self._path = f"{PATH}/{quote(user_id, safe='')}"

    async def all(self) -> dict[str, str]:
        """Everything that is kept."""
        found: dict[str, str] = await self._ask("GET")
        return found

    async def get(self, key: str, default: str | None = None) -> str | None:
        """One text."""
        return (await self.all()).get(key, default)

    async def set(self, key: str, value: str) -> None:
        """Keeps a text."""
        await self.update({key: value})

    async def update(self, values: Mapping[str, str]) -> None:
        """Keeps several, or none of them when it fails."""
        await self._ask("PUT", body={"data": dict(values)})

    async def delete(self, key: str) -> bool:
        """Whether it was there."""
        return bool((await self._ask("DELETE", key))["deleted"])

    async def clear(self) -> None:
        """Forgets everything."""
        await self._ask("DELETE")

    async def _ask(self, method: str, key: str | None = None, body: Any = None) -> Any:
        url = f"{self._cloud()}{self._path}" + (f"/{quote(key, safe='')}" if key is not None else "")
        try:
            async with (
                asyncio.timeout(TIMEOUT),
                self._world.http(trust_env=True) as http,
                http.request(method, url, headers=self._headers, json=body) as answer,
            ):
                told = await answer.json()
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise StorageFailed(f"the cloud cannot be asked: {type(error).__name__}") from None
        if answer.status != 200:
            raise StorageFailed(str(told.get("error", {}).get("message", answer.status)))
        return told["data"]
