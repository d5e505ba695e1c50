"""The decoder: a process beside each worker. It forks a process for each sound; FFmpeg runs only there.

    python -m glassbridge.bridge.decoder FD

FD is a socket to the worker. A message on it is a SoundRequest, and with it comes a socket for that sound. The sound's
process has nothing else: no files, no network, and limits of memory and processor time. It asks for bytes of the file
and gives PCM. When the worker closes its end of the socket, the decoder kills the process. When the process dies, the
decoder tells the worker why. So a hostile sound can hurt only itself (docs/adr/0007).
"""

import gc
import json
import os
import resource
import select
import signal
import socket
import sys
from collections import deque
from contextlib import suppress
from dataclasses import asdict, dataclass
from struct import Struct
from time import monotonic
from typing import Final, NoReturn

from glassbridge.core.values import BYTES_PER_SAMPLE

READY: Final = b"ready"
"""The first message to the worker: FFmpeg is loaded."""

# Messages of one sound, by their first byte. From its process:
BORN, READ, LET_GO, DURATION, PCM, DONE, REFUSED, DIED = b"b", b"r", b"l", b"d", b"p", b".", b"!", b"x"
"""Its process id; bytes are wanted; earlier bytes are not wanted again; milliseconds by the header; sound; the end; the
refusal (JSON: code, text). From the decoder: the exit status, negative for a signal."""
NUMBER: Final = Struct("<q")
WANTED: Final = Struct("<QI")
"""Position, and how many bytes at most (0: only the size)."""
# From the worker: the size of the file (NUMBER; -1: not known yet), and the bytes. Nothing: there are no more.

MAX_MESSAGE: Final = 64 << 10
READ_BYTES: Final = 32 << 10
"""A larger answer than FFmpeg asks for costs fewer messages."""
BLOCKS_A_SECOND: Final = 10
FULL_SPEED: Final = 0.5
"""Seconds until a sound's process gives way to live audio: what takes longer has begun to play, or is hostile."""
NICENESS: Final = 5
CPU_SECONDS: Final = 2
"""Seconds of processor time that a sound may take to begin,"""
CPU_SHARE: Final = 0.25
"""and for each second of sound that comes out."""


@dataclass(frozen=True, slots=True)
class SoundRequest:
    """What is wanted of a sound."""

    rate: int
    volume: float
    start_ms: int
    """Sound that is left out."""
    memory_mb: int
    """May be allocated for it."""

    def encode(self) -> bytes:
        """As a message."""
        return json.dumps(asdict(self)).encode()


class RemoteFile:
    """The file, whose bytes the worker has. If a file can seek, some of FFmpeg's demuxers read to the end first."""

    def __init__(self, worker: socket.socket, seekable: bool) -> None:
        self._worker = worker
        self._seekable = seekable
        self._position = 0
        self._ahead = b""
        """Bytes at the position that came with an earlier answer."""
        self._size = -1

    def read(self, size: int) -> bytes:
        """b"" at the end, and where the worker cannot read on. Raises ConnectionError: the worker hung up."""
        if not self._ahead:
            self._ahead = self._ask(READ_BYTES)
        data, self._ahead = self._ahead[:size], self._ahead[size:]
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """-1 where the end is wanted and nobody knows it yet."""
        if whence == os.SEEK_END:
            if self._size < 0:
                self._ask(0)
            if self._size < 0:
                return -1
            offset += self._size
        elif whence == os.SEEK_CUR:
            offset += self._position
        if offset != self._position:
            self._position, self._ahead = max(0, offset), b""
        return self._position

    def tell(self) -> int:
        return self._position

    def seekable(self) -> bool:
        return self._seekable

    def _ask(self, size: int) -> bytes:
        self._worker.sendall(READ + WANTED.pack(self._position, size))
        answer = self._worker.recv(MAX_MESSAGE)
        if not answer:
            raise ConnectionResetError("the worker hung up")
        (self._size,) = NUMBER.unpack_from(answer)
        return answer[NUMBER.size :]


