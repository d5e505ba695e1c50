"""The states of the two pages that are looked at: each a way to get there, on a cloud of the test's."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from glassbridge.cloud.auth import mint_core_token
from glassbridge.cloud.flight import Flight
from glassbridge.core.flight import COLUMNS
from glassbridge.core.values import user_id
from glassbridge.lab.break_it import BreakIt
from glassbridge.lab.breakages import breakages
from glassbridge.lab.dev_control import DevControl
from glassbridge.speech.base import Transcript, Want
from glassbridge.telemetry.recorder import Seconds
from tests.cloud.conftest import ANN, SECRET, Stage
from tests.console.browser import Page
from tests.console.conftest import ADMIN
from tests.console.crowd import crowd, user

HISTORY = 90
"""Seconds that a session of a fault has behind it."""
TOLD = "document.querySelector('#truth').textContent"
SAID = "the quick brown fox jumps over the lazy dog and then it says one more long sentence so that lines wrap"


@dataclass(frozen=True)
class State:
    """`enter` brings a page there; `around` is what must stand while it is looked at."""

    name: str
    enter: Callable[[Page, Stage], Awaitable[None]]
    around: Callable[[Stage], Any] | None = None
    sessions: int = 0
    development: bool = False


@asynccontextmanager
async def stands(state: State, built: Stage) -> AsyncIterator[None]:
    """Whatever the state needs on the cloud."""
    async with AsyncExitStack() as clean:
        if state.sessions:
            await clean.enter_async_context(crowd(built, state.sessions))
        if state.around is not None:
            clean.enter_context(state.around(built))
        yield


@asynccontextmanager
async def development() -> AsyncIterator[dict[str, Any]]:
    """Options of a cloud that has buttons to break things."""
    async with BreakIt(lambda _: None) as breaking, DevControl(ADMIN, breaking) as control:
        breaking._breakages = breakages(own_phone=True)
        control.phone_page = "http://127.0.0.1/console/phone"
        yield {"dev_control": Path(control.environment["GLASSBRIDGE_DEV_CONTROL"])}


# ---- sessions with a past


@contextmanager
def at(flight: Flight, ms: int) -> Iterator[None]:
    """What is noted meanwhile happened then."""
    clock = flight.clock
    flight.clock = lambda: ms  # type: ignore[assignment]
    try:
        yield
    finally:
        flight.clock = clock


def past(built: Stage, name: str, *, heals: bool) -> Flight:
    """A session in which a bridge died, the phone went away and LiveKit was silent; `heals`: the last is over, too."""
    flight = built.cloud.sessions.flights.open(user_id(name), f"past{heals:d}{len(name):x}")
    now = flight.clock()
    second = now // 1000
    flight.seconds = Seconds(len(COLUMNS), second - HISTORY)

    def told(ago: float, kind: str, **fields: Any) -> None:
        with at(flight, now - round(1000 * ago)):
            flight.note(kind, **fields)

    def live(ago: float, transport: str = "livekit") -> None:
        told(ago, "audio state", state="live", code="", text="", hop=None, transport=transport, room_age_ms=0)

    live(HISTORY)
    told(40.0, "audio state", state="interrupted", code="bridge_died", text="the bridge is gone", hop="bridge",
         transport="websocket", room_age_ms=200)  # fmt: skip
    told(39.2, "recovery", action="join", result="joined", cause="bridge_died", generation=2, took_ms=120)
    live(38.7)
    told(27.0, "phone socket", here=False, room_age_ms=300)
    told(23.0, "phone socket", here=True)
    live(22.8)
    told(9.0, "audio state", state="interrupted", code="livekit_silent", text="LiveKit does not answer",
         hop="livekit", transport="websocket", room_age_ms=400)  # fmt: skip
    if heals:
        told(4.2, "recovery", action="join", result="joined", cause="livekit_silent", generation=3, took_ms=340)
        live(4.0)
    dead = {"bridge_out": ((40, 38),), "phone_sent": ((27, 23),), "livekit_in": ((27, 23), (9, 4 if heals else 0))}
    for ago in range(HISTORY, 0, -1):
        for number, column in enumerate(COLUMNS):
            is_dead = any(since >= ago > until for since, until in dead.get(column, ()))
            many = {"recogniser_fed": 990, "socket_sent": 0, "socket_in": 0, "recogniser_answered": ago % 3}
            flight.seconds.add(second - ago, number, 0 if is_dead else many.get(column, 10))
    for number in range(8):
        start = 1_000 * number
        flight.captions.put(now - 1_000 * (8 - number), Transcript(SAID, True, start, start + 900, id=f"u{number}"))
    return flight


@contextmanager
def trouble(built: Stage) -> Iterator[None]:
    """Each part of the system fails, and so do sessions."""
    past(built, "grace@example.com", heals=False)
    past(built, "edsger@example.org", heals=True)
    sessions = built.cloud.sessions
    sessions.speech.crowded_out, sessions.speech.slow = 3, 2
    built.rooms.silent = True
    sessions.livekit.complain()
    try:
        yield
    finally:
        built.rooms.silent = False


@contextmanager
def faults(built: Stage, *, heals: bool) -> Iterator[None]:
    past(built, "grace@example.com", heals=heals)
    yield


# ---- ways


async def console_closed(page: Page, built: Stage) -> None:
    await page.go(f"{built.url}/console")
    await page.until("document.activeElement?.id === 'token'")


async def console_refused(page: Page, built: Stage) -> None:
    await console_closed(page, built)
    await page.type("#token", "not-the-admin-token")
    await page.press("Enter")
    await page.until("!document.querySelector('#refused').hidden")


async def console_open(page: Page, built: Stage) -> None:
    await page.go(f"{built.url}/console#token={ADMIN}")
    await page.until("document.body?.dataset.ready === 'yes'")
    await page.until("document.querySelectorAll('.tile').length > 4")


async def console_healthy(page: Page, built: Stage) -> None:
    await console_open(page, built)
    await page.until(
        "[...document.querySelectorAll('.tile')].every(({dataset}) => ['ok', 'off'].includes(dataset.light))"
    )


async def console_trouble(page: Page, built: Stage) -> None:
    await console_open(page, built)
    await page.until("document.querySelectorAll('.tile[data-light=bad]').length >= 2")


async def console_session(page: Page, built: Stage, *, who: str, gaps: int) -> None:
    await console_open(page, built)
    await page.until("document.querySelectorAll('.row').length > 0")
    await page.type("#search", who)
    await page.press("ArrowDown")
    await page.press("ArrowDown")
    await page.until(f"document.querySelector('.session h2')?.textContent === '{who}'")
    await page.until(f"document.querySelectorAll('.gap-list li[data-key]').length === {gaps}")
    await page.until(f"document.querySelectorAll('.gap-layer .gap').length === {gaps}")


async def console_events(page: Page, built: Stage) -> None:
    await console_session(page, built, who="grace@example.com", gaps=3)
    await page.run("document.querySelector('.session').scrollTo(0, 1e6)")
    await page.click(".session summary")
    await page.until("document.querySelectorAll('.events li').length > 5")
    await page.run("document.querySelector('.session').scrollTo(0, 1e6)")


async def console_old(page: Page, built: Stage) -> None:
    built.cloud.sessions.flights.closed = False
    await page.call("Network.enable")
    await page.call("Network.setBlockedURLs", urls=[])
    await console_healthy(page, built)
    await page.call("Network.setBlockedURLs", urls=["*/livez", "*/api/admin/*"])
    built.cloud.sessions.flights.stop()
    await page.until("!document.querySelector('#feed').hidden", 20)


async def console_development(page: Page, built: Stage) -> None:
    await console_open(page, built)
    await page.until("document.querySelectorAll('#faults button').length > 4")


async def phone_closed(page: Page, built: Stage) -> None:
    await page.go(f"{built.url}/console/phone")
    await page.until("document.readyState === 'complete' && !!document.querySelector('#start')")


async def phone_heard(page: Page, built: Stage) -> None:
    token = mint_core_token(user_id(ANN), SECRET, 600)
    await page.go(f"{built.url}/console/phone?transport=websocket#token={token}")
    await page.until("document.querySelector('#token')?.value.length > 20")
    await page.click("#start")
    await page.until(f"{TOLD} === 'you are heard'", 20)
    [session] = [one for one in built.cloud.sessions.living if one.has_phone]
    hear = partial(session.audio.transcription.understood, asked=frozenset({Want("en-US")}))
    for number in range(5):
        hear(Transcript(SAID, True, 1_000 * number, 1_000 * number + 900, id=f"u{number}"))
    hear(Transcript("and this is not over", False, 9_000, 9_500))
    await page.until("document.querySelector('#interim').textContent === 'and this is not over'")


async def phone_muted(page: Page, built: Stage) -> None:
    await phone_heard(page, built)
    await page.press("m", "KeyM")
    await page.until(f"{TOLD} === 'your microphone is off'")


async def phone_refused(page: Page, built: Stage) -> None:
    await page.go(f"{built.url}/console/phone?transport=websocket#token=not-a-token")
    await page.until("document.querySelector('#token')?.value === 'not-a-token'")
    await page.click("#start")
    await page.until(f"{TOLD}.includes('refuses the token')", 20)


STATES = (
    State("console-closed", console_closed),
    State("console-refused", console_refused),
    State("console-empty", console_healthy),
    State("console-sessions", console_healthy, sessions=8),
    State("console-trouble", console_trouble, trouble, sessions=8),
    State("console-session", partial(console_session, who=user(1), gaps=0), sessions=3),
    State("console-dead", partial(console_session, who="grace@example.com", gaps=3), partial(faults, heals=False)),
    State("console-healed", partial(console_session, who="grace@example.com", gaps=3), partial(faults, heals=True)),
    State("console-events", console_events, partial(faults, heals=True)),
    State("console-old", console_old, sessions=3),
    State("console-development", console_development, sessions=3, development=True),
    State("phone-closed", phone_closed),
    State("phone-heard", phone_heard),
    State("phone-muted", phone_muted),
    State("phone-refused", phone_refused),
)
