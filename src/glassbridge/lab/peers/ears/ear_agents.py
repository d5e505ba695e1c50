"""python -m ear_agents start: livekit-agents as its documentation has it, an agent server and a session for its
room. A recogniser at the end hands on what it is fed. The room's name comes in the environment (ROOM)."""

import os
from typing import Any

from ear_tap import RATE, Tap
from livekit.agents import Agent, AgentServer, AgentSession, JobContext, JobRequest, cli, stt

ROOM = os.environ["ROOM"]


class _Stream(stt.RecognizeStream):
    def __init__(self, owner: "_Recogniser", options: Any) -> None:
        super().__init__(stt=owner, conn_options=options, sample_rate=RATE)

    async def _run(self) -> None:
        tap = Tap(ROOM)
        async for frame in self._input_ch:
            if not isinstance(frame, self._FlushSentinel):
                tap.heard(bytes(frame.data))


class _Recogniser(stt.STT):
    def __init__(self) -> None:
        super().__init__(capabilities=stt.STTCapabilities(streaming=True, interim_results=True))

    async def _recognize_impl(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError

    def stream(self, *, conn_options: Any, **_: Any) -> _Stream:
        return _Stream(self, conn_options)


server = AgentServer(load_fnc=lambda _: 0.0, load_threshold=float("inf"))
"""However busy the machine is: LiveKit gives no jobs to one that says so."""


async def _answer(request: JobRequest) -> None:
    if request.room.name == ROOM:
        await request.accept(identity="ear")
    else:
        await request.reject()


@server.rtc_session(on_request=_answer)
async def _serve(job: JobContext) -> None:
    session = AgentSession(stt=_Recogniser(), turn_detection="stt", vad=None)
    await session.start(Agent(instructions="listen"), room=job.room)


if __name__ == "__main__":
    cli.run_app(server)
