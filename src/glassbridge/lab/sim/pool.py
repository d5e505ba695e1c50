"""The bridges as a cloud sees them: what cloud/bridge_client.py does, over modelled calls."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from glassbridge.core.audio_link import BridgeFault
from glassbridge.core.values import Generation, LossReason, UserId
from glassbridge.lab.sim.bridge import Worker, agent_token
from glassbridge.lab.sim.net import Link
from glassbridge.lab.sim.rpc import Channel, ClientCall
from glassbridge.lab.sim.world import Process

POLL = 1.0
"""Seconds between questions to a bridge; here it is asked only while something may be wrong, which costs less."""
CALL_TIMEOUT = 2.0
JOIN_TIMEOUT = 8.0


@dataclass(slots=True, eq=False)
class BridgeRef:
    """One worker of a bridge, seen from a cloud."""

    worker: Worker
    channel: Channel
    alive: bool = True
    load: int = 0
    seats: int = 0
    asking: bool = False


class Seat:
    """A place that a bridge holds for a session, and its stream. Single use."""

    def __init__(self, bridge: BridgeRef, process: Process, user: UserId, generation: Generation) -> None:
        self.bridge = bridge
        self.generation = generation
        self._process = process
        self._user = user
        self._call: ClientCall | None = None
        self.joined = False
        self.heard_at: float | None = None
        """When anything came by the stream."""
        bridge.seats += 1
        self._counted = True

    def join(self, token_life: float, done: Callable[[Any, Generation], None]) -> None:
        """JoinRoom with a fresh token: `done(None, 0)` or `done(trouble, generation of the bridge)`."""

        def answered(answer: Any) -> None:
            if isinstance(answer, BridgeFault):
                done(answer, Generation(0))
            else:
                joined, reason, above = answer
                done(None if joined else reason, above)

        token = agent_token(self._user, self._process.unix_ms(), token_life)
        self._process.note("join asked", self._user, self.generation, self.bridge.worker.process.name)
        self._call = self.bridge.channel.call(
            self.bridge.worker.join, self._user, self.generation, token, JOIN_TIMEOUT,
            deadline=JOIN_TIMEOUT, on_end=answered,
        )  # fmt: skip

    def listen(self, on_chunk: Callable[[Any], None], on_end: Callable[[Any], None]) -> None:
        """Opens the audio stream."""
        self.joined = True

        def chunk(message: Any) -> None:
            self.heard_at = self._process.clock()
            on_chunk(message)

        self._call = self.bridge.channel.call(
            self.bridge.worker.stream, self._user, self.generation, deadline=None, on_message=chunk, on_end=on_end
        )

    def status(self, timeout: float, done: Callable[[Any, Any], None]) -> None:
        """GetStatus: `done(trouble or None, BridgeSays or None)`."""

        def answered(answer: Any) -> None:
            if isinstance(answer, BridgeFault):
                done(answer, None)
                return
            generation, connected, last, says = answer
            if generation not in (0, self.generation):
                done(LossReason.REPLACED, says)
            else:
                done(None if connected else last or LossReason.SUPERSEDED, says)

        self.bridge.channel.call(self.bridge.worker.status, self._user, deadline=timeout, on_end=answered)

    def leave(self, done: Callable[[], None]) -> None:
        """LeaveRoom of this generation."""
        self.bridge.channel.call(
            self.bridge.worker.leave, self._user, self.generation, deadline=CALL_TIMEOUT, on_end=lambda _answer: done()
        )

    def release(self) -> None:
        """Cancels what is open; idempotent."""
        if self._call is not None:
            self._call.cancel()
        if self._counted:
            self._counted = False
            self.bridge.seats -= 1


class Pool:
    """All bridges of one cloud."""

    def __init__(self, process: Process, on_back: Callable[[], None]) -> None:
        self.process = process
        self.bridges: list[BridgeRef] = []
        self._on_back = on_back

    def add(self, worker: Worker, link: Link) -> None:
        """One more worker, over this link."""
        ref = BridgeRef(worker, Channel(self.process, link, lambda: self.suspect(ref)))
        self.bridges.append(ref)
        worker.process.watchers.append(lambda: self._world_changed(ref))

    def start(self) -> None:
        """A new life of the cloud: nothing is known yet."""
        for ref in self.bridges:
            ref.alive, ref.load, ref.seats, ref.asking = False, 0, 0, False
            self._watch(ref)

    def drop(self) -> None:
        """The cloud has died."""
        for ref in self.bridges:
            ref.channel.drop()

    def by_load(self, but: BridgeRef | None = None) -> list[BridgeRef]:
        """The live ones, least loaded first, `but` last; where none is, all."""
        live = [ref for ref in self.bridges if ref.alive] or self.bridges
        return sorted(live, key=lambda ref: (ref is but, max(ref.load, ref.seats)))

    def suspect(self, ref: BridgeRef) -> None:
        """A call or the connection failed: it does not answer until it does."""
        self.set_alive(ref, False)

    def set_alive(self, ref: BridgeRef, alive: bool) -> None:
        """What is known of a bridge; who waits for one hears when it is back."""
        if ref.alive != alive:
            ref.alive = alive
            self.process.note("bridge answers" if alive else "bridge silent", "", ref.worker.process.name)
            if alive:
                self._on_back()
        if not alive:
            self._watch(ref)

    def _world_changed(self, ref: BridgeRef) -> None:
        if self.process.running:
            self._watch(ref)

    def _watch(self, ref: BridgeRef) -> None:
        if not ref.asking and self.process.running:
            ref.asking = True
            self.process.after(self.process.world.chance.random() * POLL, self._ask, ref)

    def _ask(self, ref: BridgeRef) -> None:
        ref.channel.call(ref.worker.health, deadline=CALL_TIMEOUT, on_end=partial(self._answered, ref))

    def _answered(self, ref: BridgeRef, answer: Any) -> None:
        ref.asking = False
        if isinstance(answer, BridgeFault):
            self.set_alive(ref, False)
            return
        ref.load, serving = answer
        self.set_alive(ref, serving)
        if not ref.worker.process.awake:
            self._watch(ref)
