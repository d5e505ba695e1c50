"""Plays the acts, one after the other, each to a freshly started phone, and judges."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from secrets import token_urlsafe
from typing import Final

from glassbridge.cloud.auth import mint_core_token
from glassbridge.lab.phone_check.acts import COMES_WITHIN, SCENES, Act
from glassbridge.lab.phone_check.promises import PROMISES, Finding, Promise, PromiseVerdict, acts_of, judge
from glassbridge.lab.phone_check.seen import Announced, Attempt, Seen, announced
from glassbridge.lab.phone_check.stage import USER, Rules, Server, Stage
from glassbridge.lab.phone_check.subject import ExaminedPhone

TOKEN_LIFE: Final = 3600.0
NO_LIVEKIT: Final = "there is no LiveKit server (--livekit)"


@dataclass
class Examination:
    """The outcome."""

    promises: Sequence[Promise]
    acts: dict[Act, Seen] = field(default_factory=dict)
    no_room: str = ""
    """Why there is no LiveKit server."""

    @property
    def phone(self) -> Announced:
        return announced({act.label: seen for act, seen in self.acts.items()})

    @property
    def findings(self) -> list[tuple[Promise, Finding]]:
        """One for each promise."""
        phone = self.phone
        return [(promise, judge(promise, self.acts, phone, self.no_room)) for promise in self.promises]

    @property
    def holds(self) -> bool:
        """Nothing is broken, and something was tested."""
        verdicts = [finding.verdict for _, finding in self.findings]
        return PromiseVerdict.BROKEN not in verdicts and PromiseVerdict.KEPT in verdicts


async def examine(
    phone: ExaminedPhone,
    server: Server | None,
    promises: Sequence[Promise] = PROMISES,
    say: Callable[[str], None] = lambda _: None,
    acts: Iterable[Act] | None = None,
) -> Examination:
    """Raises UserError where the phone cannot be started. When cancelled, the phone is stopped."""
    found = Examination(promises, no_room="" if server is not None else NO_LIVEKIT)
    for act in acts_of(promises) if acts is None else acts:
        if act.room and server is None:
            continue
        say(f"act {act.label}: {act.about}")
        found.acts[act] = await play(act, phone, server)
        if not found.phone.sockets:
            break  # it will not come to the other acts either
    return found


async def play(act: Act, phone: ExaminedPhone, server: Server | None) -> Seen:
    """One act."""
    token = mint_core_token(USER, token_urlsafe(32), TOKEN_LIFE)
    scene = SCENES[act]
    async with Stage(act.label, token, server) as stage:
        stage.rules = Rules(**{name: getattr(scene.rules, name) for name in Rules.__dataclass_fields__})
        if server is None:
            stage.rules.room = False
        try:
            await phone.start(stage.url, token)
            if await stage.until(lambda: stage.seen.first(Attempt) is not None, COMES_WITHIN):
                await scene.play(stage)
            stage.did("end")
        finally:
            stage.seen.ended = await phone.stop()
    return stage.seen
