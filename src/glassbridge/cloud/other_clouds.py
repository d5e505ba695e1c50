"""The other clouds' answers to an operator: each is asked with the operator's own request, and has
ASK_TIME to answer. Those that do not are named."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from aiohttp import web
from yarl import URL

from glassbridge.cloud.ownership import UserOwnership
from glassbridge.cloud.relay import RequestRelay
from glassbridge.core.merged_rows import Row, merge_rows

ASK_TIME: Final = 0.25
"""Seconds that a cloud has for its answer."""
MOST_ASKED: Final = 64
SESSIONS: Final = "/api/admin/sessions"


class _Told(msgspec.Struct):
    data: dict[str, Any]


class _Row(msgspec.Struct):
    """The fields of a session that merging needs."""

    id: str
    user: str
    epoch: int
    started_ms: int
    ended_ms: int | None


class _Sessions(msgspec.Struct):
    sessions: list[_Row]


_told = msgspec.json.Decoder(_Told)


@dataclass(frozen=True, slots=True)
class Merged:
    """The sessions of all clouds."""

    rows: Sequence[Row]
    nodes: Sequence[Row]
    """`node`, `answered`, `sessions` of each cloud, ours first; none where there is but one."""

    def is_elsewhere(self, session: str) -> bool:
        """Whether it belongs to another cloud."""
        here = next((node["node"] for node in self.nodes), "")
        return any(row["id"] == session and row.get("node", here) != here for row in self.rows)


class OtherClouds:
    """One for each running cloud."""

    def __init__(self, keeper: Callable[[], UserOwnership], relay: RequestRelay) -> None:
        self._keeper = keeper
        self._relay = relay
        self._latest: tuple[int, Merged] | None = None
        """As asked for in this second (unix): all that watch get the same."""
        self._turn = asyncio.Lock()

    async def ask(self, request: web.Request) -> Mapping[str, dict[str, Any] | None]:
        """By name, the `data` of each answer to the same request; None: not answered as it should be. A request that
        was relayed here is not relayed again."""
        return {} if self._relay.is_relayed(request) else await self._ask(request, request.rel_url)

    async def merged(self, request: web.Request, own: Sequence[Row], **query: str) -> Merged:
        """Our rows, and those of all others to which `query` applies; of a request that was relayed here, ours."""
        return Merged(own, []) if self._relay.is_relayed(request) else await self._merged(request, own, query)

    async def merged_of(self, second: int, request: web.Request, own: Sequence[Row]) -> Merged:
        """The rows of all, the same for all that ask in this second (unix)."""
        async with self._turn:
            if self._latest is None or self._latest[0] != second:
                self._latest = second, await self._merged(request, own, {})
            return self._latest[1]

    async def holder_of(self, request: web.Request, session: str, own: Sequence[Row]) -> str:
        """The address of the other cloud to which this session belongs; empty: it is ours, or unknown."""
        merged = await self.merged(request, own, id=session)
        node = next((row.get("node", "") for row in merged.rows if row["id"] == session), "")
        return self._addresses().get(node, "")

    async def relay(self, request: web.Request, address: str) -> web.StreamResponse:
        """The answer of that cloud, as it comes."""
        return await self._relay.stream(request, address, request.rel_url)

    def _addresses(self) -> dict[str, str]:
        """By name, where the other clouds are."""
        keeper = self._keeper()
        found = {owner.node: owner.address for owner in (keeper.others if keeper.shared else ()) if owner.address}
        return dict(sorted(found.items())[:MOST_ASKED])

    async def _ask(self, request: web.Request, target: URL) -> Mapping[str, dict[str, Any] | None]:
        asked = self._addresses()
        answers = await asyncio.gather(
            *(self._relay.whole(request, address, b"", ASK_TIME, target) for address in asked.values())
        )
        return {
            node: None if answer is None or answer.status != 200 else _data(answer.body)
            for node, answer in zip(asked, answers, strict=True)
        }

    async def _merged(self, request: web.Request, own: Sequence[Row], query: Mapping[str, str]) -> Merged:
        answers = await self._ask(request, URL.build(path=SESSIONS, query=query))
        if not answers:
            return Merged(own, [])
        parts = {node: _rows(told) for node, told in answers.items()}
        here = self._keeper().owner.node
        nodes: list[Row] = [{"node": here, "answered": True, "sessions": _living(own)}]
        nodes += [
            {"node": node, "answered": rows is not None, "sessions": _living(rows or ())}
            for node, rows in parts.items()
        ]
        return Merged(merge_rows({here: own, **{node: rows or () for node, rows in parts.items()}}), nodes)


def _data(body: bytes) -> dict[str, Any] | None:
    try:
        return _told.decode(body).data
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def _rows(told: dict[str, Any] | None) -> list[Row] | None:
    """None: it has not told of sessions as we know them."""
    try:
        msgspec.convert(told, _Sessions)
    except msgspec.ValidationError:
        return None
    return None if told is None else told["sessions"]


def _living(rows: Sequence[Row]) -> int:
    return sum(row["ended_ms"] is None for row in rows)
