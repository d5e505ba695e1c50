"""The app of the demo: answers a question by voice.

APP_KEY=... APP_PORT=... python -m glassbridge.lab.demo_app
"""

import os
from typing import Final

from glassbridge.app import AppServer, PlaybackFailed, Session, Transcription
from glassbridge.core.words import normalised

PACKAGE: Final = "org.example.assistant"
ANSWER: Final = "At noon you have lunch with Anna, and nothing after that."


def is_question(text: str) -> bool:
    """Whether somebody asks for the calendar."""
    return "calendar" in normalised(text)


def server(key: str, port: int) -> AppServer:
    """Not started yet."""
    made = AppServer(PACKAGE, key, port=port)

    @made.on_session
    def begin(session: Session) -> None:
        @session.on_transcription("en-US")
        async def heard(said: Transcription) -> None:
            if not (said.final and is_question(said.text)):
                return
            print("asked", flush=True)
            await session.layouts.show_card(said.text, ANSWER, seconds=10)
            try:
                await session.speak(ANSWER)
            except PlaybackFailed as error:
                print(f"cannot answer: {error}", flush=True)
            else:
                print("answered", flush=True)

    return made


if __name__ == "__main__":
    server(os.environ["APP_KEY"], int(os.environ["APP_PORT"])).run()
