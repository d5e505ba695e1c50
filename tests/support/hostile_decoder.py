"""The decoder with an FFmpeg that obeys the sound: `spin`, `fill`, `crash`, `raise`, `sleep`, else plays 2 s."""

import ctypes
import time
from collections.abc import Callable, Iterator

from glassbridge.bridge import decoder, decoding


def obey(file: decoding.File, rate: int, volume: float, on_duration: Callable[[int], None]) -> Iterator[bytes]:
    match file.read(5).strip():
        case b"spin":
            while True:
                pass
        case b"fill":
            kept = []
            try:
                while True:
                    kept.append(bytearray(1 << 20))
            except MemoryError:
                del kept
                raise decoding.SoundError("too_large", "the audio needs too much memory to be decoded") from None
        case b"crash":
            ctypes.string_at(0)
        case b"raise":
            raise RuntimeError("a defect")
        case b"sleep":
            time.sleep(3600)
        case _:
            for _ in range(20):
                yield bytes(rate // 10 * 2)


if __name__ == "__main__":
    decoding.pcm_of = obey
    decoder.main()
