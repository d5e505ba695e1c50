"""Messages and frames from the sockets of a session's phone: each goes to the part of the session that it concerns."""

import structlog

from glassbridge.cloud.apps.user_apps import HasApps
from glassbridge.cloud.connection import PhoneConnection
from glassbridge.cloud.flight import Flight
from glassbridge.cloud.link import LinkShell
from glassbridge.cloud.microphone_order import Order
from glassbridge.cloud.phone_sockets import PhoneSockets
from glassbridge.cloud.user_audio import UserAudio
from glassbridge.core import audio_link
from glassbridge.core.audio_link import AudioRoute
from glassbridge.core.subscriptions import Stream
from glassbridge.wire.device_events import DeviceEvent
from glassbridge.wire.phone import (
    FromPhone,
    GlassesConnectionState,
    LocalTranscription,
    MicrophoneStateChange,
    NetworkStateChange,
    Ping,
    StartApp,
    StopApp,
    Vad,
)


class PhoneMessages:
    """A listener of the sockets (cloud/connection.py)."""

    __slots__ = ("_audio", "_flight", "_link", "_log", "_order", "_session", "_sockets")

    def __init__(
        self,
        session: HasApps,
        sockets: PhoneSockets,
        link: LinkShell,
        audio: UserAudio,
        order: Order,
        flight: Flight,
        log: structlog.stdlib.BoundLogger,
    ) -> None:
        self._session = session
        self._sockets = sockets
        self._link = link
        self._audio = audio
        self._order = order
        self._flight = flight
        self._log = log

    @property
    def room_age_ms(self) -> int | None:
        """Milliseconds since something came out of the room; None: nothing has."""
        return self._link.room_age_ms

    def on_silence(self, connection: PhoneConnection) -> None:
        """Nothing is heard of a socket; it is as good as closed until something is."""
        self._sockets.silent(connection)

    def on_return(self, connection: PhoneConnection) -> None:
        """Something is heard of it after all."""
        self._sockets.returned(connection)

    def on_message(self, connection: PhoneConnection, message: FromPhone) -> None:
        """A message of the phone; one of a superseded socket is not heard."""
        if connection is not self._sockets.phone:
            return
        apps = self._session.apps_here
        if apps is not None:
            apps.phone_spoke()
        match message:
            case Ping(sent=(room, socket)):
                self._flight.told(phone_sent=room, socket_sent=socket)
            case Vad():
                self._flight.note("voice", speaking=message.speaking)
                self._link.post(audio_link.Voice(message.speaking))
                self._audio.voice(speaking=message.speaking)
                if apps is not None:
                    apps.relay(Stream.VAD, Vad(status=message.speaking))
            case MicrophoneStateChange(is_microphone_enabled=on):
                self._flight.note("microphone", on=on)
                self._order.phone_said(on=on)
                self._audio.switched(on=on)
            case NetworkStateChange():
                self._flight.note("network")
                self._link.post(audio_link.NetworkBack())
            case GlassesConnectionState():
                self._log.info("glasses", status=message.status[:64], model=message.model_name[:64])
                self._session.apps.devices.connection(message)
            case DeviceEvent():
                self._session.apps.devices.event(message)
            case LocalTranscription():
                self._audio.transcription.understood_by_phone(message)
            case StartApp(package_name=package):
                self._session.apps.start_for_phone(package)
            case StopApp(package_name=package):
                if apps is not None:
                    apps.stop(package)

    def on_audio(self, connection: PhoneConnection, frame: bytes) -> None:
        """A binary frame of the phone. Raises FrameError."""
        if not self._sockets.carries_audio(connection):
            return
        if (apps := self._session.apps_here) is not None:
            apps.phone_spoke()
        if self._audio.take(frame, numbered=connection.params.numbered):
            self._link.heard(AudioRoute.SOCKET, numbered=connection.params.numbers)
