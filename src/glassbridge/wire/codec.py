"""How messages travel as JSON: one struct for each type, told apart by the field `type`, the original's camelCase.

Unknown types are tolerated (UnknownMessage); broken messages raise MalformedMessage, whose text says what is wrong and
quotes nothing that was sent. Every text, list and number that a peer may send has a bound, in the type of its field.
"""

import re
from typing import Annotated, Any, ClassVar, Final, Generic, TypeVar

import msgspec
from msgspec import Meta

MALFORMED: Final = "MALFORMED_MESSAGE"
TOO_BIG: Final = "MESSAGE_TOO_BIG"
RATE_LIMITED: Final = "RATE_LIMITED"
"""Codes of connection_error and tpa_connection_error: the socket stays open."""

MAX_MESSAGE: Final = 64 << 10
"""Bytes of one message, unless its type needs more (`Message.MAX_BYTES`)."""
Name = Annotated[str, Meta(max_length=256)]
"""Of something: an app, a session, a request."""
Word = Annotated[str, Meta(max_length=64)]
MAX_TEXT: Final = 8_192
"""Characters."""
Text = Annotated[str, Meta(max_length=MAX_TEXT)]
"""Something that is said or shown."""
Integer = Annotated[int, Meta(ge=-(1 << 53), le=1 << 53)]
Timestamp = Word | Integer | float | None
"""As the sender writes its clock; a pong gives it back."""
Instant = Annotated[float, Meta(ge=-1e15, le=1e15)]
"""Milliseconds, by a clock of the sender."""
Count = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]

D = TypeVar("D")
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,40}")


class Message(msgspec.Struct, tag_field="type", rename="camel", omit_defaults=True, frozen=True):
    """Base of all; `type` is the tag."""

    MAX_BYTES: ClassVar[int] = MAX_MESSAGE


class UnknownMessage(msgspec.Struct, frozen=True):
    """A message of a type that this side does not know: tolerated, logged once."""

    type: str
    """Fit for a log: `(unprintable)` unless it looks like the name of a type."""


class MalformedMessage(ValueError):
    """No JSON object, no type, or fields of the wrong shape: the sender's fault; the socket lives."""

    def __init__(self, what: str, code: str = MALFORMED) -> None:
        super().__init__(what)
        self.code = code


class _Tag(msgspec.Struct):
    type: str


_tag = msgspec.json.Decoder(_Tag)
_encoder = msgspec.json.Encoder()


class MessageDecoder(Generic[D]):
    """Decodes what one side may say: a union of messages."""

    def __init__(self, union: Any) -> None:
        self._most = {member.__struct_config__.tag: member.MAX_BYTES for member in union.__args__}
        self._decoder: msgspec.json.Decoder[D] = msgspec.json.Decoder(union)

    def decode(self, text: str | bytes) -> D | UnknownMessage:
        """One message. Raises MalformedMessage."""
        try:
            kind = _tag.decode(text).type
            most = self._most.get(kind)
            if len(text) > (most or MAX_MESSAGE) or (isinstance(text, str) and _size(text) > (most or MAX_MESSAGE)):
                raise MalformedMessage(f"a message of this type has at most {most or MAX_MESSAGE} bytes", TOO_BIG)
            if most is not None:
                return self._decoder.decode(text)
            return UnknownMessage(kind if _NAME.fullmatch(kind) else "(unprintable)")
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise MalformedMessage(_what_is_wrong(error)) from None


def _size(text: str) -> int:
    """Bytes of it; most are ASCII, of which this is known at once."""
    return len(text) if text.isascii() else len(text.encode(errors="replace"))


def _what_is_wrong(error: Exception) -> str:
    """In words that hold nothing of what was sent; msgspec quotes values that are not among the allowed ones."""
    if not isinstance(error, msgspec.ValidationError):
        return "not a JSON object"
    what, at, where = str(error).rpartition(" - at ")
    if what.startswith(("Invalid value", "Invalid enum value")):
        return f"a value that is not allowed{at}{where}"
    return str(error)


def encode(message: Message) -> str:
    """The message as the JSON text of one WebSocket frame."""
    return _encoder.encode(message).decode()
