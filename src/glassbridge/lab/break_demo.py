"""`glassbridge demo --break`: a phone that speaks without end, and keys that break the system under it."""

import asyncio
from dataclasses import replace
from time import monotonic

import grpc

from glassbridge.core.values import UserId
from glassbridge.lab import clips
from glassbridge.lab.break_it import BreakIt
from glassbridge.lab.breakages import NEEDED
from glassbridge.lab.demo import DemoResult, demo_user
from glassbridge.lab.program import Line
from glassbridge.lab.scene import POLL, Observer, View
from glassbridge.lab.stack import Stack, StackConfig
from glassbridge.phone import wav
from glassbridge.runtime.errors import UserError
from glassbridge.runtime.tasks import cancelled
from glassbridge.wire.livekit_bridge_pb2_grpc import LiveKitBridgeStub

LIVE_WITHIN = 20.0


class BreakDemo:
    """One run."""

    def __init__(self, config: StackConfig, view: View) -> None:
        self._config = config
        self._seen = Observer(view, wav.load(clips.wav()))

    async def run(self) -> DemoResult:
        """Until `q`. Raises UserError when something does not start. When cancelled, everything is stopped first."""
        seen = self._seen
        seen.starting()
        async with BreakIt(seen.tell) as breaking:

            def on_line(line: Line) -> None:
                seen.on_line(line)
                breaking.on_line(line)

            async with Stack(replace(self._config, taps=breaking.taps, **NEEDED), on_line, seen.tell) as stack:
                seen.ready(stack)
                user = demo_user()
                await stack.start_phone(user, "--wav", str(clips.wav()), "--loop", "--control")
                showing = asyncio.create_task(self._show(stack, user, breaking))
                try:
                    await self._until_heard(breaking)
                    await breaking.run(stack)
                finally:
                    await cancelled(showing)
        if breaking.failed:
            return DemoResult(False, "FAILED: audio did not come back each time")
        return DemoResult(True, f"PASSED: audio came back after each of {len(breaking.former)} fault(s)")

    async def _until_heard(self, breaking: BreakIt) -> None:
        try:
            async with asyncio.timeout(LIVE_WITHIN):
                await breaking.sounds.wait()
        except TimeoutError:
            raise UserError(
                f"no audio after {LIVE_WITHIN:.0f} s: see the lines above, and `glassbridge doctor`"
            ) from None

    async def _show(self, stack: Stack, user: UserId, breaking: BreakIt) -> None:
        scene = self._seen.scene
        async with grpc.aio.insecure_channel(f"unix:{stack.backends[0].sockets[0]}") as channel:
            bridge = LiveKitBridgeStub(channel)  # type: ignore[no-untyped-call]
            while True:
                await self._seen.measure(bridge, user)
                now = monotonic()
                meter = scene.meters["recogniser"]
                meter.seconds = breaking.seconds
                meter.level = 1.0 if now - breaking.heard_at < 2 * POLL else 0.0
                scene.keys, scene.trouble = breaking.legend, breaking.trouble(now)
                self._seen.show()
                await asyncio.sleep(POLL)
