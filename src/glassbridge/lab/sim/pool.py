"""The bridges as a cloud sees them: what cloud/bridge_client.py does, over modelled calls."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from glassbridge.cloud.bridge_client import SeatStatus, refusal_of, status_of, trouble_of
from glassbridge.core.recovery import Trouble
from glassbridge.core.values import Generation, LossReason, UserId, agent_identity
from glassbridge.lab.sim.bridge import Worker
from glassbridge.lab.sim.livekit import Token
from glassbridge.lab.sim.net import Link
from glassbridge.lab.sim.rpc import Channel, ClientCall, Ended
from glassbridge.lab.sim.world import Process
from glassbridge.wire import livekit_bridge_pb2 as pb

POLL = 1.0
"""Seconds between questions to a bridge; here it is asked only while something may be wrong, which costs less."""
CALL_TIMEOUT = 2.0
JOIN_TIMEOUT = 8.0
HEARTBEAT = 5.0
NONE = Generation(0)


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

    def join(self, token_life: float, done: Callable[[Trouble | None, Generation], None]) -> None:
        """JoinRoom with a fresh token: `done(None, 0)` or `done(trouble, generation of the bridge)`."""

        def answered(answer: Any) -> None:
            if isinstance(answer, Ended):
                done(trouble_of(answer.code, answer.trailing), NONE)
            elif answer.success:
                done(None, NONE)
            elif (trouble := refusal_of(answer)) is LossReason.REPLACED:
                self.status(CALL_TIMEOUT, lambda status: done(trouble, status.generation))
            else:
                done(trouble, NONE)

        ends = self._process.unix_ms() + int(token_life * 1000)
        request = pb.JoinRoomRequest(
            user_id=self._user,
            room_name=self._user,
            token=str(Token(self._user, agent_identity(self._user), ends)),
            livekit_url="ws://livekit",
            target_identity=self._user,
            generation=self.generation,
        )
        self._process.note("join asked", self._user, self.generation, self.bridge.worker.process.name)
        self._call = self.bridge.channel.call("JoinRoom", request, deadline=JOIN_TIMEOUT, on_end=answered)

    def listen(self, on_chunk: Callable[[pb.AudioChunk], None], on_end: Callable[[Trouble], None]) -> None:
        """Opens the audio stream."""
        self.joined = True

        def chunk(message: pb.AudioChunk) -> None:
            self.heard_at = self._process.clock()
            if not message.heartbeat:
                on_chunk(message)

        def ended(end: Ended) -> None:
            on_end(trouble_of(end.code, end.trailing))

        call = self.bridge.channel.call("StreamAudio", None, deadline=None, on_message=chunk, on_end=ended)
        self._call = call
        call.say(pb.AudioChunk(user_id=self._user, generation=self.generation))
        self._process.after(HEARTBEAT, self._beat, call)

    def _beat(self, call: ClientCall) -> None:
        if not call.over:
            call.say(pb.AudioChunk(user_id=self._user, generation=self.generation, heartbeat=True))
            self._process.after(HEARTBEAT, self._beat, call)

    def status(self, timeout: float, done: Callable[[SeatStatus], None]) -> None:
        """GetStatus."""

        def answered(answer: Any) -> None:
            if isinstance(answer, Ended):
                done(SeatStatus(trouble_of(answer.code, answer.trailing), None))
            else:
                done(status_of(answer, self.generation))

        request = pb.BridgeStatusRequest(user_id=self._user)
        self.bridge.channel.call("GetStatus", request, deadline=timeout, on_end=answered)

    def leave(self, done: Callable[[], None]) -> None:
        """LeaveRoom of this generation."""
        request = pb.LeaveRoomRequest(user_id=self._user, generation=self.generation)
        self.bridge.channel.call("LeaveRoom", request, deadline=CALL_TIMEOUT, on_end=lambda _answer: done())

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
        ref = BridgeRef(worker, Channel(self.process, link, worker.server, lambda: self.suspect(ref)))
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
        ref.channel.call(
            "HealthCheck", pb.HealthCheckRequest(), deadline=CALL_TIMEOUT, on_end=partial(self._answered, ref)
        )

    def _answered(self, ref: BridgeRef, answer: Any) -> None:
        ref.asking = False
        if isinstance(answer, Ended):
            self.set_alive(ref, False)
            return
        ref.load = answer.active_sessions
        self.set_alive(ref, answer.status != pb.HealthCheckResponse.NOT_SERVING)
        if not ref.worker.process.awake:
            self._watch(ref)
