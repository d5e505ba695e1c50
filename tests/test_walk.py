"""A walk fails as its rows do."""

import pytest

from tests.support.walk import walk


def test_a_row_that_fails_is_named_and_the_others_are_tried_before_it() -> None:
    seen: list[tuple[int, str]] = []

    @walk("number, word", [(1, "one"), (2, "two"), (3, "three")])
    def check(number: int, word: str) -> None:
        seen.append((number, word))
        assert number < 2

    with pytest.raises(AssertionError) as caught:
        check()
    assert seen == [(1, "one"), (2, "two")]
    assert caught.value.__notes__ == ["number, word = (2, 'two')"]


@walk("row", ["a", "b"])
def test_fixtures_come_beside_the_row(row: str, request: pytest.FixtureRequest) -> None:
    assert row in "ab"
    assert request.node.name == "test_fixtures_come_beside_the_row"


def test_a_walk_of_nothing_is_a_mistake() -> None:
    with pytest.raises(AssertionError, match="no row for seed"):
        walk("seed", [])
