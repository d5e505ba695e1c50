"""A phone that comes back to another cloud finds its session there: on both kinds of directory."""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from glassbridge.cloud import ownership
from glassbridge.cloud.config import ClusterConfig
from glassbridge.cloud.lc3 import Decoder
from glassbridge.core.moving import CloudStage
from glassbridge.core.ownership import Epoch, Owner, OwnershipState, first_generation
from glassbridge.core.session import SessionState
from glassbridge.core.values import user_id
from glassbridge.wire import cluster as wire
from tests.cloud.conftest import ANN, Phone
from tests.cluster.clouds import CLUSTER_SECRET, Clouds, clouds_of
from tests.cluster.conftest import Connect
from tests.cluster.test_contract import TIME, claim
from tests.support.patience import patient
from tests.support.poll import eventually, stays


@pytest.fixture
async def clouds(connect: Connect) -> AsyncIterator[Clouds]:
    async with clouds_of(connect) as clouds:
        yield clouds


def numbered(attempt: int, phone: str = "phone-of-ann") -> str:
    return f"?livekit=true&audio=2&phone={phone}&attempt={attempt}"


async def test_a_phone_keeps_its_session_on_another_cloud(clouds: Clouds) -> None:
    one, two = clouds.stages
    first = await one.phone(query=numbered(1))
    before = first.of_type("connection_ack")[0]
    await eventually(lambda: len(clouds.bridge.joins) == 1)
    old = clouds.sessions_of()[0]
    old.audio.transcripts.add("said before", ["en-US"], 0, 500)
    old.audio.unnumbered.configure(Decoder(40))
    second = await two.phone(query=numbered(2))
    after = second.of_type("connection_ack")[0]
    assert (after["sessionId"], after["resumed"]) == (before["sessionId"], True)
    assert not before.get("resumed")
    assert await first.closed_with() == 4001
    [new] = clouds.sessions_of()
    assert old.ownership.state is OwnershipState.MOVED
    assert new.audio.unnumbered.lc3 == 40
    assert [segment.text for segment in new.audio.transcripts.find(0, 1e12, None)] == ["said before"]
    await eventually(lambda: len(clouds.bridge.joins) == 2)
    older, newer = (join.generation for join in clouds.bridge.joins)
    assert newer > first_generation(new.ownership.epoch) > older > first_generation(old.ownership.epoch)
    assert newer < 1 << 53
    assert [join.session_id for join in clouds.bridge.joins] == [new.id] * 2
    assert clouds.bridge.leaves == [], "a bridge was told to leave a room that the new owner uses"


async def test_there_and_back(clouds: Clouds) -> None:
    found = []
    for attempt in range(1, 9):
        phone = await clouds.stages[attempt % 2].phone(query=numbered(attempt))
        found.append(phone.of_type("connection_ack")[0]["sessionId"])
        assert len(clouds.sessions_of()) == 1
    assert len(set(found)) == 1
    epochs = [join.generation for join in clouds.bridge.joins]
    assert epochs == sorted(epochs)


async def test_a_blip_of_all_phones_without_stickiness(clouds: Clouds, monkeypatch: pytest.MonkeyPatch) -> None:
    """The balancer brings each phone anywhere, five times."""
    # On a busy machine both clouds, which are one process here, stall for longer: a claim is local then, by a new id.
    monkeypatch.setattr(ownership, "CLAIM_TIME", 10.0)
    chance = random.Random(7)
    users = [f"user{number}@example.com" for number in range(12)]
    told: dict[str, set[str]] = {user: set() for user in users}

    phones: dict[str, Phone] = {}

    async def connect(user: str, attempt: int) -> None:
        phone = phones[user] = await chance.choice(clouds.stages).phone(user, query=numbered(attempt, user))
        told[user].add(phone.of_type("connection_ack")[0]["sessionId"])

    for attempt in range(1, 6):
        for phone in phones.values():
            await phone.vanish()
        await asyncio.gather(*(connect(user, attempt) for user in users))
        assert [len(clouds.sessions_of(user)) for user in users] == [1] * len(users)
    assert [len(ids) for ids in told.values()] == [1] * len(users)


async def test_two_sockets_of_one_phone(clouds: Clouds) -> None:
    """The newest one wins, whichever comes first."""
    one, two = clouds.stages
    newest = await two.phone(query=numbered(6))
    late = await one.socket(query=numbered(5))
    assert await late.closed_with() == 4001
    assert late.of_type("connection_ack") == []
    [session] = clouds.sessions_of()
    assert session.has_phone
    another = await one.phone(query=numbered(1, "another-phone"))
    assert await newest.closed_with() == 4001
    assert len(clouds.sessions_of()) == 1
    assert not another.socket.closed


