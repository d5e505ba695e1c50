"""The client and the server of hand-overs by themselves: storms, silence, and odd answers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import msgspec
import pytest
from aiohttp import web

from glassbridge.cloud.handover import HAND_OVER_TIME, HandOverClient, HandOverServer
from glassbridge.core.ownership import Claim, Epoch, Owner
from glassbridge.core.values import UserId
from glassbridge.wire import cluster as wire
from tests.support.patience import patient

SECRET = "a-cluster-secret-of-the-tests-012345"
ME = Owner("me", "me-1", "127.0.0.1:1")


def claim(number: int) -> Claim:
    return Claim(UserId(f"user{number}@example.com"), ME, "new", epoch=Epoch(number + 1))


@pytest.fixture
async def client() -> AsyncIterator[HandOverClient]:
    async with HandOverClient((SECRET,)) as client:
        yield client


async def test_a_storm_of_users_is_asked_for_in_few_requests(client: HandOverClient) -> None:
    """All phones of a cloud come to another one at once: nobody begins anew because the line is long."""
    together: list[int] = []
    now = 0

    async def give(asked: wire.HandOverRequest) -> wire.HandOver:
        nonlocal now
        now += 1
        together.append(now)
        await asyncio.sleep(0)
        now -= 1
        return wire.HandOver(session=f"of {asked.user}", epoch=asked.epoch)

    async with HandOverServer("127.0.0.1", 0, (SECRET,), give) as server:
        owner = Owner("other", "other-1", server.address)
        answers = await asyncio.gather(*(client.ask(claim(number), [owner]) for number in range(1_000)))
    assert [found[0].session for found in answers if found] == [f"of user{n}@example.com" for n in range(1_000)]
    assert max(together) == wire.MOST_AT_ONCE


async def test_who_waits_behind_an_unanswered_question_does_not_wait_as_long_again(client: HandOverClient) -> None:
    silent = await asyncio.start_server(lambda _reader, _writer: asyncio.sleep(0), "127.0.0.1", 0)
    owner = Owner("silent", "silent-1", f"127.0.0.1:{silent.sockets[0].getsockname()[1]}")
    begun = asyncio.get_running_loop().time()
    answers = await asyncio.gather(*(client.ask(claim(number), [owner]) for number in range(500)))
    assert answers == [[]] * 500
    assert asyncio.get_running_loop().time() - begun < patient(3 * HAND_OVER_TIME)
    silent.close()


async def test_one_hint_is_followed(client: HandOverClient) -> None:
    """The former owner names the one to whom it gave the user; that one names a third, who is not asked."""
    asked: list[str] = []

    def cloud(name: str, answer: wire.HandOver) -> HandOverServer:
        async def give(request: wire.HandOverRequest) -> wire.HandOver:
            asked.append(name)
            assert request.asked == name
            return answer

        return HandOverServer("127.0.0.1", 0, (SECRET,), give)

    async with AsyncExitStack() as stack:
        b = await stack.enter_async_context(cloud("b", wire.HandOver(session="s")))
        hint = wire.HandOver(node="b", incarnation="b", address=b.address)
        a = await stack.enter_async_context(cloud("a", hint))
        hint = wire.HandOver(node="a", incarnation="a", address=a.address)
        c = await stack.enter_async_context(cloud("c", hint))
        [found] = await client.ask(claim(1), [Owner("a", "a", a.address)])
        assert (found.session, asked) == ("s", ["a", "b"])
        assert await client.ask(claim(2), [Owner("c", "c", c.address)]) == []
        assert asked == ["a", "b", "c", "a"]


async def test_what_cannot_be_read_of_one_user_says_nothing_of_the_others(client: HandOverClient) -> None:
    """They are asked for together."""
    told = {1: b'{"session":"s1"}', 2: b'{"session":"s2","heard":{"position":-1}}', 3: b'{"session":"s3"}'}

    async def answer(request: web.Request) -> web.Response:
        asked = msgspec.json.decode(await request.read())
        said = b"[" + b",".join(told[int(one["epoch"]) - 1] for one in asked) + b"]"
        signed = wire.sign_answer(said, request.headers[wire.SIGNATURE_HEADER], SECRET)
        return web.Response(body=said, headers={wire.SIGNATURE_HEADER: signed})

    app = web.Application()
    app.router.add_post(wire.PATH, answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    owner = Owner("odd", "odd-1", f"127.0.0.1:{runner.addresses[0][1]}")
    found = await asyncio.gather(*(client.ask(claim(number), [owner]) for number in told))
    assert [[one.session for one in each] for each in found] == [["s1"], [], ["s3"]]
    await runner.cleanup()


@pytest.mark.parametrize("said", [b"", b"{}", b"[]", b"[{},{}]", b'[{"session":7}]', b"[" * 5_000, b"x" * 100])
async def test_an_answer_that_cannot_be_used_is_none(client: HandOverClient, said: bytes) -> None:
    async def answer(request: web.Request) -> web.Response:
        await request.read()
        signed = wire.sign_answer(said, request.headers[wire.SIGNATURE_HEADER], SECRET)
        return web.Response(body=said, headers={wire.SIGNATURE_HEADER: signed})

    app = web.Application()
    app.router.add_post(wire.PATH, answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    assert await client.ask(claim(1), [Owner("odd", "odd-1", f"127.0.0.1:{runner.addresses[0][1]}")]) == []
    await runner.cleanup()


async def test_an_answer_without_a_signature_is_none(client: HandOverClient) -> None:
    app = web.Application()
    app.router.add_post(wire.PATH, _forged)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    assert await client.ask(claim(1), [Owner("odd", "odd-1", f"127.0.0.1:{runner.addresses[0][1]}")]) == []
    await runner.cleanup()


async def _forged(_request: web.Request) -> web.Response:
    return web.Response(body=b'[{"session":"forged"}]', headers={wire.SIGNATURE_HEADER: "0" * 64})
