"""The directory in a Valkey (or Redis 7) server, by redis-py. Nothing else imports that library."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any, Final

import msgspec
import structlog
from redis.asyncio import Redis
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from glassbridge.cluster import scripts
from glassbridge.cluster.address import DirectoryKind, ServerAddress
from glassbridge.cluster.directory import DirectoryAway, Node, Renewal, Taken
from glassbridge.core.ownership import Claim, ClaimVerdict, Epoch, Granted, NodeState, Owner, Refused, Role, session_of
from glassbridge.core.values import UserId
from glassbridge.runtime.tasks import end_if_cancelled

log = structlog.get_logger()

AT_ONCE: Final = 16
"""Requests on their way beside a renewal, each on a connection of its own; others wait, each within its time."""
CONNECTIONS: Final = AT_ONCE + 1
CLOSE_TIME: Final = 1.0
_CLOCKS: Final = (f"{scripts.PREFIX}clock", f"{scripts.PREFIX}renewed")
_LISTED: Final = {Role.CLOUD: ("nodes", "leases"), Role.BRIDGE: ("bridges", "bridge-leases")}
_OTHER: Final = {Role.CLOUD: Role.BRIDGE, Role.BRIDGE: Role.CLOUD}
UNUSABLE: Final = (RedisError, OSError, TimeoutError, RuntimeError)
"""What the library raises where the server cannot be used. RuntimeError is uvloop's, of a connection that closes while
it is written to (seen in M7, once in 28 runs)."""
_BAD_ANSWER: Final = (ValueError, TypeError, IndexError, KeyError, msgspec.MsgspecError)


class _About(msgspec.Struct, frozen=True):
    """A node, as the server keeps it."""

    node: str
    address: str
    state: NodeState
    load: int


class ValkeyDirectory:
    """Retries nothing: one request, one deadline. `ca` is a PEM file: whose certificates are believed; None: those that
    this machine believes."""

    def __init__(self, address: ServerAddress, ca: Path | None = None) -> None:
        self._client, self._close = open_client(address, ca)
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._renewal = asyncio.Semaphore()
        """A renewal does not wait behind claims: when many phones come at once the lease would be lost."""
        self._ahead_ms: float | None = None
        """What the server's clock shows beyond monotonic time, in milliseconds."""
        register: Callable[[str], Any] = self._client.register_script
        self._renew, self._withdraw = register(scripts.RENEW), register(scripts.WITHDRAW)
        self._list = register(scripts.LIST)
        self._claim, self._release = register(scripts.CLAIM), register(scripts.RELEASE)

    async def renew(
        self, node: Node, lease: float, heard: Collection[Taken], timeout: float, clock: int = 0
    ) -> Renewal:
        owner = node.owner
        about = msgspec.json.encode(_About(owner.node, owner.address, node.state, node.load)).decode()
        asked_at = monotonic()
        answer = await self._run(
            self._renew,
            (*self._node_keys(owner, node.role), *_listed(_OTHER[node.role]), *_CLOCKS),
            (
                owner.incarnation,
                about,
                round(lease * 1000),
                scripts.TAKEN_AT_ONCE,
                clock,
                *(f"{news.epoch} {news.user}" for news in heard),
            ),
            timeout,
            self._renewal,
        )
        with _Understood():
            now_ms, shared_ms, server, same, other, taken = answer
            self._ahead_ms = int(now_ms) - (asked_at + monotonic()) / 2 * 1000
            nodes = (*_nodes(same, node.role), *_nodes(other, _OTHER[node.role]))
            return Renewal(int(now_ms), int(shared_ms), str(server), nodes, tuple(_taken(taken)))

    async def nodes(self, role: Role, timeout: float) -> tuple[Node, ...]:
        kept, live = await self._run(self._list, _listed(role), (), timeout)
        with _Understood():
            return tuple(node for node in _nodes(kept, role) if node.owner.incarnation in live)

    async def withdraw(self, owner: Owner, timeout: float, role: Role = Role.CLOUD) -> None:
        await self._run(self._withdraw, self._node_keys(owner, role), (owner.incarnation,), timeout)

    async def claim(self, wanted: Claim, timeout: float, clock: int = 0) -> ClaimVerdict:
        owner = wanted.owner
        answer = await self._run(
            self._claim,
            (f"{scripts.PREFIX}user:{wanted.user}",),
            (
                scripts.PREFIX,
                wanted.user,
                owner.node,
                owner.incarnation,
                owner.address,
                wanted.session,
                wanted.phone,
                wanted.attempt,
                wanted.epoch,
                scripts.KEPT_SECONDS,
                scripts.TAKEN_SECONDS,
                scripts.MOST_TAKEN,
                self._until(timeout),
                clock,
            ),
            timeout,
        )
        with _Understood():
            granted, epoch, former = answer
            other = _claim(wanted.user, former) if former else None
            if granted < 0:
                raise DirectoryAway("the claim came too late")
            if granted:
                return Granted(replace(wanted, epoch=Epoch(int(epoch)), session=session_of(wanted, other)), other)
            if other is None:
                raise ValueError("refused by nobody")
            return Refused(other)

    async def find(self, user: UserId, timeout: float) -> Claim | None:
        key, asked = f"{scripts.PREFIX}user:{user}", scripts.CLAIMED
        held = await self._in_time(lambda: self._client.hmget(key, asked), timeout)
        try:
            return _claim(user, held)
        except _BAD_ANSWER:  # nobody has the user, or the claim cannot be read: the next one takes its place
            return None

    async def release(self, claim: Claim, timeout: float) -> None:
        await self._run(
            self._release,
            (f"{scripts.PREFIX}user:{claim.user}",),
            (claim.owner.incarnation, claim.epoch, scripts.RELEASED_SECONDS, self._until(timeout)),
            timeout,
        )

    async def close(self) -> None:
        try:
            async with asyncio.timeout(CLOSE_TIME):
                await self._close()
        except UNUSABLE as error:
            log.info("directory not closed", error=type(error).__name__)

    @staticmethod
    def _node_keys(owner: Owner, role: Role) -> tuple[str, ...]:
        return (*_listed(role), f"{scripts.PREFIX}taken:{owner.incarnation}")

    def _until(self, timeout: float) -> int:
        """By the server's clock: a server that stalled must not do late what no caller waits for any more. 0: its
        clock is not known yet."""
        return 0 if self._ahead_ms is None else round(self._ahead_ms + (monotonic() + timeout) * 1000)

    async def _run(
        self,
        script: Any,
        keys: tuple[str, ...],
        args: tuple[Any, ...],
        timeout: float,
        turns: asyncio.Semaphore | None = None,
    ) -> Any:
        """Raises DirectoryAway."""
        return await self._in_time(lambda: script(keys=keys, args=args), timeout, turns)

    async def _in_time(self, ask: Callable[[], Any], timeout: float, turns: asyncio.Semaphore | None = None) -> Any:
        """Raises DirectoryAway."""
        async with in_time(timeout), turns or self._turns:
            return await ask()