async def test_sockets_on_all_clouds_at_once_leave_one_session(clouds: Clouds) -> None:
    for turn in range(5):
        sockets = await asyncio.gather(
            *(clouds.stages[number % 2].socket(query=numbered(10 * turn + number)) for number in range(6))
        )

        for late in sockets[:-1]:
            assert await late.closed_with() == 4001
        await sockets[-1].until("connection_ack")
        await eventually(lambda: len(clouds.sessions_of()) == 1)
        assert not sockets[-1].socket.closed


async def test_a_session_that_ended_is_not_found_again(clouds: Clouds) -> None:
    one, two = clouds.stages
    first = await one.phone(query=numbered(1))
    clouds.sessions_of()[0].end("signed out")
    assert await first.closed_with() == 4004
    await eventually(lambda: clouds.sessions_of() == [])
    await eventually(lambda: len(clouds.bridge.leaves) == len(clouds.bridge.joins))
    second = await two.phone(query=numbered(2))
    told = [phone.of_type("connection_ack")[0] for phone in (first, second)]
    assert told[0]["sessionId"] != told[1]["sessionId"]
    assert not told[1].get("resumed")


async def test_a_former_owner_that_does_not_answer_is_not_waited_for(connect: Connect) -> None:
    """As after kill -9: the session begins anew, in time."""
    directory = connect()
    silent = await asyncio.start_server(lambda _reader, _writer: asyncio.sleep(0), "127.0.0.1", 0)
    address = f"127.0.0.1:{silent.sockets[0].getsockname()[1]}"
    async with clouds_of(connect, count=1) as clouds:
        dead = replace(claim(Owner("dead", "dead-1", address), session="the-old-one"), user=user_id(ANN))
        await directory.claim(dead, TIME)
        begun = asyncio.get_running_loop().time()
        phone = await clouds.stages[0].phone(query=numbered(1))
        assert asyncio.get_running_loop().time() - begun < patient(1.0)
        told = phone.of_type("connection_ack")[0]
        assert told["sessionId"] != "the-old-one"
        assert not told.get("resumed")
    silent.close()


async def test_an_owner_that_could_not_be_asked_learns_of_it_within_a_second(connect: Connect) -> None:
    """Its address leads nowhere, and it reaches the directory."""
    async with clouds_of(connect, count=1) as clouds:
        [one] = clouds.stages
        one.cloud.sessions.keeper.owner = replace(one.cloud.sessions.keeper.owner, address="127.0.0.1:1")
        phone = await one.phone(query=numbered(1))
        two = await clouds.add(connect())
        await two.phone(query=numbered(2))
        assert await phone.closed_with(3.0) == 4001
        await eventually(lambda: len(clouds.sessions_of()) == 1)


async def test_a_drained_cloud_hands_its_sessions_over(connect: Connect) -> None:
    async with clouds_of(connect, drain=5.0) as clouds:
        one, two = clouds.stages
        first = await one.phone(query=numbered(1))
        await eventually(lambda: len(clouds.bridge.joins) == 1)
        await eventually(lambda: one.cloud.sessions.keeper.has_successor)
        stopping = asyncio.create_task(one.cloud.sessions.close())
        assert await first.closed_with() == 4002
        begun = asyncio.get_running_loop().time()
        second = await two.phone(query=numbered(2))
        told = [phone.of_type("connection_ack")[0] for phone in (first, second)]
        assert told[0]["sessionId"] == told[1]["sessionId"]
        await stopping
        assert asyncio.get_running_loop().time() - begun < patient(2.0), "it waited for a session that had moved"
        assert clouds.bridge.leaves == []


async def test_a_full_or_draining_cloud_is_not_ready(connect: Connect) -> None:
    async with clouds_of(connect, count=1, max_sessions=1) as clouds:
        [stage] = clouds.stages

        async def ready() -> tuple[int, str]:
            async with stage.http.get(f"{stage.url}/readyz") as answer:
                return answer.status, (await answer.json()).get("error", {}).get("code", "")

        assert await ready() == (200, "")
        await stage.phone(query=numbered(1))
        assert await ready() == (503, "FULL")
        stage.cloud.sessions.stage = CloudStage.LEAVING
        assert await ready() == (503, "DRAINING")


