"""One line for each HTTP request, without its query string: that is where clients put their tokens. How many lines one
peer may cause is told by telemetry/line_limit.py."""

import logging

import structlog
from aiohttp import web
from aiohttp.abc import AbstractAccessLogger
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web import BaseRequest, StreamResponse

log = structlog.get_logger()

CLIENT = web.RequestKey("client", str)
"""The address of the client, where a trusted proxy brought the request."""
PROBES = frozenset({"/health", "/livez", "/metrics", "/readyz"})
"""Asked every few seconds by machines; worth a line only at debug."""


SWITCHING_PROTOCOLS = 101
"""A WebSocket, whose own lines tell of its beginning and its end."""


class AccessLogger(AbstractAccessLogger):
    """For `aiohttp.web.AppRunner(access_log_class=AccessLogger)`."""

    def log(self, request: BaseRequest, response: StreamResponse, time: float) -> None:
        peer = request.get(CLIENT, request.remote)
        quiet = request.path in PROBES or response.status == SWITCHING_PROTOCOLS
        tell = log.debug if quiet else log.info
        tell(
            "HTTP request",
            method=request.method,
            path=request.path,
            status=response.status,
            duration_ms=round(time * 1000, 1),
            peer=peer,
        )


class PeerFaults(logging.Filter):
    """Of a peer that speaks no HTTP, or goes before it is answered, a line names it.

    aiohttp tells of both as of an error of ours: with a traceback, and what was sent, whatever that holds.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        peer = record.args[0] if record.args else None  # type: ignore[index]
        if isinstance(error, HttpProcessingError):
            log.info("not HTTP", error=type(error).__name__, peer=peer)
        elif isinstance(error, ConnectionError):
            log.debug("peer went unanswered", error=type(error).__name__, peer=peer)
        else:
            return True
        return False


SERVER_LOGGER = logging.getLogger("glassbridge.http")
"""For `aiohttp.web.AppRunner(logger=SERVER_LOGGER)`."""
SERVER_LOGGER.addFilter(PeerFaults())
