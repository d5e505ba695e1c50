"""What is said on Soniox's real-time WebSocket, as documented on soniox.com/docs (November 2026).

The client opens the socket with its key in the `Authorization` header, says a Start, then sends binary frames of audio
and Control messages; an empty frame ends the stream. Each answer carries final tokens, which never come again, and
non-final ones, which the next answer replaces. An error is an answer with `error_code`, after which the socket closes.
"""

from typing import Final, Literal

import msgspec

URL: Final = "wss://stt-rt.soniox.com/transcribe-websocket"
MODEL: Final = "stt-rt-v6"
IDLE_LIMIT: Final = 20.0
"""Seconds without audio or keep-alive after which the service closes a stream with 408."""
LONGEST: Final = 300 * 60.0
"""Seconds of audio in one stream."""
PER_MINUTE: Final = 100
CONCURRENT: Final = 10
"""The default limits of an account."""
END: Final = "<end>"
"""Text of the token that follows an utterance: the service has noticed its end."""
FIN: Final = "<fin>"
"""Text of the token that answers a finalize."""

LANGUAGES: Final = frozenset({
    "af", "sq", "ar", "az", "eu", "be", "bn", "bs", "bg", "ca", "zh", "hr", "cs", "da", "nl",
    "en", "et", "fi", "fr", "gl", "de", "el", "gu", "he", "hi", "hu", "id", "it", "ja", "kn",
    "kk", "ko", "lv", "lt", "mk", "ms", "ml", "mr", "no", "fa", "pl", "pt", "pa", "ro", "ru",
    "sr", "sk", "sl", "es", "sw", "sv", "tl", "ta", "te", "th", "tr", "uk", "ur", "vi", "cy",
})  # fmt: skip


class Translation(msgspec.Struct, omit_defaults=True, frozen=True):
    """To one language, or between two."""

    type: Literal["one_way", "two_way"]
    target_language: str | None = None
    language_a: str | None = None
    language_b: str | None = None


class Context(msgspec.Struct, omit_defaults=True, frozen=True):
    """What helps to understand: names and other words that will be said."""

    terms: list[str] = []


class Start(msgspec.Struct, omit_defaults=True, frozen=True):
    """The first message."""

    model: str
    audio_format: str
    sample_rate: int = 0
    num_channels: int = 0
    language_hints: list[str] = []
    language_hints_strict: bool = False
    enable_language_identification: bool = False
    enable_speaker_diarization: bool = False
    enable_endpoint_detection: bool = False
    translation: Translation | None = None
    context: Context | None = None
    client_reference_id: str = ""
    api_key: str = ""
    """How older clients sign in; refused from January 2027."""

    def __repr__(self) -> str:
        return f"Start(model={self.model!r})"


class Control(msgspec.Struct, frozen=True):
    """`finalize`: everything so far is to become final. `keepalive`: the stream is to live on without audio."""

    type: str


class Token(msgspec.Struct, omit_defaults=True, frozen=True):
    """A word or a part of one, with the spaces that belong to it."""

    text: str
    is_final: bool = False
    start_ms: float | None = None
    end_ms: float | None = None
    """None for what is translated."""
    confidence: float | None = None
    speaker: str | int | None = None
    language: str | None = None
    source_language: str | None = None
    translation_status: str | None = None
    """`none`, `original` or `translation`; None where nothing is translated."""


class Answer(msgspec.Struct, omit_defaults=True, frozen=True):
    """Every message of the service."""

    tokens: list[Token] = []
    final_audio_proc_ms: float = 0
    total_audio_proc_ms: float = 0
    finished: bool = False
    error_code: int | None = None
    error_type: str | None = None
    error_message: str | None = None


KEEPALIVE: Final = Control("keepalive")
FINALIZE: Final = Control("finalize")

read_answer: Final = msgspec.json.Decoder(Answer).decode
read_start: Final = msgspec.json.Decoder(Start).decode
read_control: Final = msgspec.json.Decoder(Control).decode


def text_of(message: Start | Control | Answer) -> str:
    """The message as the text of a frame."""
    return msgspec.json.encode(message).decode()
