"""How messages travel as JSON: one struct for each type, told apart by the field `type`, the original's camelCase.

Unknown types are tolerated (UnknownMessage); broken messages raise MalformedMessage, whose text says what is wrong and
quotes nothing that was sent.
"""

import re
from typing import Any, Generic, TypeVar

import msgspec

D = TypeVar("D")
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,40}")


class Message(msgspec.Struct, tag_field="type", rename="camel", omit_defaults=True, frozen=True):
    """Base of all; `type` is the tag."""


class UnknownMessage(msgspec.Struct, frozen=True):
    """A message of a type that this side does not know: tolerated, logged once."""

    type: str
    """Fit for a log: `(unprintable)` unless it looks like the name of a type."""


class MalformedMessage(ValueError):
    """No JSON object, no type, or fields of the wrong shape: the sender's fault; the socket lives."""


class _Tag(msgspec.Struct):
    type: str


_tag = msgspec.json.Decoder(_Tag)
_encoder = msgspec.json.Encoder()


class Decoder(Generic[D]):
    """Decodes what one side may say: a union of messages."""

    def __init__(self, union: Any) -> None:
        self._tags = frozenset(member.__struct_config__.tag for member in union.__args__)
        self._decoder: msgspec.json.Decoder[D] = msgspec.json.Decoder(union)

    def decode(self, text: str | bytes) -> D | UnknownMessage:
        """One message. Raises MalformedMessage."""
        try:
            kind = _tag.decode(text).type
            if kind in self._tags:
                return self._decoder.decode(text)
            return UnknownMessage(kind if _NAME.fullmatch(kind) else "(unprintable)")
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise MalformedMessage(_what_is_wrong(error)) from None


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
