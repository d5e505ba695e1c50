"""A1, A2, A9, A10, A11: strangers at the cloud's HTTP door, and a user who asks for too much speech."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from time import monotonic
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from glassbridge.lab.attacker import ATTACKER, http
from glassbridge.lab.bystander import Assault, attack, needs_of
from glassbridge.lab.hostile_app import PACKAGE
from glassbridge.lab.needs import LabError
from glassbridge.lab.scenario import always, most
from glassbridge.wire.app_keys import SIGNATURE_HEADER

HOLDS: Final = 30.0
"""Seconds in which the cloud must have closed what says nothing."""
ADMIN_TOKEN: Final = "the-admin-token-of-the-lab-0123456789"  # noqa: S105 - of a cloud that lives for a minute
HI_WITHIN: Final = 2.0

Seen = Mapping[str, int]
"""How often which answer came: a status; `closed` without one; `open` to the end; `unreachable`."""


@attack("A1", "paths full of backslashes", story="40 requests of 7,900 backslashes in 4 s")
async def backslash_paths(assault: Assault) -> dict[str, float]:
    seen = await assault.by(odd_paths, url=assault.url, count=assault.count(40), per_second=10)
    return {"refused": _only(seen, 400, 404, 414, 429)}


async def odd_paths(url: str, count: int, per_second: float) -> Seen:
    paths = ["/token" + char * 7_900 for char in ("\\", "\\", "\\", '"', "%5C", "=", "&")]
    async with http() as client:

        async def ask(number: int) -> str:
            target = f"{url}{paths[number % len(paths)][:7_900]}"
            async with client.get(URL(target, encoded=True), allow_redirects=False) as answer:
                return await _typed(answer)

        return await _paced(ask, count, per_second)


@attack(
    "A2", "silent sockets and half-sent requests", story="3,000 sockets at 300/s: silent, dripping headers, unsigned"
)
async def silent_sockets(assault: Assault) -> dict[str, float]:
    """All of them in the warm-up too: what 1,500 connections at a time take of the allocator's pools (11 to 18 MB
    from a cold start) stays there. That a second flood adds nothing is what counts."""
    seen = await assault.by(silence, url=assault.url, count=3_000, per_second=300, holds=HOLDS)
    answers = sum(number for what, number in seen.items() if what.isdecimal() and int(what) >= 400)
    return {"open": seen.get("open", 0), "refused": not seen.get("open") and answers > 0}


async def silence(url: str, count: int, per_second: float, holds: float) -> Seen:
    """A third says nothing, a third sends a header line every two seconds, a third opens app sockets unsigned."""
    begun = (
        b"",
        b"GET /livez HTTP/1.1\r\nHost: x\r\n",
        b"GET /app-ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
    )

    async def hold(number: int) -> str:
        kind = number % len(begun)
        return await _raw(url, begun[kind], _drip if kind == 1 else None, holds)

    return await _paced(hold, count, per_second)


async def _drip(writer: asyncio.StreamWriter) -> None:
    while True:
        await asyncio.sleep(2.0)
        writer.write(b"X-More: again\r\n")
        await writer.drain()


@attack(
    "A9",
    "uploads of nobody",
    story="60 posts of 16 MiB at 20/s, sent but for the last 256 KiB",
    needs=needs_of(app=True),
)
async def uploads_of_nobody(assault: Assault) -> dict[str, float]:
    seen = await assault.by(half_sent_uploads, url=assault.url, count=assault.count(60), per_second=20, holds=HOLDS)
    return {"refused": _only(seen, 401, 413, 429, 503)}


async def half_sent_uploads(url: str, count: int, per_second: float, holds: float) -> Seen:
    head = (
        f"POST /api/sounds?app={PACKAGE} HTTP/1.1\r\nHost: x\r\nContent-Length: {16 << 20}\r\n"
        f"{SIGNATURE_HEADER}: t=1,v1=00\r\nContent-Type: application/octet-stream\r\n\r\n"
    )

    async def post(_number: int) -> str:
        return await _raw(url, head.encode(), _most_of_16_mib, holds)

    return await _paced(post, count, per_second)


async def _most_of_16_mib(writer: asyncio.StreamWriter) -> None:
    piece = bytes(256 << 10)
    for _ in range(63):
        writer.write(piece)
        await writer.drain()


@attack(
    "A10",
    "guesses of the admin token",
    story="1,500 guesses by header and 300 by form at 300/s, of one address; the operator has another",
    needs=needs_of(env={"GLASSBRIDGE_ADMIN_TOKEN": ADMIN_TOKEN}),
    must=(always("operator_in"), always("locked")),
)
async def admin_guessing(assault: Assault) -> dict[str, float]:
    seen = await assault.by(guesses, url=assault.url, count=assault.count(1_800), per_second=300)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5.0)) as client:
        bearer = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
        async with client.get(f"{assault.url}/api/admin/sessions", headers=bearer) as answer:
            by_header = answer.status
        async with client.post(f"{assault.url}/api/admin/login", json={"token": ADMIN_TOKEN}) as answer:
            by_form = answer.status
    return {
        "operator_in": by_header == 200 and by_form < 400,
        "locked": assault.small or seen.get("429", 0) > 1_500,
        "refused": _only(seen, 401, 403, 429),
    }


async def guesses(url: str, count: int, per_second: float) -> Seen:
    async with http() as client:

        async def guess(number: int) -> str:
            wrong = f"guess-{number}"
            asked = (
                client.post(f"{url}/api/admin/login", json={"token": wrong})
                if number % 6 == 5
                else client.get(f"{url}/api/admin/sessions", headers={"Authorization": f"Bearer {wrong}"})
            )
            async with asked as answer:
                return await _typed(answer)

        return await _paced(guess, count, per_second)


@attack(
    "A11",
    "speech requests of one user",
    story='40 texts of 2,000 characters at once; another user\'s "hi" each second meanwhile',
    must=(most("hi_s", HI_WITHIN),),
)
async def speech_requests(assault: Assault) -> dict[str, float]:
    arguments = {"url": assault.url, "token": assault.token(), "count": assault.count(40)}
    asking = asyncio.create_task(assault.by(speeches, **arguments))
    try:
        hi = 0.0
        while not asking.done():
            hi = max(hi, await _say(assault.url, assault.token("polite"), "hi"))
            await asyncio.sleep(1.0)
        seen = await asking
    finally:
        asking.cancel()
    return {"hi_s": hi, "refused": assault.small or (seen.get("429", 0) > 0 and _only(seen, 200, 429, 503))}


async def speeches(url: str, token: str, count: int) -> Seen:
    text = "the quick brown fox jumps over the lazy dog and on it goes " * 34
    async with http(headers={"Authorization": f"Bearer {token}"}) as client:

        async def ask(number: int) -> str:
            async with client.get(f"{url}/api/tts", params={"text": f"{number} {text}"[:2_000]}) as answer:
                if answer.status == 200:
                    await answer.read()
                    return "200"
                return await _typed(answer)

        return await _paced(ask, count, 1_000)


async def _say(url: str, token: str, text: str) -> float:
    """Seconds until the whole sound is there. Raises LabError."""
    begun = monotonic()
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=60.0)) as client,
        client.get(f"{url}/api/tts", params={"text": text}) as answer,
    ):
        await answer.read()
        if answer.status != 200:
            raise LabError(f"the cloud says nothing, for somebody who asks once either: {answer.status}")
    return monotonic() - begun


# ---- how attackers ask


def _only(seen: Seen, *statuses: int) -> bool:
    """Only these, and any at all."""
    return bool(seen) and set(seen) <= {str(status) for status in statuses}


async def _typed(answer: aiohttp.ClientResponse) -> str:
    """The status; `untyped` for an error whose body does not say which."""
    try:
        body = await answer.json(content_type=None)
    except ValueError:
        body = None
    if answer.status < 400:
        return str(answer.status)
    typed = isinstance(body, dict) and ("error" in body or "code" in body)
    return str(answer.status) if typed else f"untyped {answer.status}"


async def _paced(one: Callable[[int], Awaitable[str]], count: int, per_second: float) -> Seen:
    seen: Counter[str] = Counter()

    async def count_one(number: int) -> None:
        await asyncio.sleep(number / per_second)
        try:
            seen[await one(number)] += 1
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            seen[type(error).__name__] += 1

    await asyncio.gather(*(count_one(number) for number in range(count)))
    return seen


async def _raw(
    url: str, first: bytes, more: Callable[[asyncio.StreamWriter], Awaitable[None]] | None, holds: float
) -> str:
    """The outcome of a connection on which this is said: see Seen."""
    address = urlsplit(url)
    try:
        reader, writer = await asyncio.open_connection(address.hostname, address.port, local_addr=(ATTACKER, 0))
    except OSError:
        return "unreachable"
    writing: asyncio.Future[Any] | None = None
    heard = b""
    try:
        writer.write(first)
        if more is not None:
            writing = asyncio.ensure_future(more(writer))
        async with asyncio.timeout(holds):
            while heard.startswith(b"HTTP/1.1 101") or b"\r\n" not in heard:
                if not (data := await reader.read(4096)):
                    break
                heard = data if heard.startswith(b"HTTP/1.1 101") else heard + data
    except TimeoutError:
        return "open"
    except ConnectionError:
        pass
    finally:
        if writing is not None:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
        writer.transport.abort()
    words = heard.split(None, 2)
    if words and words[0].startswith(b"HTTP/"):
        return words[1].decode()
    return "socket closed with a reason" if heard else "closed"
