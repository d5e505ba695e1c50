"""`glassbridge bench phones`: what a phone that says nothing costs a cloud, and how soon many are back at once.

One cloud, without bridge and LiveKit, and processes full of phones that ping each second. One more process holds a few
phones that nothing happens to: what their pongs take while the others come back is what others feel of it. Then the
same for a server that does nothing else (lab/idle_floor.py): the ratio of both holds on any machine.
"""

import asyncio
import json
import secrets
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from statistics import median
from time import monotonic
from typing import Any, Final

import psutil

from glassbridge.lab.program import Program
from glassbridge.lab.readiness import Http, until
from glassbridge.livekit.server import LOOPBACK, free_port
from glassbridge.runtime.errors import UserError

IN_ONE: Final = 5_000
"""Phones of one process."""
BYSTANDERS: Final = 20
SETTLE: Final = 5.0
"""Seconds until nothing of the phones' coming is left to do."""
COME_WITHIN: Final = 180.0
MUST: Final = {"bytes_each": 35_000, "core_at_rest": 0.25, "back_s": 1.0, "others_waited_s": 0.2}
"""By figure, the most that docs/limits.md allows; of 10,000 phones, 1,000 of which come back."""


@dataclass(frozen=True, slots=True)
class PhonesBench:
    """How much is measured."""

    phones: int = 10_000
    back: int = 1_000
    storms: int = 3
    seconds: float = 20.0
    """At rest."""


class _Crowd:
    """A process of phones."""

    def __init__(self, name: str, config: Mapping[str, Any]) -> None:
        self._config = config
        self.program = Program(name, (), {}, module="glassbridge.lab.idle_phones")

    async def start(self) -> None:
        await self.program.start()
        self.program.tell(json.dumps(self._config))
        await self._told("ready", 1)

    async def do(self, answer: str, **command: Any) -> Mapping[str, Any]:
        """Raises UserError."""
        count = len(self.program.events(answer)) + 1
        self.program.tell(json.dumps(command))
        return await self._told(answer, count)

    async def _told(self, event: str, count: int) -> Mapping[str, Any]:
        deadline = monotonic() + COME_WITHIN
        while len(found := self.program.events(event)) < count:
            if not self.program.running or monotonic() > deadline:
                raise UserError(f"the phones do not go on: {self.program.last_words}")
            await asyncio.sleep(0.01)
        return found[-1]


async def measure(config: PhonesBench, say: Callable[[str], None]) -> dict[str, Any]:
    """The figures of a cloud, and beside them those of a server that only answers pings. Raises UserError."""
    secret, ports = secrets.token_urlsafe(32), (free_port(), free_port())
    env = {
        "AUGMENTOS_AUTH_JWT_SECRET": secret,
        "AUGMENTOS_AUTH_JWT_SECRET_FILE": "",
        "LIVEKIT_URL": "ws://127.0.0.1:9",
        "LIVEKIT_API_KEY": "bench",
        "LIVEKIT_API_SECRET": secrets.token_urlsafe(32),
        "LIVEKIT_API_SECRET_FILE": "",
        "LIVEKIT_GRPC_SOCKET": "",
        "GLASSBRIDGE_LOG_LEVEL": "error",
        "GLASSBRIDGE_MAX_SESSIONS": str(config.phones + BYSTANDERS),
        "GLASSBRIDGE_CONNECTIONS": str(2 * config.phones + 1_000),
        "GLASSBRIDGE_CONNECTIONS_PER_ADDRESS": str(config.phones + 1_000),
    }
    cloud = Program("cloud", ("cloud", "--host", LOOPBACK, "--port", str(ports[0])), env)
    bare = Program("floor", (str(ports[1]),), {}, module="glassbridge.lab.idle_floor")
    report = await _measure(cloud, ports[0], secret, config, say)
    floor = await _measure(bare, ports[1], secret, replace(config, storms=1), say)
    holds = {name: report[name] <= most for name, most in MUST.items()} | {"none_lost": not report["lost"]}
    ratios = {name: report[name] / floor[name] for name in MUST if floor[name]}
    return {**report, "floor": floor, "to_floor": ratios, "holds": holds}


