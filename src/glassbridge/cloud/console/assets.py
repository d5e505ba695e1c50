"""The files that browsers get, read once, with their types, tags and compressed forms."""

import asyncio
import gzip
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent / "assets"
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


class Assets:
    """All files below `folder`, by the path that a URL names them with; nothing else can be reached."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._paths = {
            str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file() and path.suffix in TYPES
        }
        self._read: dict[str, Asset] = {}

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self._paths)

    async def get(self, name: str) -> Asset | None:
        """None: there is no such file. Safe to cancel."""
        if name not in self._read and (path := self._paths.get(name)) is not None:
            self._read[name] = await asyncio.to_thread(Asset.read, path)
        return self._read.get(name)
