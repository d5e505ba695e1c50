"""Where log lines go beside standard error: what each kind of sink wants to be sent. Lines are JSON, as on standard
error; each sink has its own words for them."""

import gzip
import http.client
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from glassbridge.telemetry import otlp
from glassbridge.telemetry.config import SinkConfig, SinkKind

Line = dict[str, Any]

LEVELS: Final = {"warning": "warn", "critical": "error"}
"""As the original spells them; the others are the same."""
SERVICES: Final = {"bridge": "livekit-bridge"}
"""As the original names its programs."""


def better_stack_line(line: Line) -> Line:
    """`dt`, `message` and `level` as Better Stack and the original's queries want them; all fields at top level."""
    fields = {
        "dt": line.pop("timestamp", None),
        "level": LEVELS.get(level := line.pop("level", "info"), level),
        "message": line.pop("event", ""),
    }
    if (service := SERVICES.get(line.get("service", ""))) is not None:
        line["service"] = service
    return fields | line


def better_stack(lines: Sequence[Line]) -> bytes:
    """A JSON array."""
    return msgspec.json.encode([better_stack_line(line) for line in lines])


_ENCODERS: Final[Mapping[SinkKind, Callable[[Sequence[Line]], bytes]]] = {
    "better_stack": better_stack,
    "otlp": otlp.encode,
}


@dataclass(frozen=True, slots=True)
class SinkAnswer:
    """The outcome of a request."""

    status: int | None
    """HTTP; None: there was no answer."""
    wait: float | None = None
    """Seconds after which the sink wants to be asked again."""
    error: str = ""
    """Why there was no answer, without anything that may be secret."""


class Sink:
    """Posts batches, one after the other, on a connection that it keeps. Blocks: give it a thread."""

    def __init__(self, config: SinkConfig) -> None:
        self.config = config
        self._connection: http.client.HTTPConnection | None = None
        self._busy: http.client.HTTPConnection | None = None

    def post(self, lines: Sequence[bytes]) -> SinkAnswer:
        """Sends a batch of lines; entries that are no JSON object are left out. Never raises."""
        body = gzip.compress(_ENCODERS[self.config.kind](_decoded(lines)), compresslevel=5)
        kept, self._connection = self._connection, None
        if kept is not None:
            with suppress(ConnectionError):  # closed while it was idle
                return self._exchange(kept, body)
        try:
            return self._exchange(self._connect(), body)
        except ConnectionError as error:
            return SinkAnswer(None, error=_told(error))

    def _exchange(self, connection: http.client.HTTPConnection, body: bytes) -> SinkAnswer:
        """Keeps the connection. Raises ConnectionError; without an answer in time there is none."""
        fixed = {"Content-Type": "application/json", "Content-Encoding": "gzip", "User-Agent": "glassbridge"}
        path = urlsplit(self.config.url).path or "/"
        self._busy = connection
        try:
            connection.request("POST", path, body, fixed | dict(self.config.headers))
            response = connection.getresponse()
            response.read()
        except ConnectionError:
            connection.close()
            raise
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            return SinkAnswer(None, error=_told(error))
        finally:
            self._busy = None
        self._connection = connection
        return SinkAnswer(response.status, _seconds(response.getheader("Retry-After")))

    def close(self) -> None:
        """The next post() connects anew."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def abort(self) -> None:
        """From another thread: the post() under way ends soon."""
        busy = self._busy
        if busy is not None and busy.sock is not None:
            with suppress(OSError):
                busy.sock.shutdown(socket.SHUT_RDWR)

    def _connect(self) -> http.client.HTTPConnection:
        parts = urlsplit(self.config.url)
        host, timeout = parts.hostname or "", self.config.timeout
        if parts.scheme == "https":
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(host, parts.port, timeout=timeout, context=context)
        return http.client.HTTPConnection(host, parts.port, timeout=timeout)


def _decoded(lines: Sequence[bytes]) -> list[Line]:
    found = []
    for line in lines:
        with suppress(msgspec.MsgspecError):
            found.append(msgspec.json.decode(line, type=dict[str, Any]))
    return found


def _told(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__


def _seconds(text: str | None) -> float | None:
    """Of a Retry-After that is a number; dates are not honoured."""
    return float(text) if text is not None and text.isdecimal() else None
