"""What a phone was shown, as the lab reads it: each word once and in order, also of what came late."""

from typing import Any

from glassbridge.core.words import word_errors
from glassbridge.lab.scenarios.spoken_words import in_order


def caption(text: str, start: int, id: str | None = None, **late: Any) -> dict[str, Any]:
    fixed = {"text": text, "final": id is not None, "start_ms": start, "end_ms": start + 900, "id": id}
    return fixed | {"replaces": [], "inserts": None} | late


def test_a_word_twice_one_left_out_and_one_out_of_place_are_wrong() -> None:
    spoken = ["one", "two", "three", "four"]
    told = [caption("one tw", 0), caption("One, two.", 0, "u1"), caption("Three four.", 2_000, "u2")]
    assert in_order(told) == spoken
    assert word_errors(spoken, in_order([*told, caption("four", 3_000, "u3")])) == 1
    assert word_errors(spoken, in_order(told[:2])) == 2
    assert word_errors(spoken, in_order([told[2], told[1]])) > 0


def test_what_came_late_is_read_in_its_place() -> None:
    told = [caption("One", 0, "u1"), caption("Three four.", 2_000, "u2")]
    told.append(caption("One, two.", 0, "u3", inserts="9-1", replaces=["u1"]))
    assert in_order(told) == ["one", "two", "three", "four"]
