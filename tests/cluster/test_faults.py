"""A real server that is killed, frozen, cut off, started empty, failed over, or speaks otherwise than expected."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from time import monotonic, sleep

import pytest
import structlog

from glassbridge.cluster import scripts
from glassbridge.cluster.address import read_address
from glassbridge.cluster.directory import DirectoryAway, Node, Taken
from glassbridge.cluster.valkey import ValkeyDirectory
from glassbridge.core.ownership import Granted, NodeState, Role
from glassbridge.core.values import UserId
from glassbridge.lab.certificate import make_certificate
from glassbridge.lab.links import ByteLink, Way
from glassbridge.livekit.server import LOOPBACK, free_port
from tests.cluster.test_contract import ANN, BOB, LEASE, ONE, THREE, TIME, TWO, claim, granted, register
from tests.support.patience import patient
from tests.support.poll import eventually
from tests.support.tls import tls_front
from tests.support.valkey import Valkey

SOON = 0.2


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


def directory_of(stack: AsyncExitStack, url: str, ca: Path | None = None) -> ValkeyDirectory:
    directory = ValkeyDirectory(read_address(url), ca)
    stack.push_async_callback(directory.close)
    return directory


async def refused(directory: ValkeyDirectory, timeout: float) -> str:
    """Why."""
    with pytest.raises(DirectoryAway) as error:
        await directory.claim(claim(), timeout)
    return str(error.value)


async def is_away(directory: ValkeyDirectory, timeout: float = SOON) -> str:
    """It says so within its time; why."""
    begun = monotonic()
    why = await refused(directory, timeout)
    assert monotonic() - begun < patient(timeout + 0.3)
    return why


async def test_killed_and_started_empty(valkey: Valkey, stack: AsyncExitStack) -> None:
    directory = directory_of(stack, valkey.url)
    node = Node(ONE, NodeState.SERVING, 0)
    before = await directory.renew(node, LEASE, (), TIME)
    first = await granted(directory, claim(phone="p", attempt=4))
    await valkey.kill()
    await is_away(directory)
    await valkey.start()
    after = await directory.renew(node, LEASE, (), TIME)
    assert after.server != before.server, "an owner must learn that everything was forgotten"
    assert await granted(directory, first.claim) == first, "the claim is restored with its epoch"


async def test_a_connection_that_closes_while_it_is_written_to(
    valkey: Valkey, stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What uvloop raises then comes through the library as it is. It takes a moment that no test can ask for."""
    directory = directory_of(stack, valkey.url)
    first = await granted(directory, claim())

    async def closed(**_asked: object) -> None:
        raise RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")

    with monkeypatch.context() as broken:
        broken.setattr(directory, "_claim", closed)
        assert await is_away(directory) == "RuntimeError"
    assert await granted(directory, first.claim) == first


