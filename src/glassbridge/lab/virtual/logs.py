"""Where programs log to in a simulation: nowhere, but it is told each line."""

import asyncio
import logging
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import structlog

from glassbridge.lab.virtual.loop import VirtualLoop

Tell = Callable[[str, str, MutableMapping[str, Any]], None]
"""(name of the process, method such as "error", event); the name is empty outside of all loops."""


def _nothing(_where: str, _method: str, _event: MutableMapping[str, Any]) -> None:
    pass


@contextmanager
def logs_told_to(tell: Tell = _nothing, level: int = logging.INFO) -> Iterator[None]:
    """Lines of that level and above, until the end."""

    def hear(_logger: object, method: str, event: MutableMapping[str, Any]) -> str:
        loop = asyncio._get_running_loop()
        tell(loop.name if isinstance(loop, VirtualLoop) else "", method, event)
        return ""

    before = structlog.get_config()
    structlog.configure(
        processors=[hear],
        logger_factory=structlog.ReturnLoggerFactory(),  # to drop a line would raise an exception for each
        wrapper_class=structlog.make_filtering_bound_logger(level),
    )
    try:
        yield
    finally:
        structlog.configure(**before)
