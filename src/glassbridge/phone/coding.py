"""Captured samples become the frames that travel: cut or coded as the level of sending says (core/sending.py)."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from glassbridge.core.sending_levels import LEVELS, Coding, Level
from glassbridge.core.values import BYTES_PER_MS, BYTES_PER_SAMPLE, SAMPLE_RATE
from glassbridge.livekit.opus import Encoder
from glassbridge.phone.capture import Capture, Frame
from glassbridge.wire.audio_frames import (
    CODING_OPUS,
    FLAG_LAST,
    FLAG_REPAIR,
    OPUS_PACKET,
    FrameNumber,
    encode_numbered,
    encode_opus,
    made_by,
)

BLOCK = OPUS_PACKET * BYTES_PER_SAMPLE
MAX_COPIES = max(level.copies for level in LEVELS)
REPAIR_MS = 200
"""Longest repair in one frame of Opus; of PCM one datagram."""
MERGED = 1_000
"""Bytes of Opus in one frame: with all headers one segment of TCP (runtime/tcp.py)."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One frame for the wire; `encoded(copies)` carries so many packets before it again, where there are any."""

    number: FrameNumber
    stop: int
    """The position after its last sample."""
    pcm: bytes = b""
    packets: tuple[bytes, ...] = ()
    earlier: tuple[bytes, ...] = ()
    encoder: int = 0
    """Number of the encoder that made all of them."""

    @property
    def size(self) -> int:
        """Bytes of sound, without copies."""
        return len(self.pcm) or sum(map(len, self.packets))

    def encoded(self, copies: int = 0) -> bytes:
        """The bytes of the frame."""
        if not self.packets:
            return encode_numbered(self.number, self.pcm)
        again = self.earlier[-copies:] if copies else ()
        shift = len(again) * OPUS_PACKET
        number = replace(
            self.number,
            flags=made_by(self.encoder, self.number.flags),
            position=self.number.position - shift,
            capture_time_us=max(0, self.number.capture_time_us - shift * 1_000_000 // SAMPLE_RATE),
        )
        return encode_numbered(number, encode_opus((*again, *self.packets), self.stop - number.position))


class Coder:
    """Of one capture: keeps the state of its encoder and what does not fill a packet yet. The encoder begins anew,
    under a new number, where positions do not go on and when its bit rate changes."""

    def __init__(self, numbers: Iterator[int]) -> None:
        """`numbers` of encoders: of the capture (phone/capture.py)."""
        self._numbers = numbers
        self._encoder: Encoder | None = None
        self._number = 0
        self._bit_rate = 0
        self._rest: Frame | None = None
        self._earlier: deque[bytes] = deque(maxlen=MAX_COPIES)
        self._stop = -1
        """The position after the last packet that was coded."""

    @property
    def holds(self) -> bool:
        """Samples wait for more, to fill a packet."""
        return self._rest is not None

    def code(self, frame: Frame, level: Level) -> list[Outgoing]:
        """The frames for these samples and those that waited; `last` leaves nothing waiting."""
        if level.coding is Coding.PCM:
            parts = [] if self._rest is None else [self._rest]
            self._rest = None
            return [part for whole in (*parts, frame) for part in _cut(whole, level.frame_ms)]
        if self._rest is not None:
            number = replace(self._rest.number, flags=frame.number.flags)
            frame = Frame(number, self._rest.pcm + frame.pcm)
        return self._opus(frame, level)

    def flush(self, level: Level) -> list[Outgoing]:
        """What waits, filled up with silence."""
        rest, self._rest = self._rest, None
        return [] if rest is None else self._opus(rest, level, whole=True)

    def _opus(self, frame: Frame, level: Level, *, whole: bool = False) -> list[Outgoing]:
        last = frame.number.last
        length = len(frame.pcm) if last or whole else len(frame.pcm) // BLOCK * BLOCK
        self._rest = _part(frame, length, len(frame.pcm)) if length < len(frame.pcm) else None
        if self._encoder is None or frame.number.position != self._stop or level.bit_rate != self._bit_rate:
            self._encoder, self._number, self._bit_rate = Encoder(level.bit_rate), next(self._numbers), level.bit_rate
            self._earlier.clear()
        step = max(1, level.frame_ms // 20) * BLOCK
        out: list[Outgoing] = []
        for start in range(0, length, step):
            part = _part(frame, start, min(start + step, length))
            padded = part.pcm + bytes(-len(part.pcm) % BLOCK)
            packets = tuple(self._encoder.encode(padded[at : at + BLOCK]) for at in range(0, len(padded), BLOCK))
            number = replace(part.number, coding=CODING_OPUS)
            out.append(Outgoing(number, part.stop, b"", packets, tuple(self._earlier), self._number))
            self._earlier.extend(packets)
            if len(part.pcm) % BLOCK:
                self._earlier.clear()
            self._stop = part.stop
        return out


def joined(frames: Iterable[Frame]) -> list[Frame]:
    """As few long frames: each as long as its positions go on, and what it says beside them but for its end."""
    out: list[Frame] = []
    for frame in frames:
        alike = out and (out[-1].number.flags ^ frame.number.flags) & ~FLAG_LAST == 0
        if alike and out[-1].stop == frame.number.position:
            former = out.pop()
            number = replace(former.number, flags=frame.number.flags)
            out.append(Frame(number, former.pcm + frame.pcm))
        else:
            out.append(frame)
    return out


def merged(frames: Iterable[Outgoing]) -> list[Outgoing]:
    """The same in as few frames of Opus, for TCP: it delivers nothing before what was lost ahead of it, and each frame
    is a segment that may be."""
    out: list[Outgoing] = []
    for frame in frames:
        if out and _fit(out[-1], frame):
            former = out.pop()
            number = replace(former.number, flags=frame.number.flags)
            out.append(replace(former, number=number, stop=frame.stop, packets=former.packets + frame.packets))
        else:
            out.append(frame)
    return out


def _fit(former: Outgoing, frame: Outgoing) -> bool:
    """Whether one frame can carry both: only its last packet may be filled up with silence."""
    coded = bool(former.packets and frame.packets) and former.size + frame.size <= MERGED
    alike = (former.number.flags ^ frame.number.flags) & ~FLAG_LAST == 0
    whole = (former.stop - former.number.position) % OPUS_PACKET == 0
    follows = former.stop == frame.number.position and former.encoder == frame.encoder
    return coded and alike and whole and follows


def recoded(waiting: Iterable[Outgoing], capture: Capture, level: Level, coder: Coder) -> list[Outgoing]:
    """The waiting frames as `level` wants them, made anew from the captured samples. Acknowledged samples and
    presence frames are left out."""
    spoken = [frame for frame in waiting if not frame.number.presence]
    kept = [part for frame in spoken for part in capture.part(frame.number, frame.stop)]
    return [again for frame in joined(kept) for again in repair(frame, level, coder, flags=frame.number.flags)]


def repair(frame: Frame, level: Level, coder: Coder, *, flags: int = FLAG_REPAIR) -> list[Outgoing]:
    """Frames that carry these samples again. `coder` is another one than that of what is live, which goes on."""
    if level.coding is Coding.PCM:
        cut = _cut(frame, level.frame_ms)
        return [replace(part, number=replace(part.number, flags=flags)) for part in cut]
    again = replace(frame, number=replace(frame.number, flags=FLAG_LAST))
    coded = coder.code(again, replace(level, frame_ms=REPAIR_MS))
    return [replace(part, number=replace(part.number, flags=flags)) for part in coded]


def repaired(frames: Iterable[Frame], level: Level, coder: Coder) -> list[Outgoing]:
    """The same for several. Samples without a gap are coded as a whole: only its last packet is filled up
    with silence, however short the frames were."""
    whole = frames if level.coding is Coding.PCM else joined(frames)
    return [again for frame in whole for again in repair(frame, level, coder)]


def _part(frame: Frame, start: int, stop: int) -> Frame:
    """Bytes [start, stop) of a frame; `last` stays with its end."""
    flags = frame.number.flags if stop == len(frame.pcm) else frame.number.flags & ~FLAG_LAST
    number = replace(
        frame.number,
        flags=flags,
        position=frame.number.position + start // BYTES_PER_SAMPLE,
        capture_time_us=frame.number.capture_time_us + start * 1000 // BYTES_PER_MS,
    )
    return Frame(number, frame.pcm[start:stop])


def _cut(frame: Frame, frame_ms: int) -> list[Outgoing]:
    size = frame_ms * BYTES_PER_MS or len(frame.pcm)
    parts = [_part(frame, at, min(at + size, len(frame.pcm))) for at in range(0, len(frame.pcm), max(1, size))]
    return [Outgoing(part.number, part.stop, part.pcm) for part in parts]
