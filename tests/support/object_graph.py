"""What an object holds: everything that can be reached from it, as the garbage collector sees it."""

import asyncio
import contextvars
import gc
import sys
import threading
import types
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import structlog

SKIPPED = (
    type, types.ModuleType, types.FrameType, types.CodeType, types.BuiltinFunctionType, asyncio.AbstractEventLoop,
    contextvars.Context, threading.Thread,
)  # fmt: skip
CONTAINERS = (list, dict, set, deque, bytearray)
FRAMED = (types.CoroutineType, types.GeneratorType, types.AsyncGeneratorType)
"""Their size depends on the frame, and some states of it give pebibytes (seen on Python 3.11): it is left out."""


@dataclass
class Graph:
    """`size` in bytes; `lengths` of what can grow by id, `names` of the way to them."""

    size: int = 0
    objects: int = 0
    lengths: dict[int, int] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)

    def grown(self, before: "Graph", factor: float, least: int) -> list[str]:
        """Containers that were there before and hold more now."""
        return [
            f"{self.names[key]}: {before.lengths[key]} -> {now}"
            for key, now in self.lengths.items()
            if key in before.lengths and now > least and now > factor * before.lengths[key]
        ]


def walk(root: Any, beyond: Iterable[Any] = (), reached: list[Any] | None = None) -> Graph:
    """All that `root` reaches, without what is `beyond`: shared with others. `reached` gets all of it."""
    seen = {id(one) for one in beyond} | {id(root)}
    graph = Graph()
    queue: deque[tuple[Any, str]] = deque([(root, type(root).__name__)])
    alive = [root]
    while queue:
        one, name = queue.popleft()
        graph.objects += 1
        size = type(one).__basicsize__ if isinstance(one, FRAMED) else sys.getsizeof(one)
        assert size < 1 << 40, f"{name} is said to take {size} bytes"
        graph.size += size
        if isinstance(one, CONTAINERS):
            graph.lengths[id(one)] = len(one)
            graph.names[id(one)] = name
        for child in _children(one):
            if id(child) not in seen and not isinstance(child, SKIPPED):
                seen.add(id(child))
                alive.append(child)
                queue.append((child, _name(one, child, name)))
    if reached is not None:
        reached += alive
    return graph


def _children(one: Any) -> list[Any]:
    if isinstance(one, types.FunctionType):  # not its globals
        return [*(one.__closure__ or ()), *(one.__defaults__ or ())]
    if isinstance(one, structlog.BoundLoggerBase):  # how lines are written, and what pytest captured, are shared
        return [one._context]
    return gc.get_referents(one)


def _name(parent: Any, child: Any, name: str) -> str:
    """The way to the child; attributes by their names where they have some."""
    if len(name) > 300:
        return name
    if isinstance(parent, dict):
        key = next((key for key, value in parent.items() if value is child), None)
        return f"{name}.{key}" if isinstance(key, str) and key.isidentifier() else f"{name}[]"
    for attribute in getattr(type(parent), "__slots__", ()):
        if isinstance(attribute, str) and getattr(parent, attribute, None) is child:
            return f"{name}.{attribute}"
    return name if isinstance(child, dict) else f"{name}>{type(child).__name__}"
