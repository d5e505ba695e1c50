"""The sockets of one user's phones: the one that speaks for the user, those beside it, and those kept unheard."""

from collections import deque
from collections.abc import Callable

import structlog

from glassbridge.cloud.connection import PhoneConnection
from glassbridge.core.rivals import Rivals
from glassbridge.core.session import Event, SocketClosed, SocketNumber, SocketOpened
from glassbridge.core.sockets_beside import MOST
from glassbridge.wire.close_codes import CloseCode
from glassbridge.wire.phone import Message


class PhoneSockets:
    """Of one session. `post` tells its machine what became of a socket; the machine decides which one speaks."""

    __slots__ = ("_answer_within", "_beside", "_clock", "_kept", "_log", "_open", "_post", "_rivals", "phone")

    def __init__(
        self,
        post: Callable[[Event], None],
        answer_within: float,
        log: structlog.stdlib.BoundLogger,
        clock: Callable[[], float],
    ) -> None:
        """`answer_within`: seconds that the phone has for a sign of life. `clock` gives monotonic seconds."""
        self.phone: PhoneConnection | None = None
        """Speaks for the user; None in grace."""
        self._post = post
        self._answer_within = answer_within
        self._log = log
        self._clock = clock
        self._open: dict[SocketNumber, PhoneConnection] = {}
        self._beside: deque[PhoneConnection] = deque(maxlen=MOST)
        """Further sockets of the phone, the oldest first."""
        self._rivals = Rivals()
        self._kept: list[SocketNumber] = []
        """Superseded phones that are still connected, oldest first."""

    @property
    def waiting(self) -> int:
        """Messages that wait for the phone."""
        return self.phone.waiting if self.phone is not None else 0

    def tell(self, message: Message, *, may_drop: bool = False) -> None:
        """Sends to the phone, if one is here. `may_drop`: not where it reads slowly."""
        if self.phone is not None:
            self.phone.send(message, may_drop=may_drop)

    async def answers(self) -> bool:
        """Whether the phone shows a sign of life when it is asked for one. Safe to cancel."""
        return self.phone is not None and await self.phone.answers(self._answer_within)

    def carries_audio(self, connection: PhoneConnection) -> bool:
        """Whether audio of this socket is heard."""
        return self.phone is not None and (connection is self.phone or connection in self._beside)

    # ---- what happens to them

    def opened(self, connection: PhoneConnection) -> None:
        """It was accepted; one that was opened before another one of its phone is closed."""
        if any(connection.params.superseded_by(other.params) for other in self._open.values()):
            self._log.info("late socket refused", socket=connection.number, attempt=connection.params.attempt)
            connection.close(CloseCode.SUPERSEDED)
            return
        self._open[connection.number] = connection
        self._post(SocketOpened(connection.number))

    def opened_beside(self, connection: PhoneConnection) -> bool:
        """It carries audio beside the first of the same phone; False: that phone is not the one that speaks."""
        phone, params = self.phone, connection.params
        if phone is None or not phone.params.numbered or not params.numbered or params.phone != phone.params.phone:
            return False
        if len(self._beside) == MOST:
            self._beside[0].close(CloseCode.SUPERSEDED)
        self._beside.append(connection)
        return True

    def closed_beside(self, connection: PhoneConnection) -> None:
        """It is gone; may come late, and of one that was never taken."""
        if connection in self._beside:
            self._beside.remove(connection)

    def silent(self, connection: PhoneConnection) -> None:
        """Nothing is heard of it: as good as closed until something is."""
        self._post(SocketClosed(connection.number))

    def returned(self, connection: PhoneConnection) -> None:
        """Something is heard of it after all."""
        if connection.number in self._open:
            self._post(SocketOpened(connection.number))

    def closed(self, connection: PhoneConnection) -> None:
        """It is gone; may come late."""
        if self._open.pop(connection.number, None) is not None:
            self._post(SocketClosed(connection.number))

    # ---- what the session's machine wants of them

    def find(self, number: SocketNumber) -> PhoneConnection | None:
        """None: it is gone."""
        return self._open.get(number)

    def adopt(self, connection: PhoneConnection) -> None:
        """This one speaks from now on. Further sockets of another phone are closed."""
        self.phone = connection
        if self._beside and self._beside[0].params.phone != connection.params.phone:
            for other in self._beside:
                other.close(CloseCode.SUPERSEDED)
            self._beside.clear()

    def supersede(self, number: SocketNumber) -> None:
        """A newer one speaks: this one is closed, or stays open unheard (core/rivals.py)."""
        if (connection := self._open.get(number)) is None:
            return
        kept = [other for other in self._kept if other in self._open]
        stays = connection is self.phone and self._rivals.keeps(len(kept), self._clock())
        if stays and not connection.understands_notices:
            self._kept = [*kept, connection.number]
            self._log.info("older phone kept unheard", socket=connection.number)
        else:
            connection.close(CloseCode.SUPERSEDED)

    def let_speak(self) -> None:
        """The newest of the phones that were kept speaks for the user now."""
        while self._kept:
            if (number := self._kept.pop()) in self._open:
                self._post(SocketOpened(number))
                return

    def give_up(self, number: SocketNumber) -> PhoneConnection | None:
        """It belongs to another session; None: it is gone."""
        return self._open.pop(number, None)

    def close(self, code: CloseCode) -> None:
        """All of them. The socket that speaks stays so until it is gone."""
        for connection in self._open.values():
            connection.close(code)
        for connection in self._beside:
            connection.close(code)
