"""Greets the phone of one session: at first, and again where nothing else moves it.

The original's phones understand no audio_state. They join their room anew on each greeting, speak on their socket while
they are in none, and announce the coding of their audio after each greeting.
"""

import asyncio

import structlog

from glassbridge.cloud.clock import iso_now
from glassbridge.cloud.config import CloudConfig
from glassbridge.cloud.connection import PhoneConnection
from glassbridge.cloud.examination import Examiner
from glassbridge.cloud.flight import Flight
from glassbridge.cloud.phone_sockets import PhoneSockets
from glassbridge.cloud.user_audio import UserAudio
from glassbridge.core.phone_way import GREET_EVERY, Nudge
from glassbridge.core.sockets_beside import MOST
from glassbridge.core.values import UserId
from glassbridge.livekit.tokens import phone_token
from glassbridge.runtime.tasks import TaskGroup
from glassbridge.runtime.world import World
from glassbridge.wire.audio_frames import CODING_OPUS
from glassbridge.wire.phone import AudioPosition, ConnectionAck, LiveKitInfo

ANNOUNCED_WITHIN = 2.0
"""Seconds after its greeting in which a phone announces the coding of its audio; the first audio may come before."""


class Greeter:
    """Of one session."""

    __slots__ = (
        "_asks_for_coding", "_audio", "_config", "_examiner", "_flight", "_log", "_session_id", "_sockets", "_tasks",
        "_user", "_wall",
    )  # fmt: skip

    def __init__(
        self,
        user: UserId,
        session_id: str,
        config: CloudConfig,
        examiner: Examiner,
        sockets: PhoneSockets,
        audio: UserAudio,
        flight: Flight,
        tasks: TaskGroup,
        log: structlog.stdlib.BoundLogger,
        world: World,
    ) -> None:
        self._user = user
        self._session_id = session_id
        self._config = config
        self._examiner = examiner
        self._sockets = sockets
        self._audio = audio
        self._flight = flight
        self._tasks = tasks
        self._log = log
        self._wall = world.wall
        self._asks_for_coding = False
        """A task asks the phone for the coding of its audio."""

    def greet(self, phone: PhoneConnection, *, resumed: bool) -> None:
        """`resumed`: the phone has had this session before."""
        config, params, position = self._config, phone.params, self._audio.position
        room = str(self._user)
        livekit = None
        if params.livekit:
            token = phone_token(
                config.livekit_keys, user=self._user, room=room, ttl=config.client_token_ttl, now=self._wall()
            )
            self._log.info("LiveKit token minted", holder="phone", seconds=config.client_token_ttl)
            livekit = LiveKitInfo(config.phones_livekit_url, room, token)
        phone.send(
            ConnectionAck(
                session_id=self._session_id,
                timestamp=iso_now(),
                livekit=livekit,
                audio=2 if params.numbered else 1,
                known=AudioPosition(*position) if position is not None else None,
                resumed=resumed,
                pings=True,
                codings=(CODING_OPUS,),
                beside=params.numbered and params.phone != "",
                sockets_beside=MOST,
            )
        )

    def nudge(self, nudge: Nudge) -> None:
        """Moves a phone that understands no notices; any other one knows what to do."""
        phone = self._sockets.phone
        if phone is None or not phone.params.livekit or phone.understands_notices:
            return
        if nudge is Nudge.GREET:
            self._log.info("phone greeted again", socket=phone.number)
            self._flight.note("phone greeted again", socket=phone.number)
            self.greet(phone, resumed=True)
        else:
            self._log.info("phone put out of its room", socket=phone.number)
            self._flight.note("phone put out of its room", socket=phone.number)
            self._tasks.spawn(self._examiner.put_out(self._user), "put-phone-out")

    def ask_for_coding(self) -> None:
        """The frames of the phone cannot be read: it has yet to announce the coding of its audio."""
        if not self._asks_for_coding:
            self._asks_for_coding = True
            self._tasks.spawn(self._ask_for_coding(), "ask-for-coding")

    async def _ask_for_coding(self) -> None:
        await asyncio.sleep(ANNOUNCED_WITHIN)
        while self._audio.unnumbered.refuses:
            self.nudge(Nudge.GREET)
            await asyncio.sleep(GREET_EVERY)
        self._asks_for_coding = False
