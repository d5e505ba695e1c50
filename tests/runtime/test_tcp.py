"""Whether the other machine is still there, as far as TCP knows."""

import asyncio
import socket
import struct
import sys

import pytest

from glassbridge.core.app_times import LOOK_EVERY, LOOKS
from glassbridge.runtime import tcp

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what is acknowledged")

TCP_CC_INFO = 26


class FakeSocket:
    """Tells one answer of the kernel after the other, the last one again and again: (unacknowledged segments, probes
    of a closed window, milliseconds since the last acknowledgement)."""

    def __init__(self, *answers: tuple[int, int, int]) -> None:
        self._answers = list(answers)
        self.looks = 0

    def getsockopt(self, *_: int) -> bytes:
        unacknowledged, probes, quiet = self._answers[min(self.looks, len(self._answers) - 1)]
        self.looks += 1
        info = bytearray(256)
        info[3] = probes
        struct.pack_into("=I", info, 24, unacknowledged)
        struct.pack_into("=I", info, 56, quiet)
        return bytes(info)


async def is_lost(raw: object, within: float = 0.3, look_every: float = 0.01) -> bool:
    try:
        async with asyncio.timeout(within):
            await tcp.lost(raw, look_every, LOOKS)  # type: ignore[arg-type]
    except TimeoutError:
        return False
    return True


@pytest.mark.parametrize(
    ("answers", "found"),
    [
        ([(2, 0, 10_000)], True),
        ([(0, 4, 10_000)], True),  # it had no room, and does not even say so any more
        ([(0, 0, 10_000)], False),  # nothing was sent: silence means nothing
        ([(2, 0, 1)], False),  # it acknowledges, the newest is on its way
        ([(0, 4, 1)], False),  # a program that does not read: its machine says so
        ([(2, 0, 10_000), (2, 0, 10_000), (0, 0, 0)], False),  # a short interruption
        ([(1, 0, 60_000), (0, 0, 1)], False),  # nothing was sent for a minute until now
    ],
)
async def test_only_what_is_sent_in_vain_counts(answers: list[tuple[int, int, int]], found: bool) -> None:
    raw = FakeSocket(*answers)
    assert await is_lost(raw) is found
    assert raw.looks >= LOOKS


@pytest.mark.slow
async def test_a_peer_that_does_not_read_is_there() -> None:
    """With a real connection whose window is closed; TCP_USER_TIMEOUT would end it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        raw = socket.create_connection(server.getsockname())
        peer, _ = server.accept()
        with raw, peer:
            raw.setblocking(False)
            for _ in range(10_000):
                try:
                    raw.send(bytes(65_536))
                except BlockingIOError:
                    break
            assert tcp.unacknowledged(raw) > 0
            assert not await is_lost(raw, 2 * LOOK_EVERY * LOOKS, LOOK_EVERY)


async def test_what_is_no_tcp_is_never_lost() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert not await is_lost(ours, 0.1)


@pytest.mark.skipif(sys.platform != "linux", reason="options of Linux")
async def test_repetitions_come_soon_at_both_ends_where_the_system_knows_how() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        tcp.prepare(listening)
        ours = await tcp.connect(*listening.getsockname())
        theirs, _ = listening.accept()
        with ours, theirs:
            try:
                shortest = [end.getsockopt(socket.IPPROTO_TCP, 45) for end in (ours, theirs)]
            except OSError:
                pytest.skip("this system is older than Linux 6.15")
    assert shortest == [100_000, 100_000]


class Controlled:
    """A socket with a congestion control and a state of the connection; remembers which control it was given."""

    def __init__(self, control: str, state: int = 0) -> None:
        self._control = control.encode().ljust(16, b"\0")
        self._state = state
        self.given: list[bytes] = []

    def getsockopt(self, _level: int, option: int, _size: int) -> bytes:
        return self._control if option == socket.TCP_CONGESTION else bytes([1, self._state, *bytes(254)])

    def setsockopt(self, _level: int, _option: int, value: bytes) -> None:
        self.given.append(value)


@pytest.mark.parametrize(
    ("control", "state", "given"),
    [("bbr", 0, [b"reno", b"bbr"]), ("bbr", 3, []), ("cubic", 0, []), ("reno", 0, [])],
)
def test_only_bbr_measures_anew_and_not_amid_losses(control: str, state: int, given: list[bytes]) -> None:
    raw = Controlled(control, state)
    assert tcp.renew_bbr(raw) is bool(given)  # type: ignore[arg-type]
    assert raw.given == given


def number(info: bytes, at: int) -> int:
    return int.from_bytes(info[at : at + 4], sys.byteorder)


def pacing_gain(raw: socket.socket) -> int:
    """0: BBR has measured nothing yet. (tcp_bbr_info of linux/inet_diag.h.)"""
    return number(raw.getsockopt(socket.IPPROTO_TCP, TCP_CC_INFO, 20), 12)


def window(raw: socket.socket) -> int:
    """Segments that may be on their way."""
    return number(raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256), 80)


def test_the_kernels_bbr_begins_anew_with_the_window_that_it_has() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as raw:
        try:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"bbr")
        except OSError:
            pytest.skip("this kernel has no BBR")
        other, _ = server.accept()
        with other:
            for _ in range(50):
                raw.sendall(bytes(1 << 16))
                other.recv(1 << 16, socket.MSG_WAITALL)
            before = window(raw)
            assert pacing_gain(raw)
            assert tcp.renew_bbr(raw)
            assert (pacing_gain(raw), window(raw)) == (0, before)
            assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0") == b"bbr"
