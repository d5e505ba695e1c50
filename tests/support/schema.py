"""Messages filled with whatever their protobuf schema allows, extremes among it, from a seeded chance."""

import os
import random
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

SEED = int(os.environ.get("FUZZ_SEED") or random.SystemRandom().randrange(1 << 32))
"""Of this run; fuzzers print it. FUZZ_SEED=N repeats one."""
MAX_DEPTH = 3
TEXTS = ("", "x", "\0", "TR_1", "PA_ann", "room", "\u202e\U0001f600", "v=0\r\n" * 50, "{" * 50, "../" * 30, "y" * 5_000)


def filled(chance: random.Random, message: Message, depth: int = 0) -> Message:
    """The message, with some of its fields set."""
    fields: list[Any] = list(message.DESCRIPTOR.fields)
    for field in fields:
        if chance.random() < (0.4 if depth else 0.3):
            continue
        if field.message_type is not None and (depth > MAX_DEPTH or field.message_type.GetOptions().map_entry):
            continue
        for _ in range(chance.choice((0, 1, 2, 20)) if field.is_repeated else 1):
            if field.message_type is not None:
                inner = getattr(message, field.name).add() if field.is_repeated else getattr(message, field.name)
                inner.SetInParent()
                filled(chance, inner, depth + 1)
            elif field.is_repeated:
                getattr(message, field.name).append(value(chance, field))
            else:
                setattr(message, field.name, value(chance, field))
    return message


def one_of(chance: random.Random, message: Message, name: str) -> Message:
    """The message, with one field of this oneof set."""
    fields: list[Any] = list(message.DESCRIPTOR.oneofs_by_name[name].fields)
    field = chance.choice(fields)
    if field.message_type is None:
        setattr(message, field.name, value(chance, field))
    else:
        inner = getattr(message, field.name)
        inner.SetInParent()
        filled(chance, inner)
    return message


def value(chance: random.Random, field: Any) -> Any:
    """Of a field that is no message."""
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING:
            text = chance.choice(TEXTS)
            return text.encode() if field.type == FieldDescriptor.TYPE_BYTES else text
        case FieldDescriptor.CPPTYPE_BOOL:
            return chance.random() < 0.5
        case FieldDescriptor.CPPTYPE_ENUM:
            return chance.choice([known.number for known in field.enum_type.values] + [77])
        case FieldDescriptor.CPPTYPE_DOUBLE | FieldDescriptor.CPPTYPE_FLOAT:
            return chance.choice((0.0, -1.0, 1e30, float("inf"), float("nan")))
        case FieldDescriptor.CPPTYPE_INT32:
            return chance.choice((0, 1, -1, -(1 << 31), (1 << 31) - 1))
        case FieldDescriptor.CPPTYPE_UINT32:
            return chance.choice((0, 1, (1 << 32) - 1))
        case FieldDescriptor.CPPTYPE_UINT64:
            return chance.choice((0, 1, (1 << 64) - 1))
    return chance.choice((0, 1, -1, -(1 << 63), (1 << 63) - 1))
