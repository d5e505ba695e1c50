"""The demo: the whole system, a phone that speaks our clip, an app that answers, and a verdict on what arrived.

Figures come from the programs themselves: what the phone says it sent, how long ago the bridge heard (GetStatus), what
the cloud acknowledged, the recording of what the recogniser was fed, which is compared with the clip bit for bit, and
what the phone heard, which is compared with the answer as the cloud's voice says it.
"""

import asyncio
import math
import random
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic

import grpc

from glassbridge.cloud.apps.registry import TomlRegistry, new_app
from glassbridge.core.values import BYTES_PER_SAMPLE, SAMPLE_RATE, UserId
from glassbridge.core.words import normalised
from glassbridge.lab import clips
from glassbridge.lab.answer import ALIKE, likeness, spoken_answer
from glassbridge.lab.demo_app import ANSWER, PACKAGE, is_question
from glassbridge.lab.impaired import SERVER, Wire
from glassbridge.lab.networks import Cell
from glassbridge.lab.overheard import Overheard, Share
from glassbridge.lab.program import Line, Program
from glassbridge.lab.scene import POLL, Observer, View
from glassbridge.lab.sound import bytes_of, loudness, words_found
from glassbridge.lab.stack import Stack, StackConfig
from glassbridge.livekit.server import free_port
from glassbridge.phone import wav
from glassbridge.runtime.tasks import cancelled
from glassbridge.wire.livekit_bridge_pb2_grpc import LiveKitBridgeStub

FRAME_SAMPLES = SAMPLE_RATE // 10
WORDS_WANTED = 0.8
"""Share of the clip's words that must come back, compared as core/words.py says."""
GIVE_UP = 120.0
ANSWER_WITHIN = 20.0
"""Seconds after the captions in which the answer must have been heard."""
APP_GRACE = 1.0
_WAV_HEADER = 44


@dataclass(frozen=True, slots=True)
class DemoResult:
    """The outcome."""

    passed: bool
    line: str
    """For people, in one line."""


