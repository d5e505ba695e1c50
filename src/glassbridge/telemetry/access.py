"""One line for each HTTP request, without its query string: that is where clients put their tokens."""

import logging
from collections.abc import Callable
from time import monotonic

import structlog
from aiohttp import web
from aiohttp.abc import AbstractAccessLogger
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web import BaseRequest, StreamResponse

from glassbridge.core.addresses import subject_of
from glassbridge.core.quota import Quota

log = structlog.get_logger()

CLIENT = web.RequestKey("client", str)
"""The address of the client, where a trusted proxy brought the request."""
PROBES = frozenset({"/health", "/livez", "/metrics", "/readyz"})
"""Asked every few seconds by machines; worth a line only at debug."""


SWITCHING_PROTOCOLS = 101
"""A WebSocket, whose own lines tell of its beginning and its end."""


class RefusalLines:
    """How many lines about refused requests, and about strangers, one peer may cause: 10 at once, then 5 a second. A
    flood of bad requests must not fill the log, nor hide in it what others do."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._quota = Quota(burst=10, per_minute=300)
        self._clock = clock
        self.unlogged = 0
        """Lines left out since this was asked for last."""

    def may_log(self, peer: str | None) -> bool:
        """Takes one line."""
        if self._quota.take(subject_of(peer or ""), self._clock()):
            return True
        self.unlogged += 1
        return False

    def left_out(self) -> dict[str, int]:
        """A field for the next line, where lines were left out."""
        count, self.unlogged = self.unlogged, 0
        return {"unlogged": count} if count else {}


refusals = RefusalLines()
"""Of this process."""


class AccessLogger(AbstractAccessLogger):
    """For `aiohttp.web.AppRunner(access_log_class=AccessLogger)`."""

    def log(self, request: BaseRequest, response: StreamResponse, time: float) -> None:
        peer = request.get(CLIENT, request.remote)
        quiet = request.path in PROBES or response.status == SWITCHING_PROTOCOLS
        refused = response.status >= 400 or not getattr(request.protocol, "signed_in", True)
        if refused and not quiet and not refusals.may_log(peer):
            return
        tell = log.debug if quiet else log.info
        tell(
            "HTTP request",
            **(refusals.left_out() if refused else {}),
            method=request.method,
            path=request.path,
            status=response.status,
            duration_ms=round(time * 1000, 1),
            peer=peer,
        )


class PeerFaults(logging.Filter):
    """Of a peer that speaks no HTTP, or goes before it is answered, a line says who it was.

    aiohttp tells of both as of an error of ours: with a traceback, and what was sent, whatever that holds.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        peer = record.args[0] if record.args else None  # type: ignore[index]
        if isinstance(error, HttpProcessingError):
            if refusals.may_log(str(peer)):
                log.info("not HTTP", error=type(error).__name__, peer=peer)
        elif isinstance(error, ConnectionError):
            log.debug("peer went unanswered", error=type(error).__name__, peer=peer)
        else:
            return True
        return False


SERVER_LOGGER = logging.getLogger("glassbridge.http")
"""For `aiohttp.web.AppRunner(logger=SERVER_LOGGER)`."""
SERVER_LOGGER.addFilter(PeerFaults())
