"""Both directories, held to one truth: what a cloud may rely on."""

import asyncio
import random
from dataclasses import replace

from glassbridge.cluster.directory import Directory, Node, Taken
from glassbridge.cluster.memory import MemoryDirectory
from glassbridge.core.ownership import Claim, Epoch, Granted, NodeState, Owner, Refused, Role
from glassbridge.core.values import UserId
from tests.cluster.conftest import Connect
from tests.support.poll import eventually

ANN, BOB = UserId("ann@example.com"), UserId("bob ünïcode@example.com")
ONE, TWO = Owner("one", "1a", "127.0.0.1:1001"), Owner("two", "2b", "[::1]:1002")
THREE = Owner("three", "3c", "127.0.0.1:1003")
TIME = 5.0
LEASE = 60.0


def claim(owner: Owner = ONE, user: UserId = ANN, **more: object) -> Claim:
    return replace(Claim(user, owner, f"session-of-{owner.node}"), **more)  # type: ignore[arg-type]


async def granted(directory: Directory, wanted: Claim) -> Granted:
    verdict = await directory.claim(wanted, TIME)
    assert isinstance(verdict, Granted), verdict
    return verdict


async def register(directory: Directory, owner: Owner, *heard: Taken, lease: float = LEASE) -> list[Taken]:
    answer = await directory.renew(Node(owner, NodeState.SERVING, 0), lease, heard, TIME)
    return list(answer.taken)


async def test_who_only_looks_is_told_of_one_role_and_of_good_leases(connect: Connect) -> None:
    directory, other = connect(), connect()
    bridge, cloud = Node(ONE, NodeState.SERVING, 3, Role.BRIDGE), Node(TWO, NodeState.SERVING, 80)
    await directory.renew(bridge, LEASE, (), TIME)
    await directory.renew(cloud, LEASE, (), TIME)
    assert (await other.nodes(Role.BRIDGE, TIME), await other.nodes(Role.CLOUD, TIME)) == ((bridge,), (cloud,))
    await directory.renew(bridge, 0.05, (), TIME)

    async def over() -> bool:
        return await other.nodes(Role.BRIDGE, TIME) == ()

    await eventually(over)


async def test_a_node_sees_all_nodes_and_the_clock_of_the_directory(connect: Connect) -> None:
    one, two = connect(), connect()
    first, second = Node(ONE, NodeState.SERVING, 3), Node(TWO, NodeState.DRAINING, 80)
    alone = await one.renew(first, LEASE, (), TIME)
    both = await two.renew(second, LEASE, (), TIME)
    assert alone.nodes == (first,)
    assert sorted(both.nodes, key=lambda node: node.owner.node) == [first, second]
    assert both.now_ms >= alone.now_ms > 1_700_000_000_000
    assert both.server == alone.server != ""
    full = replace(first, state=NodeState.FULL, load=9)
    assert full in (await one.renew(full, LEASE, (), TIME)).nodes
    await two.withdraw(TWO, TIME)
    assert (await one.renew(first, LEASE, (), TIME)).nodes == (first,)


async def test_bridges_are_listed_beside_clouds(connect: Connect) -> None:
    cloud, bridge = connect(), connect()
    node = Node(ONE, NodeState.SERVING, 3)
    listed = Node(Owner("far", "b1", "10.0.0.2:9090"), NodeState.SERVING, 7, Role.BRIDGE)
    assert (await bridge.renew(listed, LEASE, (), TIME)).nodes == (listed,)
    assert set((await cloud.renew(node, LEASE, (), TIME)).nodes) == {node, listed}
    assert set((await bridge.renew(listed, LEASE, (), TIME)).nodes) == {node, listed}
    await bridge.withdraw(listed.owner, TIME, Role.BRIDGE)
    assert (await cloud.renew(node, LEASE, (), TIME)).nodes == (node,)
    await bridge.renew(listed, 0.05, (), TIME)

    async def gone() -> bool:
        return (await cloud.renew(node, LEASE, (), TIME)).nodes == (node,)

    await eventually(gone)


async def test_the_clock_of_the_cluster_never_goes_back(connect: Connect) -> None:
    """A server that took over may have forgotten the newest epochs, and its clock may be behind: whoever has seen more
    says so."""
    one, two = connect(), connect()
    seen = 4_000_000_000_000
    first = await two.claim(claim(TWO, BOB), TIME, seen)
    assert isinstance(first, Granted)
    assert first.claim.epoch >= seen, "the claimer has seen it"
    second = await granted(one, claim(ONE, ANN))
    assert second.claim.epoch >= first.claim.epoch, "and so has the directory now"
    later = seen + 1_000_000
    told = await two.renew(Node(TWO, NodeState.SERVING, 0), LEASE, (), TIME, later)
    assert told.clock_ms >= later > told.now_ms, "what apps are signed by is the time of day"
    assert (await one.renew(Node(ONE, NodeState.SERVING, 0), LEASE, (), TIME)).clock_ms >= later
    assert (await granted(one, claim(ONE, UserId("cy@example.com")))).claim.epoch >= later


async def test_a_lease_ends(connect: Connect) -> None:
    one, two = connect(), connect()
    await register(two, TWO, lease=0.05)

    async def gone() -> bool:
        return [node.owner for node in (await one.renew(Node(ONE, NodeState.SERVING, 0), LEASE, (), TIME)).nodes] == [
            ONE
        ]

    await eventually(gone)


