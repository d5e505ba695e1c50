"""Sound files to PCM16 mono by FFmpeg: opened, taken apart, decoded packet by packet, mixed, resampled.

Only the decoder's processes import this (bridge/decoder.py): FFmpeg is not trusted with a worker.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from fractions import Fraction
from itertools import chain
from typing import Any, Final, Protocol

import av
from av.error import BlockingIOError, EOFError, FFmpegError
from av.filter import Graph
from av.stream import Discard

from glassbridge.bridge.joined import JoinedFile
from glassbridge.core.values import BYTES_PER_SAMPLE

FORMATS: Final = (
    "aac,ac3,aiff,alaw,amr,amrnb,amrwb,ape,asf,au,avi,caf,dts,eac3,flac,flv,matroska,mov,mp3,mpc,mpc8,mpeg,mpegts,"
    "mulaw,ogg,oma,shn,tak,tta,voc,w64,wav,webm,wv,xwma"
)
CODECS: Final = (
    "aac,aac_latm,ac3,adpcm_g722,adpcm_ima_qt,adpcm_ima_wav,adpcm_ms,adpcm_swf,alac,amrnb,amrwb,ape,atrac3,atrac3p,dca,"
    "eac3,flac,g722,gsm,gsm_ms,ilbc,libopencore_amrnb,libopencore_amrwb,libopus,mp1,mp1float,mp2,mp2float,mp3,mp3float,"
    "mpc7,mpc8,nellymoser,opus,pcm_alaw,pcm_bluray,pcm_dvd,pcm_f32be,pcm_f32le,pcm_f64be,pcm_f64le,pcm_mulaw,"
    "pcm_s16be,pcm_s16le,pcm_s24be,pcm_s24le,pcm_s32be,pcm_s32le,pcm_s8,pcm_u8,shorten,speex,tak,tta,vorbis,wavpack,"
    "wmalossless,wmapro,wmav1,wmav2,wmavoice"
)
"""Audio only: FFmpeg decodes the first picture of a cover or a video just to find out its size (traps N10)."""
_SEALED: Final = {"format_whitelist": FORMATS, "codec_whitelist": CODECS, "protocol_whitelist": "none"}
"""What FFmpeg would open by itself because a file says so (playlists, references) would pass by every check of ours."""
_QUICK: Final = {"probesize": "32768", "analyzeduration": "200000"}
"""Begin to speak as soon as the format is known, not when megabytes have come."""
_ALLOWED: Final = frozenset(CODECS.split(","))
_READ_BYTES: Final = 4_096

MIN_RATE, MAX_RATE = 8_000, 192_000
"""Hz. One sample of a file of 1 Hz becomes 16,000 of ours."""
MAX_CHANNELS: Final = 8
MAX_DAMAGED: Final = 500
"""Packets in a row that cannot be decoded; the sound is given up then."""


class SoundError(Exception):
    """Why a sound cannot be played: `code` for programs, the text for people. Never holds a URL."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class File(Protocol):
    """What FFmpeg reads from."""

    def read(self, size: int) -> bytes: ...
    def seek(self, offset: int, whence: int) -> int: ...
    def tell(self) -> int: ...
    def seekable(self) -> bool: ...


_USUAL: Final = ("mp3float", "aac", "opus", "vorbis", "flac", "pcm_s16le")


def warm_up() -> None:
    """Fills FFmpeg's tables of the usual codecs, once for all sounds."""
    for name in _USUAL:
        context = av.CodecContext.create(name, "r")
        assert isinstance(context, av.AudioCodecContext)
        context.sample_rate, context.layout = 48_000, "stereo"
        with suppress(FFmpegError):
            context.open()
    _Converter(("fltp", "stereo", 44_100), 16_000, 1.0)


def pcm_of(file: File, rate: int, volume: float, on_duration: Callable[[int], None]) -> Iterator[bytes]:
    """PCM16 mono at `rate`, piece by piece. `on_duration` hears what the header says, in microseconds, if it says
    anything. Raises SoundError. Damaged packets are left out."""
    if file.seekable():
        yield from _pcm_of_one(file, rate, volume, on_duration)
        return
    joined = JoinedFile(file)
    yield from _pcm_of_one(joined, rate, volume, on_duration)
    damaged = 0
    while joined.next_sound():
        try:
            for piece in _pcm_of_one(joined, rate, volume, _ignore):
                damaged = 0
                yield piece
        except SoundError as error:
            damaged += 1
            if error.code != "undecodable" or damaged > MAX_DAMAGED:
                raise


def _ignore(_microseconds: int) -> None:
    """Later sounds of a joined file do not tell how long it is."""