# ---- who may ask


async def test_only_the_cluster_may_ask_for_a_user(clouds: Clouds) -> None:
    one, _ = clouds.stages
    await one.phone(query=numbered(1))
    owner = one.cloud.sessions.keeper.owner
    url = f"http://{owner.address}{wire.PATH}"

    async def ask(secret: str, **changes: object) -> tuple[int, wire.HandOver | None]:
        fields = {
            "user": ANN,
            "asked": owner.incarnation,
            "node": "x",
            "incarnation": "x",
            "address": "x:1",
            "epoch": 1,
        }
        body = msgspec.json.encode([fields | changes])
        headers = {wire.SIGNATURE_HEADER: wire.sign_request(body, secret)}
        async with one.http.post(url, data=body, headers=headers) as answer:
            said = await answer.read()
            if answer.status != 200:
                return answer.status, None
            signed = answer.headers[wire.SIGNATURE_HEADER]
            assert wire.knows_answer(said, headers[wire.SIGNATURE_HEADER], signed, secret)
            assert not wire.knows_answer(said, "another request", signed, secret)
            [given] = msgspec.json.decode(said, type=list[wire.HandOver])
            return 200, given

    for secret in ("", "a-wrong-secret-of-the-tests-01234567"):
        assert await ask(secret) == (401, None)
    assert (await ask(CLUSTER_SECRET, user=7)) == (400, None)
    assert (await ask(CLUSTER_SECRET, user="x" * 200_000))[0] == 413
    assert (await ask(CLUSTER_SECRET, user="nobody@example.com"))[1] == wire.HandOver()
    assert (await ask(CLUSTER_SECRET, asked="a former run"))[1] == wire.HandOver(), "a repeated request"
    [session] = clouds.sessions_of()
    assert session._shell.machine.state is SessionState.ACTIVE  # type: ignore[attr-defined]
    status, given = await ask(CLUSTER_SECRET, epoch=9_000_000_000_000)
    handed = wire.HandOver(session=session.id, epoch=Epoch(9_000_000_000_000), heard=wire.HeardUpTo())
    assert (status, given) == (200, handed)
    assert clouds.sessions_of() == []


async def test_secrets_are_rotated_one_cloud_after_the_other(connect: Connect) -> None:
    newer = "a-newer-cluster-secret-of-the-tests-1"
    both = ClusterConfig(secrets=(newer, CLUSTER_SECRET)), ClusterConfig(secrets=(CLUSTER_SECRET, newer))
    async with clouds_of(connect, count=0) as clouds:
        for config in both:
            await clouds.add(connect(), cluster=config)
        told = [
            (await clouds.stages[attempt % 2].phone(query=numbered(attempt))).of_type("connection_ack")[0]["sessionId"]
            for attempt in (1, 2, 3)
        ]
        assert len(set(told)) == 1


async def test_a_cloud_with_another_secret_hands_nothing_over(connect: Connect) -> None:
    async with clouds_of(connect, count=1) as clouds:
        stranger = await clouds.add(connect(), cluster=ClusterConfig(secrets=("another-secret-of-the-tests-0123456",)))
        first = await clouds.stages[0].phone(query=numbered(1))
        second = await stranger.phone(query=numbered(2))
        assert first.of_type("connection_ack")[0]["sessionId"] != second.of_type("connection_ack")[0]["sessionId"]
        assert await first.closed_with(3.0) == 4001, "the directory tells it all the same"
        await eventually(lambda: len(clouds.sessions_of()) == 1)
        await stays(lambda: not second.socket.closed, 0.2)


async def test_news_of_a_loss_may_come_before_the_new_owner_asks(connect: Connect) -> None:
    """The renewal of the former owner falls between claim and hand-over: nothing is thrown away."""
    async with clouds_of(connect) as clouds:
        one, two = clouds.stages
        first = await one.phone(query=numbered(1))
        keeper, client = one.cloud.sessions.keeper, two.cloud.sessions.keeper._client
        assert client is not None
        ask = client.ask

        async def ask_after_the_news(*args: Any) -> list[wire.HandOver]:
            await keeper._renew(keeper._lease._number)
            assert keeper._heard, "the directory has no news"
            return await ask(*args)

        client.ask = ask_after_the_news  # type: ignore[method-assign, assignment]
        second = await two.phone(query=numbered(2))
        assert first.of_type("connection_ack")[0]["sessionId"] == second.of_type("connection_ack")[0]["sessionId"]
