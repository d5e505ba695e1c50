"""The app under the tests of glassbridge.testing."""

import asyncio
from pathlib import Path

from glassbridge.app import AppServer, AudioState, Session, Transcription, Translation
from glassbridge.wire.device_events import ButtonPress

PACKAGE = "com.example.tested"


def answering_app(*, tells_of_audio: bool = True) -> AppServer:
    """Shows what it hears, with the user's sign after it; does what it is told; counts the presses of buttons."""
    server = AppServer(PACKAGE)

    @server.on_session
    def begin(session: Session) -> None:
        show = session.layouts.show_text

        @session.on_transcription("en-US")
        async def heard(said: Transcription) -> None:
            match said.text.partition(" "):
                case "fail", _, _:
                    raise RuntimeError("the app fails")
                case "say", _, text:
                    await session.speak(text)
                case "play", _, "it":
                    await session.play(b"RIFF")
                case "play", _, path:
                    await session.play(Path(path))
                case "later", _, _:
                    await asyncio.sleep(0.02)
                    await show("now")
                case _:
                    await show(f"{said.text} {session.settings.get('sign', '')}".strip())

        @session.on_translation("en-US", "es-ES")
        async def translated(said: Translation) -> None:
            await show(f"{said.original}: {said.text}")

        @session.on_audio_state
        async def changed(audio: AudioState) -> None:
            if tells_of_audio:
                await show(f"({audio.state})")

        @session.on_event("button_press")
        async def pressed(press: ButtonPress) -> None:
            count = int(await session.storage.get("count") or 0) + 1
            await session.storage.set("count", str(count))
            await show(f"{press.button_id} {count}")

    return server
