"""The files that browsers get, read once, with their types, tags and compressed forms."""

import asyncio
import gzip
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent / "assets"
PACKAGE: Final = "glassbridge-phone"
"""Where pages find the modules of the npm package @glassbridge/phone (js/phone): in the wheel they are a folder of the
assets, in a checkout they are where they are written."""
TYPES: Final = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".LICENSE": "text/plain",
}
"""Content types by suffix; other files are not served."""


@dataclass(frozen=True, slots=True)
class Asset:
    """One file."""

    body: bytes
    gzipped: bytes
    tag: str
    """Strong entity tag, in its quotes: a browser asks once, and is told when nothing changed."""
    type: str

    @classmethod
    def read(cls, path: Path) -> "Asset":
        """Blocks for some milliseconds."""
        body = path.read_bytes()
        return cls(body, gzip.compress(body, mtime=0), f'"{sha256(body).hexdigest()[:20]}"', TYPES[path.suffix])


def package_folder() -> Path:
    """The modules of @glassbridge/phone."""
    in_wheel = FOLDER / PACKAGE
    return in_wheel if in_wheel.is_dir() else Path(__file__).parents[4] / "js" / "phone" / "src"


def _files(folder: Path) -> dict[str, Path]:
    return {
        path.relative_to(folder).as_posix(): path
        for path in folder.rglob("*")
        if path.is_file() and path.suffix in TYPES
    }


class Assets:
    """All files below FOLDER and those of the phone, by the path that a URL names them with; nothing else can be
    reached."""

    def __init__(self) -> None:
        phone = {f"{PACKAGE}/{name}": path for name, path in _files(package_folder()).items()}
        self.paths = _files(FOLDER) | phone
        """By name."""
        self._read: dict[str, Asset] = {}

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self.paths)

    async def get(self, name: str) -> Asset | None:
        """None: there is no such file. Safe to cancel."""
        if name not in self._read and (path := self.paths.get(name)) is not None:
            self._read[name] = await asyncio.to_thread(Asset.read, path)
        return self._read.get(name)