async def test_whoever_is_cancelled_ends_whatever_the_library_makes_of_it(
    valkey: Valkey, stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An app of a session that had ended went on so, and asked its server to connect."""
    directory = directory_of(stack, valkey.url)
    asked = asyncio.Event()

    async def breaks(**_asked: object) -> None:
        asked.set()
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            raise ConnectionError("closed while it was being cleaned up") from None

    monkeypatch.setattr(directory, "_claim", breaks)
    task = asyncio.create_task(directory.claim(claim(), TIME))
    await asked.wait()
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()


async def test_frozen_and_thawed(valkey: Valkey, stack: AsyncExitStack) -> None:
    directory = directory_of(stack, valkey.url)
    first = await granted(directory, claim())
    valkey.freeze()
    try:
        for _ in range(3):
            assert await is_away(directory) == "TimeoutError"
    finally:
        valkey.thaw()
    restored = await granted(directory, first.claim)
    assert restored.former is None
    assert restored.claim.epoch >= first.claim.epoch


async def test_a_deadline_that_comes_at_any_step_of_a_request_ends_it(valkey: Valkey, stack: AsyncExitStack) -> None:
    """Also in the turn of the loop in which the library has just sent its command: a cancelling got lost there."""
    directory = directory_of(stack, valkey.url)
    await granted(directory, claim())
    valkey.freeze()
    try:
        for turns in range(1, 25):
            asked = asyncio.create_task(refused(directory, 0.02))
            for _ in range(turns):
                await asyncio.sleep(0)
            sleep(0.03)  # this process got no processor: the deadline is over, and all that the kernel has done is seen
            for _ in range(100):
                await asyncio.sleep(0)
            assert asked.done(), f"the deadline got lost after {turns} turns of the loop"
            assert await asked == "TimeoutError"
    finally:
        valkey.thaw()


async def test_a_server_that_stood_still_does_nothing_that_nobody_waits_for(
    valkey: Valkey, stack: AsyncExitStack
) -> None:
    """What was given up meanwhile lies in its sockets, and is read when it goes on."""
    one, two = directory_of(stack, valkey.url), directory_of(stack, valkey.url)
    for directory, owner in ((one, ONE), (two, TWO)):
        await register(directory, owner)
    first = await granted(one, claim(ONE))
    await two.claim(claim(TWO, BOB), TIME)  # its connection is open
    valkey.freeze()
    try:
        with pytest.raises(DirectoryAway):
            await two.claim(claim(TWO), SOON)
        with pytest.raises(DirectoryAway):
            await one.release(first.claim, SOON)
        await asyncio.sleep(2 * SOON)
    finally:
        valkey.thaw()
    assert await register(one, ONE) == [], "a claim of long ago has taken the user"
    assert await granted(one, first.claim) == first


async def test_a_storm_of_claims_on_a_frozen_server_ends_in_time(valkey: Valkey, stack: AsyncExitStack) -> None:
    directory = directory_of(stack, valkey.url)
    await granted(directory, claim())
    valkey.freeze()
    begun = monotonic()
    try:
        async with asyncio.TaskGroup() as storm:
            for _ in range(200):
                storm.create_task(refused(directory, 0.5))
        assert monotonic() - begun < patient(5.0), "one waits for the other: all of them would take 100 s"
    finally:
        valkey.thaw()
    users = [UserId(f"user{number}@example.com") for number in range(200)]
    verdicts = await asyncio.gather(*(directory.claim(claim(ONE, user), patient(TIME)) for user in users))
    assert all(isinstance(verdict, Granted) for verdict in verdicts)


@pytest.mark.parametrize("ways", [Way.BOTH, Way.UP, Way.DOWN])
async def test_partitioned(valkey: Valkey, stack: AsyncExitStack, ways: Way) -> None:
    """Also in one direction: a claim that arrived, and whose answer was lost, is granted again."""
    link = await stack.enter_async_context(ByteLink())
    port = await link.to(valkey.port)
    cut_off, other = directory_of(stack, f"valkey://{LOOPBACK}:{port}"), directory_of(stack, valkey.url)
    first = await granted(cut_off, claim())
    link.drop(ways)
    await is_away(cut_off)
    taken = await granted(other, claim(TWO))
    assert taken.former is not None
    assert taken.former.owner == ONE
    assert taken.former.epoch >= first.claim.epoch, "a claim that arrived, and was not answered, is a newer one"
    link.heal()
    back = await granted(cut_off, claim())
    assert back.former == taken.claim
    assert back.claim.epoch > taken.claim.epoch


async def test_failed_over_with_the_last_claims_lost(tmp_path: Path, stack: AsyncExitStack) -> None:
    primary, replica = Valkey(tmp_path), Valkey(tmp_path)
    for server in (primary, replica):
        await stack.enter_async_context(server)
    await replica.follow(primary)
    directory = directory_of(stack, primary.url)
    kept = await granted(directory, claim(ONE))
    await replica.command("REPLICAOF", "NO", "ONE")
    lost = await granted(directory, claim(TWO))
    node = Node(TWO, NodeState.SERVING, 0)
    before = await directory.renew(node, LEASE, (), TIME)
    await primary.kill()
    after = directory_of(stack, replica.url)
    assert (await after.renew(node, LEASE, (), TIME)).server != before.server
    restored = await granted(after, lost.claim)
    assert restored == Granted(lost.claim, kept.claim), "the newer owner has the user again, and its epoch"


async def test_a_replica_and_one_that_is_full_count_as_away(tmp_path: Path, stack: AsyncExitStack) -> None:
    primary, replica = Valkey(tmp_path), Valkey(tmp_path)
    full = Valkey(tmp_path, "--maxmemory", "1", "--maxmemory-policy", "noeviction")
    for server in (primary, replica, full):
        await stack.enter_async_context(server)
    await replica.follow(primary)
    await is_away(directory_of(stack, replica.url), TIME)
    await is_away(directory_of(stack, full.url), TIME)


async def test_sentinels_name_the_primary_and_the_next_one(tmp_path: Path, stack: AsyncExitStack) -> None:
    primary, replica = Valkey(tmp_path), Valkey(tmp_path)
    for server in (primary, replica):
        await stack.enter_async_context(server)
    await replica.follow(primary)
    settings = tmp_path / "sentinel.conf"
    settings.write_text(
        f"sentinel monitor main {LOOPBACK} {primary.port} 1\nsentinel down-after-milliseconds main 500\n"
        "sentinel failover-timeout main 3000\n"
    )
    sentinel = Valkey(tmp_path, sentinel=settings)
    await stack.enter_async_context(sentinel)
    directory = directory_of(stack, f"valkey+sentinel://{LOOPBACK}:{sentinel.port}/main")
    first = await granted(directory, claim())
    await primary.kill()

    async def is_back() -> bool | str:
        try:
            verdict = await directory.claim(first.claim, 1.0)
        except DirectoryAway as away:
            return f"away: {away}"
        return isinstance(verdict, Granted) and verdict.claim == first.claim

    await eventually(is_back, 20)


async def test_a_cluster_takes_the_scripts_too(tmp_path: Path, stack: AsyncExitStack) -> None:
    """All keys are in one slot, the one that a script makes up itself too."""
    server = Valkey(tmp_path, "--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    await stack.enter_async_context(server)
    assert await server.command("CLUSTER", "ADDSLOTSRANGE", "0", "16383") == "+OK"
    await eventually(server.covers_all_slots, 10)
    directory = directory_of(stack, server.url.replace("://", "+cluster://"))
    assert await register(directory, ONE) == []
    first = await granted(directory, claim(ONE))
    second = await granted(directory, claim(TWO))
    assert second.former == first.claim
    assert await register(directory, ONE) == [Taken(ANN, second.claim.epoch)]
    await directory.release(second.claim, TIME)
    await directory.withdraw(ONE, TIME)


async def test_a_password_is_asked_for_and_told_to_nobody(tmp_path: Path, stack: AsyncExitStack) -> None:
    server = await stack.enter_async_context(Valkey(tmp_path, password="the-hidden-password"))
    await granted(directory_of(stack, server.url), claim())
    with structlog.testing.capture_logs() as lines:
        for url in (server.plain_url, server.url.replace("hidden", "wrong-one")):
            directory = directory_of(stack, url)
            why = await is_away(directory, TIME)
            await directory.close()
            assert "password" not in f"{why} {directory!r} {lines}".lower()


async def test_tls(valkey: Valkey, stack: AsyncExitStack, tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    front = await stack.enter_async_context(tls_front(valkey.port, certificate, key, None))
    url = front.replace("wss://", "valkeys://")
    await granted(directory_of(stack, url, certificate), claim())
    await is_away(directory_of(stack, url), TIME)
    await is_away(directory_of(stack, url.replace("valkeys://", "valkey://")))


@pytest.mark.parametrize(
    "said", [b"*0\r\n", b"+OK\r\n", b"*3\r\n:1\r\n$1\r\nx\r\n*0\r\n", b"HTTP/1.1 400 No\r\n\r\n", b"$-1\r\n"]
)
async def test_an_odd_answer_counts_as_none(said: bytes, stack: AsyncExitStack) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):  # the client goes as soon as it has read this
            while await reader.read(4096):
                writer.write(said)
        writer.close()

    server = await asyncio.start_server(serve, LOOPBACK, 0)
    port = server.sockets[0].getsockname()[1]
    await is_away(directory_of(stack, f"valkey://{LOOPBACK}:{port}"), 0.5)
    await stack.aclose()
    server.close()
    await server.wait_closed()


NODES, LEASES, CLOCK = (f"{scripts.PREFIX}{name}" for name in ("nodes", "leases", "clock"))
OF_ANN = f"{scripts.PREFIX}user:{ANN}"
NEWS = f"{scripts.PREFIX}taken:{ONE.incarnation}"


@pytest.mark.parametrize(
    "command",
    [
        ("SET", OF_ANN, "something else"),
        ("HSET", OF_ANN, "epoch", "many", "incarnation", "1z", "attempt", "few"),
        ("HSET", OF_ANN, "epoch", "7", "incarnation", "1z"),
        ("SET", CLOCK, "noon"),
        ("SADD", CLOCK, "noon"),
        ("SET", NEWS, "none"),
        ("RPUSH", NEWS, "no news"),
        ("HSET", NODES, "9z", '{"node":"n","address":"a:1","state":"asleep","load":0}'),
        ("SET", NODES, "something else"),
        ("SET", LEASES, "something else"),
    ],
    ids=" ".join,
)
async def test_what_somebody_has_written_there_keeps_no_cloud_from_its_directory(
    valkey: Valkey, stack: AsyncExitStack, command: tuple[str, ...]
) -> None:
    directory = directory_of(stack, valkey.url)
    await register(directory, ONE)
    await valkey.command(*command)
    assert await register(directory, ONE) == []
    first = await granted(directory, claim())
    assert first.former is None
    assert await directory.find(ANN, TIME) == first.claim
    second = await granted(directory, claim(TWO))
    assert second.former == first.claim
    assert Taken(ANN, second.claim.epoch) in await register(directory, ONE)
    assert [node.owner for node in await directory.nodes(Role.CLOUD, TIME)] == [ONE]


async def test_a_node_that_is_gone_is_listed_no_longer_when_the_clock_is_set_back(
    valkey: Valkey, stack: AsyncExitStack
) -> None:
    """For an hour each cloud sent users to one that was not there."""
    directory = directory_of(stack, valkey.url)
    await directory.renew(Node(TWO, NodeState.SERVING, 0), 0.2, (), TIME)
    await directory.renew(Node(THREE, NodeState.SERVING, 0), 0.2, (), TIME)
    hour = 3_600_000
    await valkey.command("INCRBY", f"{scripts.PREFIX}renewed", str(hour))  # as if it had been an hour later then
    for node in (TWO, THREE):
        await valkey.command("ZINCRBY", LEASES, str(hour), node.incarnation)

    async def alone() -> bool:
        answer = await directory.renew(Node(ONE, NodeState.SERVING, 0), LEASE, (), TIME)
        return [node.owner for node in answer.nodes] == [ONE]

    await eventually(alone)
