"""What the clouds of a cluster keep together beside claims: texts of users, and a table of records. In the directory's
server, whose persistence decides whether it outlives that server."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

from glassbridge.cluster.address import ServerAddress
from glassbridge.cluster.scripts import PREFIX
from glassbridge.cluster.valkey import CLOSE_TIME, UNUSABLE, in_time, open_client

_TOTAL: Final = f"{PREFIX}kept-bytes"
_RECORDS: Final = f"{PREFIX}apps"
_VERSION: Final = f"{PREFIX}apps-version"

_SIZE: Final = """
local function size(key, value) return #key + #value end
"""
_WRITE: Final = (
    _SIZE
    + """
-- KEYS: the texts, bytes of all.  ARGV: most bytes of these, most bytes of all, then keys and values
local kept, all = {}, 0
local flat = redis.call('HGETALL', KEYS[1])
for at = 1, #flat, 2 do
  kept[flat[at]] = flat[at + 1]
  all = all + size(flat[at], flat[at + 1])
end
local before = all
for at = 3, #ARGV, 2 do
  if kept[ARGV[at]] then
    all = all - size(ARGV[at], kept[ARGV[at]])
  end
  kept[ARGV[at]] = ARGV[at + 1]
  all = all + size(ARGV[at], ARGV[at + 1])
end
if all > tonumber(ARGV[1]) then
  return {'full'}
end
local total = tonumber(redis.call('GET', KEYS[2]) or '0') + all - before
if total > tonumber(ARGV[2]) and all > before then
  return {'all full'}
end
for at = 3, #ARGV, 2 do
  redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1])
end
redis.call('SET', KEYS[2], string.format('%.0f', math.max(0, total)))
return {'kept', redis.call('HGETALL', KEYS[1])}
"""
)
_DELETE: Final = (
    _SIZE
    + """
-- KEYS: the texts, bytes of all.  ARGV: a key; none: all of them
local keys = ARGV
if #ARGV == 0 then
  keys = redis.call('HKEYS', KEYS[1])
end
local gone, bytes = 0, 0
for _, key in ipairs(keys) do
  local value = redis.call('HGET', KEYS[1], key)
  if value then
    gone, bytes = gone + 1, bytes + size(key, value)
    redis.call('HDEL', KEYS[1], key)
  end
end
local total = tonumber(redis.call('GET', KEYS[2]) or '0') - bytes
redis.call('SET', KEYS[2], string.format('%.0f', math.max(0, total)))
return gone
"""
)
_CHANGE: Final = """
-- KEYS: the records, their version.  ARGV: what ('add', 'change', 'remove'), name, record
local there = redis.call('HEXISTS', KEYS[1], ARGV[2]) == 1
if there ~= (ARGV[1] ~= 'add') then
  return 0
end
if ARGV[1] == 'remove' then
  redis.call('HDEL', KEYS[1], ARGV[2])
else
  redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
end
redis.call('INCR', KEYS[2])
return 1
"""
_RESTORE: Final = """
-- KEYS: the records, their version.  ARGV: version, then names and records
if redis.call('EXISTS', KEYS[2]) == 1 then
  return 0
end
for at = 2, #ARGV, 2 do
  redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1])
end
redis.call('SET', KEYS[2], ARGV[1])
return 1
"""


class TooMuch(Exception):
    """Nothing was changed. `of_all`: there is no room for anybody's texts."""

    def __init__(self, *, of_all: bool) -> None:
        super().__init__("too much")
        self.of_all = of_all


class Kept:
    """One connection of one program. Each call takes `timeout` seconds at most, and raises DirectoryAway."""

    def __init__(self, address: ServerAddress, ca: Path | None = None, timeout: float = 1.0) -> None:
        self._client, self._close = open_client(address, ca)
        self._timeout = timeout
        register: Callable[[str], Any] = self._client.register_script
        self._write, self._delete = register(_WRITE), register(_DELETE)
        self._change, self._restore = register(_CHANGE), register(_RESTORE)

    # ---- texts

    async def read(self, name: str) -> dict[str, str]:
        return dict(await self._ask(lambda: self._client.hgetall(PREFIX + name)))

    async def write(self, name: str, texts: Mapping[str, str], most: int, most_of_all: int) -> dict[str, str]:
        """Keeps these too; returns all. Raises TooMuch."""
        pairs = [part for item in texts.items() for part in item]
        told = await self._ask(lambda: self._write(keys=(PREFIX + name, _TOTAL), args=(most, most_of_all, *pairs)))
        if told[0] != "kept":
            raise TooMuch(of_all=told[0] != "full")
        flat: list[str] = told[1]
        return dict(zip(flat[::2], flat[1::2], strict=True))

    async def delete(self, name: str, key: str | None) -> int:
        """How many there were."""
        args = () if key is None else (key,)
        return int(await self._ask(lambda: self._delete(keys=(PREFIX + name, _TOTAL), args=args)))

    async def put(self, name: str, word: str) -> None:
        """Adds a word to a set."""
        await self._ask(lambda: self._client.sadd(PREFIX + name, word))

    async def has(self, name: str, word: str) -> bool:
        return bool(await self._ask(lambda: self._client.sismember(PREFIX + name, word)))

    # ---- records

    async def version(self) -> str | None:
        """Another one after each change of the records; None: the server has never had any, or has lost them."""
        told: str | None = await self._ask(lambda: self._client.get(_VERSION))
        return told

    async def records(self) -> dict[str, str]:
        return dict(await self._ask(lambda: self._client.hgetall(_RECORDS)))

    async def change(self, what: str, name: str, record: str = "") -> bool:
        """`what`: add, change or remove. False: it is there already, or is not there."""
        return bool(await self._ask(lambda: self._change(keys=(_RECORDS, _VERSION), args=(what, name, record))))

    async def restore(self, version: str, records: Mapping[str, str]) -> None:
        """Writes down what the server has lost, unless it has records again."""
        pairs = [part for item in records.items() for part in item]
        await self._ask(lambda: self._restore(keys=(_RECORDS, _VERSION), args=(version, *pairs)))

    async def close(self) -> None:
        """Releases everything. Never raises."""
        try:
            async with asyncio.timeout(CLOSE_TIME):
                await self._close()
        except UNUSABLE:
            pass

    async def _ask(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        """Raises DirectoryAway."""
        async with in_time(self._timeout):
            return await ask()
