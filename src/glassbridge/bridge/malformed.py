"""Requests that cannot be parsed: refused as the client's fault. gRPC would take each for a defect of ours, with status
UNKNOWN and a traceback in the log."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError

from glassbridge.wire import livekit_bridge_pb2 as pb

_UNUSABLE_CHUNK: Final = pb.AudioChunk(pcm_data=b"\0", sample_rate=-1)
"""The stand-in for a chunk that cannot be parsed: a stream refuses it, as any other that is no sound."""


class RefuseMalformed(grpc.aio.ServerInterceptor):
    """For `grpc.aio.server(interceptors=...)`."""

    async def intercept_service(
        self, continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]], details: grpc.HandlerCallDetails
    ) -> Any:
        handler = await continuation(details)
        if handler is None or handler.request_deserializer is None:
            return handler
        if handler.request_streaming:
            if handler.request_deserializer != pb.AudioChunk.FromString:
                return handler
            return handler._replace(request_deserializer=_or_else(handler.request_deserializer, _UNUSABLE_CHUNK))
        return handler._replace(
            request_deserializer=_or_else(handler.request_deserializer, None),
            unary_unary=_refusing(handler.unary_unary),
            unary_stream=_refusing(handler.unary_stream),
        )


def _or_else(parse: Callable[[bytes], Any], otherwise: Any) -> Callable[[bytes], Any]:
    def parsed(data: bytes) -> Any:
        try:
            return parse(data)
        except DecodeError:
            return otherwise

    return parsed


def _refusing(serve: Callable[[Any, Any], Awaitable[Any]] | None) -> Callable[[Any, Any], Awaitable[Any]] | None:
    async def serve_or_refuse(request: Any, context: Any) -> Any:
        if request is None:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the request cannot be parsed")
        return await serve(request, context) if serve is not None else None

    return None if serve is None else serve_or_refuse
