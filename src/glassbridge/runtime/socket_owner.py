"""The owner of a Unix socket. gRPC for Python hides the descriptor of a connection, so SO_PEERCRED cannot be asked. The
owner of the socket file is the user who has bound it: only root can give a file away.

In a folder where others may make files (such as /tmp) they could replace the socket of a bridge that is away, between
the check and the call. The cloud warns of such a folder; one of mode 0700 is safe.
"""

import os
import pwd
import stat
from collections.abc import Collection
from pathlib import Path


def own_users(owner: str) -> frozenset[int]:
    """The users that may own a bridge's socket: this one (name or number); empty: us and root. Raises ValueError."""
    if not owner:
        return frozenset({os.geteuid(), 0})
    try:
        return frozenset({int(owner) if owner.isdecimal() else pwd.getpwnam(owner).pw_uid})
    except KeyError:
        raise ValueError("there is no such user on this machine") from None


def check_owner(path: Path, users: Collection[int]) -> str:
    """Why the socket at `path` may not be used; empty: it may, or no process listens there."""
    try:
        found = path.stat()
    except OSError:
        return ""
    if not stat.S_ISSOCK(found.st_mode):
        return f"{path} is no socket"
    return "" if found.st_uid in users else f"{path} belongs to user {found.st_uid}"


def is_shared(folder: Path) -> bool:
    """Whether users other than its owner may make files there."""
    try:
        return bool(folder.stat().st_mode & 0o022)
    except OSError:
        return False