async def _measure(
    server: Program, port: int, secret: str, config: PhonesBench, say: Callable[[str], None]
) -> dict[str, Any]:
    url = f"http://{LOOPBACK}:{port}"
    async with AsyncExitStack() as clean:
        http = await clean.enter_async_context(Http())
        clean.push_async_callback(server.stop, 20.0)
        await server.start()
        await until(lambda: http.answers(f"{url}/readyz"), server)
        process = psutil.Process(server.pid)

        def crowd(name: str, first: int, phones: int) -> _Crowd:
            made = _Crowd(name, {"url": url, "secret": secret, "first": first, "phones": phones})
            clean.push_async_callback(made.program.stop, 5.0)
            return made

        beside = crowd("bystanders", config.phones, BYSTANDERS)
        crowds = [
            crowd(f"phones-{first}", first, min(IN_ONE, config.phones - first))
            for first in range(0, config.phones, IN_ONE)
        ]
        for one in (beside, *crowds):
            await one.start()
        await beside.do("here", do="come")
        await asyncio.sleep(SETTLE)
        empty = process.memory_info().rss
        came = [(await one.do("here", do="come"))["seconds"] for one in crowds]
        say(f"{server.name}: {config.phones} phones are here after {sum(came):.1f} s")
        await asyncio.sleep(SETTLE)
        full = process.memory_info().rss
        await beside.do("looked", do="look")
        cores = await _cores(process, config.seconds)
        at_rest = await beside.do("looked", do="look")
        storms = []
        for _ in range(config.storms):
            back = (await crowds[0].do("back", do="come back", phones=config.back))["seconds"]
            storms.append((back, (await beside.do("looked", do="look"))["longest"]))
            await asyncio.sleep(SETTLE)
        lost = sum([(await one.do("looked", do="look"))["lost"] for one in (beside, *crowds)])
        return {
            "phones": config.phones,
            "back": config.back,
            "base_bytes": empty,
            "bytes_each": (full - empty) / config.phones,
            "core_at_rest": cores,
            "back_s": median(back for back, _ in storms),
            "others_waited_s": max(waited for _, waited in storms),
            "others_waited_at_rest_s": at_rest["longest"],
            "storms": storms,
            "lost": lost,
            "accepted_per_s": config.phones / sum(came),
        }


async def _cores(process: psutil.Process, seconds: float) -> float:
    before, begun = process.cpu_times(), monotonic()
    await asyncio.sleep(seconds)
    after = process.cpu_times()
    return (after.user + after.system - before.user - before.system) / (monotonic() - begun)


def table(report: Mapping[str, Any]) -> str:
    """For people."""
    floor = report["floor"]
    rows = [
        (f"memory of each of {report['phones']} idle phones", "bytes_each", 1e-3, "kB"),
        ("processor at rest, a ping of each a second", "core_at_rest", 1.0, "core"),
        (f"{report['back']} phones back at once", "back_s", 1.0, "s"),
        ("others' longest pong meanwhile", "others_waited_s", 1.0, "s"),
    ]
    lines = [f"{'':48} {'the cloud':>12} {'the floor':>12}"]
    lines += [
        f"{what:48} {scale * report[name]:>7.3g} {unit:4} {scale * floor[name]:>7.3g} {unit:4}  "
        f"{'' if report['holds'][name] else f'over {scale * MUST[name]:g} {unit}'}"
        for what, name, scale, unit in rows
    ]
    lines.append(f"{'sockets that the server closed':48} {report['lost']:>12} {floor['lost']:>12}")
    accepted = "phones accepted in a second, 50 at a time"
    lines.append(f"{accepted:48} {report['accepted_per_s']:>12.0f} {floor['accepted_per_s']:>12.0f}")
    base = "the server without them"
    lines.append(f"{base:48} {report['base_bytes'] / 1e6:>9.0f} MB {floor['base_bytes'] / 1e6:>9.0f} MB")
    return "\n".join(line.rstrip() for line in lines)
