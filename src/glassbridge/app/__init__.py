"""Write an app: `AppServer` answers the cloud's webhooks, each user who starts the app is one `Session`.

from glassbridge.app import AppServer, Session, Transcription

server = AppServer("com.example.captions", api_key="...", port=7010)

@server.on_session
def begin(session: Session) -> None:
    @session.on_transcription("en-US")
    async def heard(said: Transcription) -> None:
        await session.layouts.show_text(said.text)

server.run()
"""

from glassbridge.app.errors import AppError, NotConnected, PlaybackFailed, SessionEnded, StorageFailed
from glassbridge.app.events import (
    AudioState,
    CloudError,
    Missed,
    Moved,
    Played,
    Refusal,
    Track,
    Transcription,
    Translation,
)
from glassbridge.app.server import AppServer
from glassbridge.app.session import Session

__all__ = [
    "AppError",
    "AppServer",
    "AudioState",
    "CloudError",
    "Missed",
    "Moved",
    "NotConnected",
    "PlaybackFailed",
    "Played",
    "Refusal",
    "Session",
    "SessionEnded",
    "StorageFailed",
    "Track",
    "Transcription",
    "Translation",
]