class _SoundProcess:
    """Decodes one sound and ends."""

    def __init__(self, worker: socket.socket, request: SoundRequest) -> None:
        self._worker = worker
        self._request = request
        self._begun = False
        self._skip = request.start_ms * request.rate // 1000 * BYTES_PER_SAMPLE
        """Bytes of PCM that are still to be left out."""

    def run(self) -> None:
        """Returns when all is said. Raises ConnectionError: the worker hung up."""
        from glassbridge.bridge.decoding import SoundError

        _limit(self._request.memory_mb)
        self._worker.sendall(BORN + NUMBER.pack(os.getpid()))
        refusal: SoundError | None = None
        for seekable in (False, True):  # some containers can be read only from their end
            try:
                self._decode(RemoteFile(self._worker, seekable))
            except SoundError as error:
                refusal = error
                if error.code == "undecodable" and not self._begun:
                    continue
            else:
                refusal = None
            break
        if refusal is None:
            self._worker.sendall(DONE)
        else:
            self._worker.sendall(REFUSED + json.dumps([refusal.code, str(refusal)]).encode())

    def _decode(self, file: RemoteFile) -> None:
        from glassbridge.bridge.decoding import pcm_of

        rate, size = self._request.rate, self._request.rate // BLOCKS_A_SECOND * BYTES_PER_SAMPLE
        pending = bytearray()
        decoded = seconds = 0
        for piece in pcm_of(file, rate, self._request.volume, self._tell_duration):
            decoded += len(piece)
            if decoded // (rate * BYTES_PER_SAMPLE) > seconds:
                seconds = decoded // (rate * BYTES_PER_SAMPLE)
                _limit_cpu(CPU_SECONDS + CPU_SHARE * seconds)
            left_out = min(self._skip, len(piece))
            self._skip -= left_out
            pending += piece[left_out:]
            while len(pending) >= size:
                self._emit(bytes(pending[:size]), file)
                del pending[:size]
        if pending:
            self._emit(bytes(pending), file)

    def _emit(self, block: bytes, file: RemoteFile) -> None:
        if not self._begun:
            self._begun = True
            if not file.seekable():
                self._worker.sendall(LET_GO)
        self._worker.sendall(PCM + block)

    def _tell_duration(self, microseconds: int) -> None:
        self._worker.sendall(DURATION + NUMBER.pack(microseconds // 1000))


def _limit(memory_mb: int) -> None:
    """What this process may take from now on. It opens no files: it has its socket."""
    with open("/proc/self/statm", "rb") as file:
        mapped = int(file.read().split()[0]) * resource.getpagesize()
    for kind, most in (
        (resource.RLIMIT_AS, mapped + (memory_mb << 20)),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (most, most))
    _limit_cpu(CPU_SECONDS)


def _limit_cpu(seconds: float) -> None:
    """The kernel ends a process that takes more, in whole seconds."""
    resource.setrlimit(resource.RLIMIT_CPU, (round(seconds), resource.getrlimit(resource.RLIMIT_CPU)[1]))


class DecoderTemplate:
    """Forks a process for each request, kills it when its worker hangs up, and tells the worker of what it died."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._sounds: dict[int, tuple[socket.socket, int]] = {}
        """By descriptor: the sound's socket, and its process."""
        self._young: deque[tuple[float, int]] = deque()
        """Processes at full speed, and until when (monotonic seconds)."""
        self._poll = select.poll()
        self._poll.register(control, select.POLLIN)
        self._ended, self._wake = os.pipe()
        for end in (self._ended, self._wake):
            os.set_blocking(end, False)
        self._poll.register(self._ended, select.POLLIN)

    def run(self) -> None:
        """Returns when the worker is gone. Its sounds are killed."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake)
        self._control.sendall(READY)
        while True:
            ready = {descriptor for descriptor, _ in self._poll.poll(self._slow_down())}
            for descriptor in ready & self._sounds.keys():  # the worker hung up
                self._poll.unregister(descriptor)
                os.kill(self._sounds[descriptor][1], signal.SIGKILL)
            if self._ended in ready:
                self._reap()
            if self._control.fileno() in ready and not self._take_request():  # last: it reuses descriptors
                for _, pid in self._sounds.values():
                    os.kill(pid, signal.SIGKILL)
                return

    def _slow_down(self) -> float | None:
        """Milliseconds until the next process has to give way; None: there is none."""
        now = monotonic()
        while self._young and self._young[0][0] <= now:
            _, pid = self._young.popleft()
            if any(pid == running for _, running in self._sounds.values()):
                os.setpriority(os.PRIO_PROCESS, pid, NICENESS)
        return (self._young[0][0] - now) * 1000 + 1 if self._young else None

    def _take_request(self) -> bool:
        """False: there will be no more."""
        with suppress(ConnectionError):
            message, descriptors, _, _ = socket.recv_fds(self._control, MAX_MESSAGE, 1)
            if message:
                sound = socket.socket(fileno=descriptors[0])
                request = SoundRequest(**json.loads(message))
                pid = os.fork()
                if pid == 0:
                    self._be_sound(sound, request)
                self._sounds[sound.fileno()] = sound, pid
                self._young.append((monotonic() + FULL_SPEED, pid))
                self._poll.register(sound, 0)  # only its end
                return True
        return False

    def _be_sound(self, worker: socket.socket, request: SoundRequest) -> NoReturn:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for held in (self._control, *(sound for sound, _ in self._sounds.values())):
            held.close()
        status = 1
        try:
            _SoundProcess(worker, request).run()
            status = 0
        except ConnectionError:
            status = 0  # the worker hung up
        except BaseException:  # the end of a process: nothing of its parent may run here
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(status)

    def _reap(self) -> None:
        with suppress(BlockingIOError):
            while os.read(self._ended, 512):
                pass
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                self._forget(ended[0], os.waitstatus_to_exitcode(ended[1]))

    def _forget(self, pid: int, status: int) -> None:
        descriptor = next(found for found, (_, of) in self._sounds.items() if of == pid)
        sound, _ = self._sounds.pop(descriptor)
        with suppress(KeyError):  # the worker hung up
            self._poll.unregister(descriptor)
        with sound, suppress(OSError):  # the worker is gone, or reads nothing
            if status != 0:
                sound.send(DIED + NUMBER.pack(status), socket.MSG_DONTWAIT)


def main() -> None:
    """The process."""
    from glassbridge.bridge import decoding

    decoding.warm_up()
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=int(sys.argv[1])) as control:
        DecoderTemplate(control).run()


if __name__ == "__main__":
    main()
