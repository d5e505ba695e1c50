"""python -m ear_pipecat ROOM: pipecat with its LiveKit transport. A pipeline hands on the input. When the transport
says that it is disconnected the process ends, and whoever runs it starts another one."""

import asyncio
import os
import sys
from typing import Any

from ear_tap import RATE, Tap, room_token
from pipecat.frames.frames import Frame, InputAudioRawFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.transports.livekit.transport import LiveKitParams, LiveKitTransport
from pipecat.workers.runner import WorkerRunner


class _HandOn(FrameProcessor):
    def __init__(self, tap: Tap) -> None:
        super().__init__()
        self._tap = tap

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            self._tap.heard(frame.audio)
        await self.push_frame(frame, direction)


async def main() -> None:
    """Until disconnected or killed."""
    name = sys.argv[1]
    transport = LiveKitTransport(
        os.environ["LIVEKIT_URL"],
        room_token(name, "ear"),
        name,
        LiveKitParams(audio_in_enabled=True, audio_in_sample_rate=RATE),
    )
    worker = PipelineWorker(
        Pipeline([transport.input(), _HandOn(Tap(name))]),
        params=PipelineParams(audio_in_sample_rate=RATE),
        idle_timeout_secs=None,
    )

    @transport.event_handler("on_connected")
    async def _connected(*_: Any) -> None:
        print("ready", flush=True)

    @transport.event_handler("on_disconnected")
    async def _disconnected(*_: Any) -> None:
        await worker.cancel()

    runner = WorkerRunner(handle_sigint=False, handle_sigterm=True)
    await runner.add_workers(worker)
    await runner.run()


if __name__ == "__main__":
    asyncio.run(main())
