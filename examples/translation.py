"""Live translation into Spanish. Where the cloud does not translate it says so, and echoes what was said.

glassbridge apps add com.example.translation --url http://127.0.0.1:7011 --permission microphone
APP_KEY=... python examples/translation.py
"""

import os

from glassbridge.app import AppServer, CloudError, Missed, Refusal, Session, Transcription, Translation

server = AppServer("com.example.translation", os.environ["APP_KEY"], port=7011)


@server.on_session
def begin(session: Session) -> None:
    @session.on_translation("en-US", "es-ES")
    async def translated(said: Translation) -> None:
        await session.layouts.show_two_texts(said.original or "", said.text)

    @session.on_trouble
    async def trouble(what: Missed | Refusal | CloudError) -> None:
        if isinstance(what, Refusal) and what.stream.startswith("translation"):
            session.off(translated)
            session.on_transcription("en-US")(echo)
            await session.layouts.show_card("No translation", what.reason, seconds=5)

    async def echo(said: Transcription) -> None:
        await session.layouts.show_two_texts("you said" if said.final else "you say", said.text)


if __name__ == "__main__":
    server.run()
