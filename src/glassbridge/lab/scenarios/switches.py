"""F2, F3, F4, F8: phones that move between two backends that share one LiveKit."""

import asyncio
from dataclasses import replace
from functools import partial
from time import monotonic, monotonic_ns

from glassbridge.app import Session
from glassbridge.lab import judge
from glassbridge.lab.backend import Backend
from glassbridge.lab.crowd import User
from glassbridge.lab.needs import LabError, Needs
from glassbridge.lab.scenario import APPS, always, most, never, p95, scenario
from glassbridge.lab.system import System

TWO = Needs(backends=2)
TWO_WITH_APPS = Needs(backends=2, witnesses=True)
THERE = (p95("there_tta_s", 2.0), p95("there_told_s", 4.0))
BACK = (p95("tta_s", 2.0), most("untold_s", 4.0), always("says_live"))


async def move(system: System, users: list[User], to: Backend, label: str, prefix: str = "") -> None:
    """One switch; audio must come out there."""
    async with system.episode(users, label, prefix) as episode:
        for user in users:
            user.switch(to)
        episode.gone()
        await episode.audio(within=10, at=to)
        await system.live(users, to)


async def until_away(begun_ns: int, seconds: float) -> None:
    """Until so many seconds after the phones have left."""
    await asyncio.sleep(max(0.0, seconds - (monotonic_ns() - begun_ns) / 1e9))


async def there_and_back(system: System, seconds: float) -> None:
    """A still has the session, and takes the user back from B. The app that A runs is not even disconnected."""
    users = await system.speaking()
    sessions = {user: user.session for user in users}
    apps = {user: await app_at(system, user, system.a) for user in users}
    left = monotonic_ns()
    await move(system, users, system.b, f"to B, for {seconds:g} s", "there_")
    await until_away(left, seconds)
    async with system.episode(users, f"back to A after {seconds:g} s") as episode:
        for user in users:
            user.switch(system.a)
        episode.gone()
        await episode.audio(within=10, at=system.a)
        await system.live(users, system.a)
        for user in users:
            heard = judge.first_new(user.index, system.app.blocks[user.id], episode.gone_ns, apps[user].session_id)
            episode.note(
                user,
                same_session=float(user.session == sessions[user]),
                app_stays=float(apps[user].connected and apps[user] not in system.app.ended),
                app_tta_s=judge.seconds(episode.gone_ns, heard),
            )


async def app_at(system: System, user: User, backend: Backend) -> Session:
    """The app's session that hears the user at this backend now. Raises LabError."""
    since, deadline = monotonic_ns(), monotonic() + 10
    while monotonic() < deadline:
        for session in system.app.sessions[user.id]:
            hears = judge.first_new(user.index, system.app.blocks[user.id], since, session.session_id)
            if hears is not None and user.backend is backend:
                return session
        await asyncio.sleep(0.05)
    raise LabError(f"the app of {user.id} hears nothing at {backend.name}")


for name, away, runs in (("F2a", 3, 2), ("F2b", 10, 2), ("F2c", 59, 3)):
    scenario(
        name,
        f"A to B and back to A after {away} s, inside grace",
        story="S-2, S-4, S-9",
        needs=replace(TWO_WITH_APPS, app=True),
        must=(
            *THERE,
            *BACK,
            always("same_session"),
            most("joins", 2),
            always("app_stays"),
            p95("app_tta_s", 2.0),
            *APPS,
        ),
        runs=runs,
        sdk=True,
    )(partial(there_and_back, seconds=away))


@scenario(
    "F3",
    "A to B and back to A after grace",
    story="S-13",
    needs=TWO_WITH_APPS,
    must=(
        *THERE,
        *BACK,
        never("same_session"),
        never("cleanup_joins"),
        never("cleanup_lost"),
        most("cleanup_hole_s", 1.0),
        *APPS,
    ),
    runs=3,
)
async def after_grace(system: System) -> None:
    """Return after 65 s. What A clears away at 60 s is only its own: at B nobody notices."""
    users = await system.speaking()
    sessions = {user: user.session for user in users}
    left = monotonic_ns()
    await move(system, users, system.b, "to B, for 65 s", "there_")
    await until_away(left, 58)
    async with system.episode(users, "A's sessions end", "cleanup_") as episode:
        episode.gone()
        await until_away(left, 64)
    await until_away(left, 65)
    async with system.episode(users, "back to A after 65 s") as episode:
        for user in users:
            user.switch(system.a)
        episode.gone()
        await episode.audio(within=10, at=system.a)
        await system.live(users, system.a)
        await asyncio.sleep(2)  # whatever comes late
        for user in users:
            episode.note(user, same_session=float(user.session == sessions[user]))


@scenario(
    "F4a",
    "5 switches in 60 s",
    story="S-12",
    needs=TWO_WITH_APPS,
    must=(*BACK, most("joins", 2), *APPS),
    runs=2,
)
async def slow_switches(system: System) -> None:
    """One each 12 s; audio after each."""
    users = await system.speaking()
    for number in range(1, 6):
        begun = monotonic_ns()
        await move(system, users, (system.a, system.b)[number % 2], f"switch {number}")
        await until_away(begun, 12)


@scenario(
    "F4b",
    "20 switches in 10 s",
    story="S-12, S-14",
    needs=TWO_WITH_APPS,
    must=(*BACK, most("joins", 21), *APPS),
    runs=2,
)
async def quick_switches(system: System) -> None:
    """Nothing can settle in between; audio is waited for after the last."""
    users = await system.speaking()
    async with system.episode(users, "20 switches") as episode:
        episode.moves = 20
        episode.cause()
        for number in range(1, 21):
            to = (system.a, system.b)[number % 2]
            for user in users:
                user.switch(to)
            if number < 20:
                await asyncio.sleep(0.5)
        episode.gone()
        await episode.audio(within=10, at=to)
        await system.live(users, to)


@scenario(
    "F8",
    "region switch with the old room still open",
    story="S-10",
    needs=TWO,
    must=(*BACK, always("left_first"), always("token_of_new"), never("token_of_old")),
    runs=2,
)
async def region_switch(system: System) -> None:
    """The phone leaves the old room before it joins the new one, and has its token from where it goes."""
    users = await system.speaking()
    since = monotonic_ns()
    async with system.episode(users, "A to B") as episode:
        for user in users:
            user.switch(system.b)
        episode.gone()
        await episode.audio(within=10, at=system.b)
        await system.live(users, system.b)
        for user in users:
            room = [event["state"] for event in user.events if event["event"] == "room" and event["t_ns"] >= since]
            minted = [line["program"] for line in system.logged("LiveKit token minted", user, since, holder="phone")]
            episode.note(
                user,
                left_first=float(room[:2] == ["left", "joined"]),
                token_of_new=float(system.b.cloud.name in minted),
                token_of_old=float(system.a.cloud.name in minted),
            )
