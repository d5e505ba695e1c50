"""Bodies of requests: read only when a handler asks for one, with a bound and a deadline."""

import asyncio
from typing import Any, Final

from aiohttp import web

from glassbridge.telemetry import metrics
from glassbridge.wire.rejections import Rejected, Rejection

PIECE: Final = 64 << 10
BODY: Final = web.RequestKey("body", bytearray)
"""Of a request whose body was read already."""
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class BodyError(Rejected):
    """Why a body is not taken: the sender's fault."""


async def expect_later(request: web.Request) -> Any:
    """The `expect_handler` of a route whose handler calls read_body(): a sender that asks whether it may send its body
    (`Expect: 100-continue`) is answered once it is known who it is, and not by aiohttp before."""
    if request.headers.get("Expect", "").lower() != "100-continue":
        raise web.HTTPExpectationFailed()


async def read_body(request: web.Request, *, most: int, within: float) -> bytearray:
    """The whole body of at most `most` bytes, within so many seconds. Raises BodyError."""
    if (known := request.get(BODY)) is not None:
        return bytearray(known)
    too_large = BodyError(Rejection.BODY_TOO_LARGE, most=most)
    if (request.content_length or 0) > most:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(within):
            if "Expect" in request.headers:
                await request.writer.write(CONTINUE)
                request.writer.output_size = 0  # the answer has not begun
            async for piece in request.content.iter_chunked(PIECE):
                body += piece
                if len(body) > most:
                    raise too_large
    except TimeoutError:
        metrics.CONNECTIONS_TIMED_OUT.add("body")
        raise BodyError(Rejection.BODY_LATE) from None
    except (web.RequestPayloadError, ConnectionError):
        raise BodyError(Rejection.BODY_BROKEN) from None
    return body
