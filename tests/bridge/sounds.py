"""Sounds of many formats, damaged ones, and those that lie; and how a bridge decodes them, without a room."""

import asyncio
import math
import os
import struct
import tempfile
import zlib
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
import psutil

from glassbridge.bridge.config import PlaybackLimits
from glassbridge.bridge.decoders import Decoders
from glassbridge.bridge.fetch import PlaybackError, Source
from glassbridge.bridge.sound import SoundClip
from glassbridge.core.values import SAMPLE_RATE
from tests.support.patience import deadline


class Format(NamedTuple):
    """How FFmpeg writes it."""

    kind: str
    codec: str
    rate: int = 44_100
    options: dict[str, str] = {}  # noqa: RUF012 - never changed
    seconds: float = 1.5
    """At least so much comes out."""


FORMATS = {
    "mp3": Format("mp3", "libmp3lame"),
    "aac": Format("adts", "aac", 24_000),
    "m4a": Format("ipod", "aac"),
    "fragmented mp4": Format("mp4", "aac", options={"movflags": "frag_keyframe+empty_moov"}),
    "faststart mp4": Format("mp4", "aac", options={"movflags": "faststart"}),
    "alac": Format("ipod", "alac"),
    "mov": Format("mov", "pcm_s16be"),
    "opus": Format("ogg", "libopus", 48_000),
    "vorbis": Format("ogg", "vorbis"),
    "ogg flac": Format("ogg", "flac"),
    "webm": Format("webm", "libopus", 48_000),
    "mka": Format("matroska", "flac"),
    "flac": Format("flac", "flac"),
    "wav": Format("wav", "pcm_s16le"),
    "wav of floats": Format("wav", "pcm_f32le"),
    "wav of 24 bits": Format("wav", "pcm_s24le", 96_000),
    "a-law": Format("wav", "pcm_alaw", 8_000),
    "u-law": Format("au", "pcm_mulaw", 8_000),
    "adpcm": Format("wav", "adpcm_ms"),
    "aiff": Format("aiff", "pcm_s16be"),
    "caf": Format("caf", "pcm_s16le"),
    "w64": Format("w64", "pcm_s16le"),
    "mpegts": Format("mpegts", "aac"),
    "mp2": Format("mp2", "mp2"),
    "ac3": Format("ac3", "ac3"),
    "eac3": Format("eac3", "eac3"),
    "tta": Format("tta", "tta"),
    "wavpack": Format("wv", "wavpack"),
    "flv": Format("flv", "aac"),
    "avi": Format("avi", "libmp3lame"),
    "asf": Format("asf", "libmp3lame"),
    "voc": Format("voc", "pcm_u8", 16_000),
}


def tone(seconds: float, rate: int, channels: int = 1, hz: float = 440.0) -> "np.ndarray[Any, np.dtype[np.int16]]":
    at = np.arange(int(seconds * rate)) / rate
    one = np.rint(12000 * np.sin(2 * math.pi * hz * at)).astype(np.int16)
    return np.repeat(one[:, None], channels, axis=1)


def written(name: str, *, rate: int = 0, channels: int = 1, hz: float = 440.0) -> bytes:
    """1.5 s of a tone."""
    form = FORMATS[name]
    rate, layout = rate or form.rate, "stereo" if channels == 2 else "mono"
    if form.codec == "vorbis":  # FFmpeg's own knows stereo only
        layout = "stereo"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "sound")
        with av.open(str(path), "w", format=form.kind, container_options=form.options) as container:
            stream = container.add_stream(form.codec, rate=rate, layout=layout, options={"strict": "-2"})
            assert isinstance(stream, av.AudioStream)
            samples = tone(1.5, rate, 2 if layout == "stereo" else 1, hz).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout=layout)
            frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), 0
            convert = av.AudioResampler(format=stream.codec_context.format, layout=layout, rate=rate)
            for piece in (*convert.resample(frame), *convert.resample(None), None):
                for packet in stream.encode(piece):
                    container.mux(packet)
        return path.read_bytes()