async def test_a_user_goes_to_the_newest_owner_and_the_former_one_is_named(connect: Connect) -> None:
    one, two = connect(), connect()
    first = await granted(one, claim(ONE, phone="p", attempt=1))
    assert first.former is None
    second = await granted(two, claim(TWO, phone="p", attempt=2))
    assert second.former == first.claim
    assert second.claim.epoch > first.claim.epoch > 1_700_000_000_000
    assert second.claim == claim(TWO, phone="p", attempt=2, epoch=second.claim.epoch, session=first.claim.session)
    assert (await granted(two, claim(TWO, BOB))).former is None


async def test_the_id_of_the_session_stays_until_its_new_owner_names_another(connect: Connect) -> None:
    """A third owner, which comes before the second one has it from the first, finds it."""
    directories = [connect() for _ in range(3)]
    first = (await granted(directories[0], claim(ONE, session="old"))).claim
    second = (await granted(directories[1], claim(TWO, session="new"))).claim
    assert second.session == "old"
    third = await granted(directories[2], claim(THREE, session="newer"))
    assert (third.former, third.claim.session) == (second, "old")
    begun = replace(third.claim, session="newer")
    assert (await granted(directories[2], begun)).claim == begun
    assert await directories[0].find(first.user, TIME) == begun


async def test_a_new_socket_gets_a_greater_epoch_and_a_claim_that_is_restored_keeps_its_own(connect: Connect) -> None:
    one = connect()
    first = await granted(one, claim(phone="p", attempt=1))
    again = await granted(one, claim(phone="p", attempt=2, session="other"))
    assert again.claim.epoch > first.claim.epoch
    assert again == Granted(replace(first.claim, attempt=2, session="other", epoch=again.claim.epoch), None)
    assert await granted(one, again.claim) == again


async def test_a_late_attempt_is_refused_by_the_claim_that_stands(connect: Connect) -> None:
    one, two = connect(), connect()
    stands = await granted(one, claim(ONE, phone="p", attempt=9))
    for late in (claim(TWO, phone="p", attempt=8), claim(ONE, phone="p", attempt=8)):
        assert await two.claim(late, TIME) == Refused(stands.claim)
    assert (await granted(one, stands.claim)).claim == stands.claim, "nothing has changed"


async def test_a_released_user_leaves_an_epoch_behind(connect: Connect) -> None:
    one, two = connect(), connect()
    first = (await granted(one, claim(ONE, epoch=Epoch(3_000_000_000_000)))).claim
    await one.release(first, TIME)
    second = await granted(two, claim(TWO))
    assert second == Granted(claim(TWO, epoch=Epoch(first.epoch + 1)), None)


async def test_a_late_release_touches_nothing(connect: Connect) -> None:
    one, two = connect(), connect()
    first = (await granted(one, claim(ONE))).claim
    second = (await granted(two, claim(TWO))).claim
    await one.release(first, TIME)
    await two.release(replace(second, epoch=Epoch(second.epoch - 1)), TIME)
    assert (await granted(one, claim(ONE))).former == second


async def test_an_owner_learns_what_was_taken_from_it_until_it_has_heard(connect: Connect) -> None:
    one, two = connect(), connect()
    await register(one, ONE)
    for user in (ANN, BOB):
        await granted(one, claim(ONE, user))
    assert await register(one, ONE) == []
    news = [Taken(user, (await granted(two, claim(TWO, user))).claim.epoch) for user in (ANN, BOB)]
    assert await register(one, ONE) == news
    assert await register(one, ONE) == news, "the first answer may have been lost"
    assert await register(one, ONE, news[0]) == news[1:]
    assert await register(one, ONE, news[0]) == news[1:], "what was heard twice takes nothing else away"
    assert await register(one, ONE, *news) == []


async def test_nothing_waits_for_a_node_that_is_gone(connect: Connect) -> None:
    one, two = connect(), connect()
    await granted(one, claim(ONE))
    await granted(two, claim(TWO))
    assert await register(one, ONE) == []


async def test_claims_at_once_have_one_winner_and_an_unbroken_line_of_owners(connect: Connect) -> None:
    owners = [Owner(f"n{number}", f"i{number}", "") for number in range(20)]
    verdicts = await asyncio.gather(*(granted(connect(), claim(owner)) for owner in owners))
    line = sorted(verdicts, key=lambda verdict: verdict.claim.epoch)
    assert len({verdict.claim.epoch for verdict in line}) == len(line)
    assert [verdict.former for verdict in line] == [None, *(verdict.claim for verdict in line[:-1])]


async def test_any_history_ends_the_same_in_both(valkey_and_memory: tuple[Directory, MemoryDirectory]) -> None:
    """The script decides as core/ownership.py does: claims, restored claims and releases of three nodes, at random."""
    real, memory = valkey_and_memory
    seed = random.randrange(1 << 30)
    print("seed", seed)
    chance = random.Random(seed)
    owners = [ONE, TWO, Owner("three", "3c", "")]
    for user in (ANN, BOB):
        last = claim(ONE, user, epoch=Epoch(4_000_000_000_000))
        assert await real.claim(last, TIME) == await memory.claim(last, TIME)
    for number in range(600):
        wanted = claim(
            chance.choice(owners),
            chance.choice([ANN, BOB]),
            session=f"s{number}",
            phone=chance.choice(["", "p", "q"]),
            attempt=chance.randrange(4),
            epoch=Epoch(0 if chance.random() < 0.5 else last.epoch + chance.randrange(-3, 3)),
        )
        if chance.random() < 0.2:
            await asyncio.gather(real.release(last, TIME), memory.release(last, TIME))
            continue
        theirs = await real.claim(wanted, TIME)
        ours = await memory.claim(wanted, TIME)
        assert theirs == ours, f"claim {number}: {wanted}"
        last = theirs.claim
