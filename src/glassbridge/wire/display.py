"""What can be shown on the glasses: the original's layouts, told apart by `layoutType`."""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from glassbridge.wire.codec import Text

MAX_BITMAP: Final = 255 << 10
"""Characters of a picture."""


class _Layout(msgspec.Struct, tag_field="layoutType", rename="camel", frozen=True):
    """Base of all; `layoutType` is the tag."""


class TextWall(_Layout, tag="text_wall", frozen=True):
    """One block of text."""

    text: Text


class DoubleTextWall(_Layout, tag="double_text_wall", frozen=True):
    """Two blocks of text."""

    top_text: Text
    bottom_text: Text


class ReferenceCard(_Layout, tag="reference_card", frozen=True):
    """A title and text."""

    title: Text
    text: Text


class DashboardCard(_Layout, tag="dashboard_card", frozen=True):
    """Two short texts side by side."""

    left_text: Text
    right_text: Text


class BitmapView(_Layout, tag="bitmap_view", frozen=True):
    """A picture, in the form that the glasses know; it is passed on unread."""

    data: Annotated[str, Meta(max_length=MAX_BITMAP)]


class BitmapAnimation(_Layout, tag="bitmap_animation", frozen=True):
    """Pictures, one after the other."""

    frames: Annotated[list[Annotated[str, Meta(max_length=MAX_BITMAP)]], Meta(min_length=1, max_length=64)]
    interval: Annotated[float, Meta(ge=0, le=60_000)] = 1650
    """Milliseconds."""
    repeat: bool = False


class ClearView(_Layout, tag="clear_view", frozen=True):
    """Nothing."""


Layout = TextWall | DoubleTextWall | ReferenceCard | DashboardCard | BitmapView | BitmapAnimation | ClearView


def words(layout: Layout) -> str:
    """The text of a layout, a line for each of its blocks; empty when it has none."""
    match layout:
        case TextWall(text):
            return text
        case DoubleTextWall(first, second) | ReferenceCard(first, second) | DashboardCard(first, second):
            return f"{first}\n{second}"
        case _:
            return ""
