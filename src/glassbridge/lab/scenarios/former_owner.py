"""A bridge that stood still, or was cut off, comes back when another one serves its users already."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, contextmanager
from time import monotonic, monotonic_ns
from typing import Final

from glassbridge.lab.crowd import User
from glassbridge.lab.episode import Episode
from glassbridge.lab.faults import family, frozen
from glassbridge.lab.link_breaker import ClientLink
from glassbridge.lab.system import System

_BEFORE_SWITCH: Final = 1.0

Fault = Callable[[System], AbstractContextManager[None]]


def _losing(lose: Callable[[ClientLink], None]) -> Fault:
    @contextmanager
    def cut(system: System) -> Iterator[None]:
        lose(system.a.to_livekit)
        try:
            yield
        finally:
            system.a.to_livekit.heal()

    return cut


FAULTS: Final[dict[str, Fault]] = {
    "frozen": lambda system: frozen(*family(system.a.bridge)),
    "withheld": _losing(ClientLink.hold),
    "cut off": _losing(ClientLink.drop),
}
"""What befalls bridge A: all of it stands still, its bytes come late, or its connections are reset in the end."""


@asynccontextmanager
async def returns(
    system: System, users: list[User], fault: str, seconds: float, watched: float
) -> AsyncIterator[tuple[Episode, int]]:
    """B takes the users over while A has the fault for so many seconds, and keeps them when A is back. Gives the
    episode of the return, `watched` seconds after it, and when the users were switched (monotonic nanoseconds)."""
    with ExitStack() as faulty:
        system.say(f"A is {fault} for {seconds:.0f} s")
        faulty.enter_context(FAULTS[fault](system))
        until = monotonic() + seconds
        await asyncio.sleep(_BEFORE_SWITCH)
        switched_ns = monotonic_ns()
        for user in users:
            user.switch(system.b)
        await system.live(users, system.b)
        await asyncio.sleep(max(0.0, until - monotonic()))
        async with system.episode(users, f"A returns, {fault} for {seconds:.0f} s") as episode:
            episode.cause()
            faulty.close()
            episode.gone()
            await episode.audio(at=system.b)
            await asyncio.sleep(watched)
            yield episode, switched_ns
