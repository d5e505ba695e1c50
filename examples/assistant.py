"""A voice assistant, as a stub: answers a few questions by voice, and stops talking when the user talks.

glassbridge apps add com.example.assistant --url http://127.0.0.1:7012 --permission microphone
APP_KEY=... python examples/assistant.py
"""

import os
from datetime import datetime

from glassbridge.app import AppServer, PlaybackFailed, Session, Track, Transcription

server = AppServer("com.example.assistant", os.environ["APP_KEY"], port=7012)


def answer_to(question: str) -> str | None:
    """Where a real assistant would think. None: that was no question for us."""
    words = question.lower().split()
    if "time" in words:
        return f"It is {datetime.now().astimezone():%H %M}."
    if "hello" in words:
        return "Hello. I am listening."
    return None


@server.on_session
def begin(session: Session) -> None:
    @session.on_transcription("en-US")
    async def heard(said: Transcription) -> None:
        answer = answer_to(said.text) if said.final else None
        if answer is None:
            return
        await session.layouts.show_card(said.text, answer, seconds=10)
        try:
            await session.speak(answer)
        except PlaybackFailed as error:
            await session.layouts.show_card(said.text, f"{answer}\n(not said aloud: {error})", seconds=10)

    @session.on_vad
    async def voice(speaking: bool) -> None:
        if speaking:
            await session.stop(Track.SPEECH)


if __name__ == "__main__":
    server.run()