@asynccontextmanager
async def in_time(timeout: float) -> AsyncIterator[None]:
    """For a question to the server. Raises DirectoryAway without the library's text, which may quote data or addresses.
    A cancelled caller ends, whatever the library does with the cancellation."""
    try:
        async with asyncio.timeout(timeout):
            yield
    except UNUSABLE as error:
        end_if_cancelled()
        raise DirectoryAway(type(error).__name__) from None


class _Understood:
    """An answer that cannot be read is none."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, _BAD_ANSWER):
            raise DirectoryAway("its answer cannot be read") from None


def _listed(role: Role) -> tuple[str, ...]:
    """Keys of all nodes of this role, and of their leases."""
    return tuple(f"{scripts.PREFIX}{name}" for name in _LISTED[role])


def _nodes(pairs: list[str], role: Role) -> Iterator[Node]:
    """Without those that cannot be read: a node may be of another version."""
    for incarnation, text in zip(pairs[::2], pairs[1::2], strict=True):
        with suppress(msgspec.MsgspecError):
            about = msgspec.json.decode(text, type=_About)
            yield Node(Owner(about.node, str(incarnation), about.address), about.state, about.load, role)


def _taken(told: list[str]) -> Iterator[Taken]:
    """Without what cannot be read."""
    for text in told:
        epoch, _, user = text.partition(" ")
        with suppress(ValueError):
            yield Taken(UserId(user), Epoch(int(epoch)))


def _claim(user: UserId, held: list[str]) -> Claim:
    node, incarnation, address, session, phone, attempt, epoch = held
    return Claim(user, Owner(node, incarnation, address), session, phone, int(attempt), Epoch(int(epoch)))


def open_client(address: ServerAddress, ca: Path | None) -> tuple[Any, Callable[[], Awaitable[None]]]:
    """A client, and how it is closed. Nothing is connected yet."""
    options: dict[str, Any] = {
        "username": address.username,
        "password": address.password,
        "decode_responses": True,
        "protocol": 2,
        "retry": Retry(NoBackoff(), 0),
        # Each request has our deadline. With times of its own the library sends by wait_for, which before Python 3.12
        # drops a cancelling that comes in the turn in which it is done: the deadline then was that of the library, 5 s.
        "socket_timeout": None,
        "socket_connect_timeout": None,
    }
    if address.tls:
        options |= {"ssl": True, "ssl_ca_certs": None if ca is None else str(ca)}
    match address.kind:
        case DirectoryKind.SERVER:
            host, port = address.hosts[0]
            client: Any = Redis(host=host, port=port, db=address.db, max_connections=CONNECTIONS, **options)
            return client, client.aclose
        case DirectoryKind.SENTINEL:
            own = {name: value for name, value in options.items() if name not in ("username", "password")}
            sentinels = Sentinel(list(address.hosts), sentinel_kwargs=own, **options)  # type: ignore[no-untyped-call]
            client = sentinels.master_for(address.service, db=address.db, max_connections=CONNECTIONS)

            async def close() -> None:
                await client.aclose()
                for sentinel in sentinels.sentinels:
                    await sentinel.aclose()

            return client, close
        case DirectoryKind.CLUSTER:
            nodes = [ClusterNode(host, port) for host, port in address.hosts]
            client = RedisCluster(startup_nodes=nodes, max_connections=CONNECTIONS, **options)
            return client, client.aclose
