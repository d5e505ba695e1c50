"""Live captions: shows what the user says, and says so when nothing can be heard.

glassbridge app run examples/captions.py --reload
"""

from glassbridge.app import AppServer, AudioState, Session, Transcription

server = AppServer("com.example.captions", port=7010)


@server.on_session
def begin(session: Session) -> None:
    @session.on_transcription("en-US")
    async def heard(said: Transcription) -> None:
        await session.layouts.show_text(said.text)

    @session.on_audio_state
    async def changed(audio: AudioState) -> None:
        if audio.state in ("interrupted", "unavailable"):
            await session.layouts.show_text(f"(not hearing you: {audio.reason})")


if __name__ == "__main__":
    server.run()
