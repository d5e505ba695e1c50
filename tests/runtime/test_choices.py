"""One check of names that are chosen of a list, and one message (tests/cli/provoked.py: the commands that have it)."""

import pytest

from glassbridge.runtime.choices import closest, require_known
from glassbridge.runtime.errors import UserError

KNOWN = ("moonshine", "sherpa", "soniox")


def test_known_names_pass() -> None:
    require_known("--engine", [], KNOWN)
    require_known("--engine", ["soniox", "sherpa"], KNOWN)


def test_the_first_unknown_name_is_told_with_the_closest_and_all() -> None:
    with pytest.raises(UserError) as told:
        require_known("--engine", ["sherpa", "Moonshin", "none"], KNOWN)
    assert told.value.exit_code == 2
    assert str(told.value) == (
        "--engine: there is no Moonshin (did you mean moonshine?): choose of moonshine, sherpa, soniox"
    )


def test_a_name_like_none_of_them_is_told_with_all() -> None:
    with pytest.raises(UserError, match=r"^--engine: there is no xyz: choose of moonshine, sherpa, soniox$"):
        require_known("--engine", ["xyz"], KNOWN)


def test_case_does_not_count() -> None:
    assert closest("MICROFONE", ["MICROPHONE", "CAMERA"]) == closest("microfone", ["MICROPHONE"]) == "MICROPHONE"
