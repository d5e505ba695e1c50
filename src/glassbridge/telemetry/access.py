"""One line for each HTTP request, without its query string: that is where clients put their tokens."""

import structlog
from aiohttp.abc import AbstractAccessLogger
from aiohttp.web import BaseRequest, StreamResponse

log = structlog.get_logger()

PROBES = frozenset({"/health", "/livez", "/metrics", "/readyz"})
"""Asked every few seconds by machines; worth a line only at debug."""


class AccessLogger(AbstractAccessLogger):
    """For `aiohttp.web.AppRunner(access_log_class=AccessLogger)`."""

    def log(self, request: BaseRequest, response: StreamResponse, time: float) -> None:
        tell = log.debug if request.path in PROBES else log.info
        tell(
            "HTTP request",
            method=request.method,
            path=request.path,
            status=response.status,
            duration_ms=round(time * 1000, 1),
            peer=request.remote,
        )