class Demo:
    """One run."""

    def __init__(self, config: StackConfig, view: View, network: Cell | None = None) -> None:
        """`network` lies between the phone and the rest; only in a network namespace of our own (lab/impaired.py)."""
        self._network = network
        self._share: Share | None = None
        self._clip = wav.load(clips.wav())
        self._seen = Observer(view, self._clip)
        self._folder = Path()
        self._app_said: set[str] = set()
        self._answer: bytes | None = None
        """As the cloud's voice says it; None: it has none."""
        self._captioned_at: float | None = None
        self._config = config
        self._seen.scene.parts["app"] = "-"

    async def run(self) -> DemoResult:
        """Raises UserError when something does not start. When cancelled, everything is stopped first."""
        with tempfile.TemporaryDirectory(prefix="glassbridge-demo-") as folder:
            self._folder = Path(folder)
            port = free_port()
            record, key = new_app(PACKAGE, f"http://127.0.0.1:{port}", "Assistant", ["MICROPHONE"])
            TomlRegistry(self._registry).add(record)
            env = {"APP_KEY": key, "APP_PORT": str(port)}
            app = Program("app", (), env, self._on_app, module="glassbridge.lab.demo_app")
            self._seen.starting()
            config = replace(self._config, record=self._folder, apps=self._registry)
            await app.start()
            try:
                play = self._play if self._network is None else self._play_behind
                failure = await play(config)
            finally:
                await app.stop(APP_GRACE)
            return self._judge(failure)

    async def _play_behind(self, config: StackConfig) -> str:
        """On the network that was asked for."""
        assert self._network is not None
        tap, user = self._folder / "tap", demo_user()
        async with Wire(random.Random()) as wire:  # noqa: S311 - no secret
            wire.begin(self._network.upward, self._network.both)
            with Overheard(tap) as heard:
                failure = await self._play(replace(config, host=SERVER, taps={"A": tap}), user, wire.prefix)
                self._share = heard.share(user, len(self._clip) / BYTES_PER_SAMPLE / SAMPLE_RATE)
        return failure

    async def _play(self, config: StackConfig, user: UserId | None = None, prefix: tuple[str, ...] = ()) -> str:
        """Returns why it failed, empty when it did not."""
        async with Stack(config, self._seen.on_line, self._seen.tell) as stack:
            self._seen.ready(stack)
            user = user or demo_user()
            clip = ("--wav", str(clips.wav()), *(() if self._network else ("--audio", "pcm")))  # which compares bits
            arguments = (*clip, "--control", "--app", PACKAGE, "--hear", str(self._heard))
            phone = await stack.start_phone(user, *arguments, prefix=prefix)
            self._answer = await spoken_answer(stack.cloud_url, stack.core_token(user))
            return await self._follow(stack, phone, user)

    async def _follow(self, stack: Stack, phone: Program, user: UserId) -> str:
        """Until the phone has ended; returns why it failed, empty when it did not."""
        ended = asyncio.create_task(phone.wait())
        target = f"unix:{stack.bridge_socket}"
        told_to_quit = False
        try:
            async with asyncio.timeout(GIVE_UP), grpc.aio.insecure_channel(target) as channel:
                bridge = LiveKitBridgeStub(channel)  # type: ignore[no-untyped-call]
                while not ended.done():
                    await self._seen.measure(bridge, user)
                    self._measure_recording()
                    self._seen.show()
                    if not told_to_quit and self._is_over(phone):
                        told_to_quit = True
                        phone.tell("quit")
                    await asyncio.wait((ended,), timeout=POLL)
        except TimeoutError:
            return f"the phone did not end within {GIVE_UP:.0f} s"
        finally:
            await cancelled(ended)
        self._seen.part("phone", "done" if phone.returncode == 0 else "failed")
        self._seen.show()
        errors = phone.events("error")
        return str(errors[0]["message"]) if errors else "" if phone.returncode == 0 else phone.last_words

    def _is_over(self, phone: Program) -> bool:
        """All was said, captioned and answered; or will never be."""
        if phone.events("error"):
            return True
        if not phone.events("speech_end"):
            return False
        self._captioned_at = self._captioned_at or monotonic()
        asked = any(is_question(caption) for caption in self._seen.scene.captions)
        waits = asked and self._answer is not None and monotonic() - self._captioned_at < ANSWER_WITHIN
        return not waits or "answered" in self._app_said or "cannot" in self._app_said

    def _on_app(self, line: Line) -> None:
        word = line.text.partition(" ")[0]
        if not line.log and word in ("asked", "answered", "cannot"):
            self._app_said.add(word)
            self._seen.part("app", line.text)

    @property
    def _heard(self) -> Path:
        return self._folder / "heard.wave"

    @property
    def _registry(self) -> Path:
        return self._folder / "apps.toml"

    def _measure_recording(self) -> None:
        recorded, meter = self._recorded(), self._seen.scene.meters["recogniser"]
        meter.seconds = len(recorded) / BYTES_PER_SAMPLE / SAMPLE_RATE
        meter.level = loudness(recorded[-bytes_of(POLL) :])

    def _recorded(self) -> bytes:
        return b"".join(path.read_bytes()[_WAV_HEADER:] for path in sorted(self._folder.glob("*.wav")))

    def _judge(self, failure: str) -> DemoResult:
        recorded = self._recorded()
        sent = sum(self._seen.summary.get("frames", {}).values())
        received = math.ceil(len(recorded) / BYTES_PER_SAMPLE / FRAME_SAMPLES)
        text = " ".join(self._seen.scene.captions)
        spoken = clips.words()
        found = words_found(spoken, normalised(text))
        alike = likeness(self._answer, self._heard) if self._answer is not None else 0.0
        answered = self._answer is None or alike >= ALIKE or self._network is not None  # it comes by a track
        passed = not failure and received > 0 and found >= WORDS_WANTED * len(spoken) and answered
        parts = [
            self._first_audio(),
            self._on_the_sound(sent, received, same=recorded == self._clip),
            f'{found} of {len(spoken)} words: "{text}"',
            self._on_the_answer(alike),
        ]
        if failure:
            parts.insert(0, failure)
        return DemoResult(passed, f"{'PASSED' if passed else 'FAILED'}: {'; '.join(parts)}")

    def _on_the_sound(self, sent: int, received: int, *, same: bool) -> str:
        if self._network is None or self._share is None:
            return (
                f"frames: {sent} sent, {received} received{', bit for bit' if same else ''}, "
                f"{max(0, sent - received)} lost"
            )
        shares = ", ".join(f"{100 * share:.1f} % {name}" for name, share in self._share._asdict().items())
        return f"network {self._network.name}: {shares}"

    def _on_the_answer(self, alike: float) -> str:
        if self._answer is None:
            return "no answer by voice: there is none here (install espeak-ng, or glassbridge[voice])"
        how = f"heard by the phone, {100 * alike:.0f} % alike" if alike >= ALIKE else f"not heard ({100 * alike:.0f} %)"
        return f'answered by voice: "{ANSWER}", {how}'

    def _first_audio(self) -> str:
        seen = self._seen
        if seen.live_at is None or seen.connected_at is None:
            return "no audio arrived"
        after = seen.live_at - seen.connected_at
        return f"first audio {after:.2f} s after the phone connected, {seen.live_at - seen.begun:.1f} s after the start"


def demo_user() -> UserId:
    """A name of its own for each run: a server that is used by others keeps rooms for a while."""
    return UserId(f"demo-{random.randrange(16**6):06x}")  # noqa: S311 - no secret
