"""What the user sees."""

from collections.abc import Awaitable, Callable
from typing import Literal

from glassbridge.wire.apps import DisplayRequest
from glassbridge.wire.codec import Message
from glassbridge.wire.display import (
    BitmapView,
    ClearView,
    DashboardCard,
    DoubleTextWall,
    Layout,
    ReferenceCard,
    TextWall,
)

View = Literal["main", "dashboard"]


class Layouts:
    """Each call replaces what this app showed before. All raise NotConnected and SessionEnded, and are safe to
    cancel; `seconds` is how long it stays, None: until something else comes."""

    def __init__(self, package: str, send: Callable[[Message], Awaitable[None]]) -> None:
        self._package = package
        self._send = send

    async def show_text(self, text: str, *, seconds: float | None = None, view: View = "main") -> None:
        """One block of text."""
        await self._show(TextWall(text), seconds, view)

    async def show_two_texts(self, top: str, bottom: str, *, seconds: float | None = None, view: View = "main") -> None:
        """Two blocks of text, one above the other."""
        await self._show(DoubleTextWall(top, bottom), seconds, view)

    async def show_card(self, title: str, text: str, *, seconds: float | None = None, view: View = "main") -> None:
        """A title and text."""
        await self._show(ReferenceCard(title, text), seconds, view)

    async def show_dashboard(
        self, left: str, right: str, *, seconds: float | None = None, view: View = "dashboard"
    ) -> None:
        """Two short texts side by side."""
        await self._show(DashboardCard(left, right), seconds, view)

    async def show_bitmap(self, data: str, *, seconds: float | None = None, view: View = "main") -> None:
        """A picture in the form that the glasses know."""
        await self._show(BitmapView(data), seconds, view)

    async def clear(self, view: View = "main") -> None:
        """Nothing."""
        await self._show(ClearView(), None, view)

    async def _show(self, layout: Layout, seconds: float | None, view: View) -> None:
        duration = None if seconds is None else round(seconds * 1000)
        await self._send(DisplayRequest(package_name=self._package, layout=layout, view=view, duration_ms=duration))
