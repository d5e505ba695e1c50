"""Addresses to listen on: "in use" as one clear line, stale socket files rebound, live ones left alone."""

import errno
import os
import resource
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from glassbridge.runtime.complaints import Complaint
from glassbridge.runtime.errors import UserError

MAX_SOCKET_PATH = 107
"""Bytes that Linux allows for the path of a Unix socket."""
MAX_PORT = 65_535
_ANSWERS_WITHIN = 1.0


class CannotListen(UserError):
    """The address is not available; the text says what to do."""


def claim_socket(path: Path) -> None:
    """Makes the way free for a Unix socket at `path`: its folder exists (0700 when made here), no stale file is there.

    Raises CannotListen: in use by a live process, something else than a socket, path too long, folder not writable.
    """
    if len(os.fsencode(path)) > MAX_SOCKET_PATH:
        raise CannotListen(Complaint.SOCKET_PATH_LONG.text(most=MAX_SOCKET_PATH, path=path))
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = path.lstat().st_mode
    except FileNotFoundError:
        mode = None
    except OSError as error:
        raise CannotListen(Complaint.SOCKET_FOLDER_UNUSABLE.text(path=path, why=error.strerror)) from None
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise CannotListen(Complaint.SOCKET_FOLDER_CLOSED.text(path=path))
    if mode is None:
        return
    if not stat.S_ISSOCK(mode):
        raise CannotListen(Complaint.SOCKET_IS_FILE.text(path=path))
    if not remove_stale_socket(path):
        raise CannotListen(Complaint.SOCKET_TAKEN.text(path=path))


def remove_stale_socket(path: Path) -> bool:
    """Removes a socket file that no process listens on; False: one does."""
    if path.is_socket():
        if _is_live(path):
            return False
        path.unlink(missing_ok=True)
    return True


def _is_live(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_ANSWERS_WITHIN)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:  # full backlog, no permission: a process listens
            return True
    return True


def cannot_listen(address: str, error: OSError) -> str:
    """For people: the system does not give us an address."""
    return Complaint.ADDRESS_UNUSABLE.text(address=address, why=error.strerror)


def port_in_use(port: int, option: str = "--port", kind: str = "tcp") -> str:
    """For people: the process that holds a port of this machine, and what to do."""
    return Complaint.PORT_TAKEN.text(port=port, holder=port_holder(port, kind), option=option)


def port_holder(port: int, kind: str = "tcp") -> str:
    """The program that listens on a TCP (or has a UDP) port of this machine, as far as this user may know."""
    import psutil

    with suppress(psutil.Error, OSError):
        for found in psutil.net_connections(kind):
            here = found.status == psutil.CONN_LISTEN or kind == "udp"
            if here and found.pid and found.laddr[1:] == (port,):
                return f"{psutil.Process(found.pid).name()} (pid {found.pid})"
    return "another program"


def claim_port(host: str, port: int) -> None:
    """Makes sure that a TCP port is free at this moment. Raises CannotListen."""
    if not 0 <= port <= MAX_PORT:
        raise CannotListen(Complaint.PORT_WRONG.text(port=port, most=MAX_PORT))
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError):
        raise CannotListen(Complaint.ADDRESS_UNKNOWN.text(host=host, port=port)) from None
    family, kind, protocol, _, address = found[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise CannotListen(port_in_use(port)) from None
            raise CannotListen(cannot_listen(f"{host}:{port}", error)) from None


@contextmanager
def private_files() -> Iterator[None]:
    """Files and sockets made meanwhile are for this user only (traps 24). Affects the whole process."""
    before = os.umask(0o177)
    try:
        yield
    finally:
        os.umask(before)


def raise_descriptor_limit() -> int:
    """Takes as many file descriptors as the system allows us; returns how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            return hard
    return soft
