"""Answers of HTTP servers, read with a bound."""

import aiohttp

_PIECE = 64 << 10


class TooLong(ValueError):
    """The answer has more bytes than it may have."""


async def read_all(content: aiohttp.StreamReader, most: int) -> bytes:
    """The whole answer, of `most` bytes. Raises TooLong as soon as it is longer; the deadline is the caller's."""
    said = bytearray()
    async for piece in content.iter_chunked(_PIECE):
        said += piece
        if len(said) > most:
            raise TooLong("the answer is too long")
    return bytes(said)
