"""Single keys from a terminal, without waiting for Enter; from a pipe, single characters."""

import asyncio
import os
import sys
import termios
import tty
from collections.abc import AsyncGenerator


async def keys() -> AsyncGenerator[str, None]:
    """Each key pressed on standard input; ends with it. The terminal is left as it was, however this ends."""
    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd) if os.isatty(fd) else None
    loop = asyncio.get_running_loop()
    pressed: asyncio.Queue[str | None] = asyncio.Queue()

    def read() -> None:
        data = os.read(fd, 64)
        for char in data.decode(errors="ignore"):
            pressed.put_nowait(char)
        if not data:
            loop.remove_reader(fd)
            pressed.put_nowait(None)

    if before is not None:
        tty.setcbreak(fd)
    loop.add_reader(fd, read)
    try:
        while (key := await pressed.get()) is not None:
            yield key
    finally:
        loop.remove_reader(fd)
        if before is not None:
            termios.tcsetattr(fd, termios.TCSADRAIN, before)