def wav_header(rate: int, channels: int, size: int, *, riff: int | None = None, bits: int = 16, kind: int = 1) -> bytes:
    align = channels * bits // 8
    return (
        b"RIFF"
        + struct.pack("<I", size + 36 if riff is None else riff)
        + b"WAVEfmt "
        + struct.pack("<IHHIIHH", 16, kind, channels, rate, rate * align & 0xFFFFFFFF, align & 0xFFFF, bits)
        + b"data"
        + struct.pack("<I", size)
    )


def lying_wav(*, riff: int | None = None, data: int | None = None) -> bytes:
    """1.5 s whose header says something else."""
    pcm = tone(1.5, SAMPLE_RATE).tobytes()
    return wav_header(SAMPLE_RATE, 1, len(pcm) if data is None else data, riff=riff) + pcm


def png(side: int) -> bytes:
    """A black picture: for each KB of it FFmpeg takes a MB when it decodes it."""
    size, block = (1 + side * 3) * side, 1 << 20
    whole, rest = divmod(size, block)
    squeezed = zlib.compressobj(9, wbits=-15)
    one = squeezed.compress(bytes(block)) + squeezed.flush(zlib.Z_FULL_FLUSH)
    squeezed = zlib.compressobj(9, wbits=-15)
    last = squeezed.compress(bytes(rest)) + squeezed.flush()
    data = b"\x78\xda" + one * whole + last + struct.pack(">I", size % 65521 << 16 | 1)

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    shape = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", shape) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def _of_seven_bits(size: int) -> bytes:
    return bytes(size >> shift & 127 for shift in (21, 14, 7, 0))


def id3(*frames: tuple[bytes, bytes]) -> bytes:
    content = b"".join(kind + _of_seven_bits(len(data)) + b"\0\0" + data for kind, data in frames)
    return b"ID3\x04\0\0" + _of_seven_bits(len(content)) + content


def with_covers(sound: bytes, picture: bytes, count: int) -> bytes:
    return id3(*((b"APIC", b"\0image/png\0\3%d\0" % n + picture) for n in range(count))) + sound


async def decoded(decoders: Decoders, data: bytes, limits: PlaybackLimits | None = None, **options: Any) -> bytes:
    """All that comes out of it, 16 kHz mono. Raises PlaybackError."""
    limits = limits or PlaybackLimits()
    source = Source(limits)
    sound = SoundClip(source, 1.0, limits, **options)

    async def feed() -> None:
        try:
            for at in range(0, len(data), 1 << 16):
                await source.feed(data[at : at + (1 << 16)])
            source.finish()
        except PlaybackError as error:
            source.finish(error)

    async with deadline(30):
        feeding = asyncio.create_task(feed())
        try:
            return b"".join([block async for block in sound.blocks(decoders)])
        finally:
            source.close()
            feeding.cancel()


def seconds_of(pcm: bytes, rate: int = SAMPLE_RATE) -> float:
    return len(pcm) / 2 / rate


class Growth:
    """How much this process, and each process below it, grows while it runs; use as an async context."""

    def __init__(self) -> None:
        self._first: dict[int, int] = {}
        self._most: dict[int, int] = {}
        self.kept_mb = 0.0
        """More than before, of this process, at the end."""

    async def __aenter__(self) -> "Growth":
        self._look()
        self._watching = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._watching.cancel()
        self._look()
        me = os.getpid()
        self.kept_mb = (psutil.Process().memory_info().rss - self._first[me]) / 1e6

    @property
    def mb(self) -> float:
        """Of the process that grew most."""
        return max(self._most[pid] - self._first[pid] for pid in self._first) / 1e6

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(0.01)
            self._look()

    def _look(self) -> None:
        for pid in (me := os.getpid(), *below(me)):
            try:
                size = psutil.Process(pid).memory_info().rss
            except psutil.Error:
                continue
            self._first.setdefault(pid, size)
            self._most[pid] = max(size, self._most.get(pid, 0))


def below(pid: int) -> list[int]:
    """The processes that it has started, and those that these have; psutil reads all of the machine for it."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*"):
        with suppress(OSError):  # it has ended
            found += map(int, (task / "children").read_text().split())
    return [*found, *(one for child in found for one in below(child))]
