"""aiortc without PyAV. aiortc imports it for its own codecs, none of which we use: Opus is livekit/opus.py's, and ready
packets go through (aiortc_quirks.hand_on). FFmpeg and its libraries would take 17 MB of each worker."""

import sys
from types import ModuleType
from typing import Any, Final

_NAMES: Final = ("av", "av.frame", "av.packet", "av.video", "av.video.codeccontext")
"""What aiortc 1.16 imports."""


class _Absent(ModuleType):
    """Has a class of each name, which nothing is an instance of."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        found = type(name, (), {})
        setattr(self, name, found)
        return found


def import_aiortc() -> None:
    """Imports it, once; with PyAV where that is here already. A later caller that needs PyAV gets it."""
    if "av" in sys.modules:
        return
    absent = {name: _Absent(name) for name in _NAMES}
    for module in absent.values():
        module.__path__ = []  # a package
    sys.modules.update(absent)
    try:
        import aiortc  # noqa: F401 - for those who import it afterwards
    finally:
        for name in absent:
            del sys.modules[name]
