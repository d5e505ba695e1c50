"""A peer that means harm: messages of a protocol as its structs allow them, at the limits and beyond, and broken ones.

Unlike tests/support/messages.py it makes thousands a second, from one seed: for floods and long runs.
"""

import json
import random
from typing import Any

import msgspec

WORDS = [
    "", "x", "en-US", "auto", "transcription:en-US", "translation:de-DE-to-en-US", "*", "all", "VAD", "audio_chunk",
    "main", "true", "\0", "é" * 20, "\U0001f600" * 20, "%s%n", "../../etc", "'\"<>&", "a-b" * 30, "\ud7ff",
]  # fmt: skip
NUMBERS = [0, -1, 1, 7, 1.5, -0.0, 1e15, -1e15, 1 << 31, 1 << 53, -(1 << 53), 1 << 63, -(1 << 63), 10**30, 1e308]


class Hostile:
    """What it says next. `names` are worth saying: those of apps that there are."""

    def __init__(self, seed: int, *names: str) -> None:
        self.random = random.Random(seed)
        self._names = names
        self._kinds: dict[Any, list[Any]] = {}
        self.said: set[str] = set()
        """Types that were said so that a decoder takes them, about."""

    def text(self, union: Any) -> str:
        """One text frame."""
        chance = self.random.random()
        whole = json.dumps(self.message(union))
        if chance < 0.8:
            return whole
        if chance < 0.85:
            return whole[: self.random.randrange(len(whole) + 1)]
        if chance < 0.9:
            at = self.random.randrange(len(whole))
            return whole[:at] + chr(self.random.randrange(32, 0xD800)) + whole[at + 1 :]
        if chance < 0.93:
            deep = self.random.choice(["[", '{"a":', '[{"b":'])
            return f'{{"type":"ping","timestamp":{deep * self.random.choice([10, 1_000, 5_000])}'
        if chance < 0.96:
            return json.dumps({"type": "".join(self.random.choices("abcxyz_", k=12)), "x": self._anything(2)})
        return json.dumps(self._anything(3))

    def message(self, union: Any) -> dict[str, Any]:
        """An object of one of the union's structs; most fields fit."""
        if union not in self._kinds:
            self._kinds[union] = [msgspec.inspect.type_info(kind) for kind in union.__args__]
        return self._struct(self.random.choice(self._kinds[union]))

    def _struct(self, told: Any) -> dict[str, Any]:
        found: dict[str, Any] = {told.tag_field: told.tag} if told.tag_field else {}
        if told.tag:
            self.said.add(str(told.tag))
        for field in told.fields:
            if field.required or self.random.random() < 0.6:
                fits = self.random.random() < 0.97
                found[field.encode_name] = self._fitting(field.type) if fits else self._anything(2)
        return found

    def _fitting(self, told: Any) -> Any:
        inspect = msgspec.inspect
        match told:
            case inspect.UnionType(types=types):
                return self._fitting(self.random.choice(types))
            case inspect.LiteralType(values=values):
                return self.random.choice(values)
            case inspect.StrType(max_length=most):
                return self._text(most or 10_000)
            case inspect.IntType() | inspect.FloatType():
                return self.random.choice([*NUMBERS[:4], self.random.randrange(1 << 40)])
            case inspect.BoolType():
                return self.random.random() < 0.5
            case inspect.NoneType():
                return None
            case inspect.ListType(item_type=item, max_length=most):
                return [self._fitting(item) for _ in range(self.random.choice([0, 1, 3, most or 20]))]
            case inspect.TupleType(item_types=items):
                return [self._fitting(item) for item in items]
            case inspect.StructType():
                return self._struct(told)
        return self._anything(2)

    def _text(self, most: int) -> str:
        chance = self.random.random()
        if chance < 0.4 and self._names:
            return self.random.choice(self._names)[:most]
        if chance < 0.8:
            return self.random.choice(WORDS)[:most]
        if chance < 0.9:
            return "".join(self.random.choices("abcdefgh-_.:", k=self.random.randrange(40)))[:most]
        return self.random.choice("xé") * min(most, 60_000)

    def _anything(self, depth: int) -> Any:
        kind = self.random.randrange(7 if depth else 5)
        match kind:
            case 0:
                return None
            case 1:
                return self.random.random() < 0.5
            case 2:
                return self.random.choice(NUMBERS)
            case 3 | 4:
                return self._text(100)
            case 5:
                return [self._anything(depth - 1) for _ in range(self.random.randrange(4))]
        return {self._text(8): self._anything(depth - 1) for _ in range(self.random.randrange(4))}
