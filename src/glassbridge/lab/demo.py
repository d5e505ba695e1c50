"""The demo: the whole system, a phone that speaks our clip, and a verdict on what arrived.

Figures come from the programs themselves: what the phone says it sent, how long ago the bridge heard (GetStatus), what
the cloud acknowledged, and the recording of what the recogniser was fed, which is compared with the clip bit for bit.
"""

import asyncio
import math
import random
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import grpc

from glassbridge.core.values import BYTES_PER_SAMPLE, SAMPLE_RATE, UserId
from glassbridge.lab import clips
from glassbridge.lab.program import Program
from glassbridge.lab.scene import POLL, Observer, View
from glassbridge.lab.sound import bytes_of, loudness, words_found
from glassbridge.lab.stack import Stack, StackConfig
from glassbridge.phone import wav
from glassbridge.runtime.tasks import cancelled
from glassbridge.wire.livekit_bridge_pb2_grpc import LiveKitBridgeStub

FRAME_SAMPLES = SAMPLE_RATE // 10
WORDS_WANTED = 0.8
"""Share of the clip's words that must come back."""
GIVE_UP = 120.0
_WAV_HEADER = 44


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of it."""

    passed: bool
    line: str
    """For people, in one line."""


class Demo:
    """One run."""

    def __init__(self, config: StackConfig, view: View) -> None:
        self._clip = wav.load(clips.wav())
        self._seen = Observer(view, self._clip)
        self._folder = Path()
        self._config = config

    async def run(self) -> Verdict:
        """Raises UserError when something does not start. When cancelled, everything is stopped first."""
        with tempfile.TemporaryDirectory(prefix="glassbridge-demo-") as folder:
            self._folder = Path(folder)
            self._seen.starting()
            stack = Stack(replace(self._config, record=self._folder), self._seen.on_line, self._seen.tell)
            async with stack:
                self._seen.ready(stack)
                user = demo_user()
                phone = await stack.start_phone(user, "--wav", str(clips.wav()))
                failure = await self._follow(stack, phone, user)
            return self._judge(failure)

    async def _follow(self, stack: Stack, phone: Program, user: UserId) -> str:
        """Until the phone has ended; returns why it failed, empty when it did not."""
        ended = asyncio.create_task(phone.wait())
        target = f"unix:{stack.bridge_socket}"
        try:
            async with asyncio.timeout(GIVE_UP), grpc.aio.insecure_channel(target) as channel:
                bridge = LiveKitBridgeStub(channel)  # type: ignore[no-untyped-call]
                while not ended.done():
                    await self._seen.measure(bridge, user)
                    self._measure_recording()
                    self._seen.show()
                    await asyncio.wait((ended,), timeout=POLL)
        except TimeoutError:
            return f"the phone did not end within {GIVE_UP:.0f} s"
        finally:
            await cancelled(ended)
        self._seen.part("phone", "done" if phone.returncode == 0 else "failed")
        self._seen.show()
        return "" if phone.returncode == 0 else phone.last_words

    def _measure_recording(self) -> None:
        recorded, meter = self._recorded(), self._seen.scene.meters["recogniser"]
        meter.seconds = len(recorded) / BYTES_PER_SAMPLE / SAMPLE_RATE
        meter.level = loudness(recorded[-bytes_of(POLL) :])

    def _recorded(self) -> bytes:
        return b"".join(path.read_bytes()[_WAV_HEADER:] for path in sorted(self._folder.glob("*.wav")))

    def _judge(self, failure: str) -> Verdict:
        recorded = self._recorded()
        sent = sum(self._seen.summary.get("frames", {}).values())
        received = math.ceil(len(recorded) / BYTES_PER_SAMPLE / FRAME_SAMPLES)
        text = " ".join(self._seen.scene.captions)
        spoken = clips.words()
        found = words_found(spoken, text.split())
        passed = not failure and received > 0 and found >= WORDS_WANTED * len(spoken)
        parts = [
            self._first_audio(),
            f"frames: {sent} sent, {received} received{', bit for bit' if recorded == self._clip else ''}, "
            f"{max(0, sent - received)} lost",
            f'{found} of {len(spoken)} words: "{text}"',
        ]
        if failure:
            parts.insert(0, failure)
        return Verdict(passed, f"{'PASSED' if passed else 'FAILED'}: {'; '.join(parts)}")

    def _first_audio(self) -> str:
        seen = self._seen
        if seen.live_at is None or seen.connected_at is None:
            return "no audio arrived"
        after = seen.live_at - seen.connected_at
        return f"first audio {after:.2f} s after the phone connected, {seen.live_at - seen.begun:.1f} s after the start"


def demo_user() -> UserId:
    """A name of its own for each run: a server that is used by others keeps rooms for a while."""
    return UserId(f"demo-{random.randrange(16**6):06x}")  # noqa: S311 - no secret