def _pcm_of_one(file: File, rate: int, volume: float, on_duration: Callable[[int], None]) -> Iterator[bytes]:
    try:
        options = _SEALED if file.seekable() else _SEALED | _QUICK
        with av.open(file, mode="r", options=options, buffer_size=_READ_BYTES) as container:
            stream = _audio_of(container)
            if container.duration:
                on_duration(container.duration)
            yield from _converted(_frames(container, stream), rate, volume)
    except MemoryError:
        raise SoundError("too_large", "the audio needs too much memory to be decoded") from None
    except FFmpegError as error:
        raise SoundError("undecodable", f"the audio cannot be decoded ({error.strerror})") from None
    except ValueError:
        raise SoundError("undecodable", "the audio cannot be decoded (its format is not one for sound)") from None


def _audio_of(container: Any) -> Any:
    """The first stream that can be decoded. Raises SoundError."""
    if not container.streams.audio:
        raise SoundError("no_audio", "there is no audio in what the URL gives")
    for stream in container.streams.audio:
        if (codec := stream.codec_context) is not None and codec.name in _ALLOWED:
            break
    else:
        raise SoundError("undecodable", "the audio cannot be decoded (its codec is not supported)")
    codec.thread_count = 1
    _check_shape(codec.sample_rate or MIN_RATE, codec.channels or 1)  # 0: its frames will tell
    for other in container.streams:
        if other is not stream:
            other.discard = Discard.all
    return stream


def _check_shape(rate: int, channels: int) -> None:
    if not MIN_RATE <= rate <= MAX_RATE:
        raise SoundError(
            "unsupported_rate", f"the audio has a sample rate of {rate} Hz: {MIN_RATE} to {MAX_RATE} can be played"
        )
    if not 1 <= channels <= MAX_CHANNELS:
        raise SoundError("unsupported_channels", f"the audio has {channels} channels: at most {MAX_CHANNELS}")


def _packets(container: Any, stream: Any) -> Iterator[Any]:
    """All packets of the stream. Raises FFmpegError after MAX_DAMAGED places in a row where there was none."""
    damaged = 0
    while True:
        try:
            for packet in container.demux(stream):
                damaged = 0
                if packet.size:  # the last one, to flush, is empty
                    yield packet
        except IndexError:
            return  # PyAV 18 at the end of a file in which more streams turned up
        except MemoryError:
            raise
        except FFmpegError:
            damaged += 1
            if damaged > MAX_DAMAGED:
                raise
        else:
            return


def _frames(container: Any, stream: Any) -> Iterator[Any]:
    """Raises FFmpegError where nothing, or too little, can be decoded."""
    damaged, any_sound = 0, False
    error: FFmpegError | None = None
    for packet in chain(_packets(container, stream), (None,)):  # None: flush
        try:
            frames = stream.codec_context.decode(packet)
        except MemoryError:
            raise
        except FFmpegError as met:
            damaged, error = damaged + 1, met
            if damaged > MAX_DAMAGED:
                raise
            continue
        for frame in frames:
            damaged, any_sound = 0, True
            yield frame
    if error is not None and not any_sound:
        raise error


class _Converter:
    """Mixes and resamples frames of one shape."""

    def __init__(self, shape: tuple[str, str, int], rate: int, volume: float) -> None:
        kind, layout, source_rate = shape
        self._graph = graph = Graph()
        graph.threads = 1
        source = graph.add_abuffer(
            sample_rate=source_rate, format=kind, layout=layout, time_base=Fraction(1, source_rate)
        )
        # Mixed without a limit two equal channels become louder. A filter of 128 taps: 7.5 kHz at -0.1 dB, what is
        # above 8 kHz at -90 dB, as good as soxr (docs/adr/0007).
        mixed = f"out_sample_rate={rate}:out_chlayout=mono:internal_sample_fmt=fltp:filter_size=128:rematrix_maxval=1"
        if volume == 1.0:
            steps = [graph.add("aresample", f"{mixed}:out_sample_fmt=s16")]
        else:
            steps = [
                graph.add("aresample", f"{mixed}:out_sample_fmt=flt"),
                graph.add("volume", f"volume={volume}:precision=float"),
                graph.add("aresample", "out_sample_fmt=s16"),
            ]
        graph.link_nodes(source, *steps, graph.add("abuffersink"))
        graph.configure()

    def convert(self, frame: Any) -> Iterator[bytes]:
        """None: the end."""
        self._graph.push(frame)
        while True:
            try:
                converted: Any = self._graph.pull()
            except (BlockingIOError, EOFError):
                return
            yield bytes(converted.planes[0])[: converted.samples * BYTES_PER_SAMPLE]


def _converted(frames: Iterator[Any], rate: int, volume: float) -> Iterator[bytes]:
    shape: tuple[str, str, int] | None = None
    converter: _Converter | None = None
    for frame in frames:
        frame.pts = None  # gaps and wrong stamps in a file must not become silence
        this = (frame.format.name, frame.layout.name, frame.sample_rate)
        if this != shape:
            if converter is not None:
                yield from converter.convert(None)
            _check_shape(frame.sample_rate, frame.layout.nb_channels)
            shape, converter = this, _Converter(this, rate, volume)
        assert converter is not None
        yield from converter.convert(frame)
    if converter is not None:
        yield from converter.convert(None)
