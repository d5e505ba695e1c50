"""When sessions are spared from full collections."""

from glassbridge.core.collecting import MANY, Collecting, Do


def test_a_small_cloud_is_left_alone() -> None:
    collecting = Collecting()
    assert {collecting.look(number, number) for number in range(MANY)} == {Do.NOTHING}


def test_what_a_storm_has_brought_is_spared_once_it_is_over() -> None:
    collecting = Collecting()
    told = [collecting.look(begun, begun) for begun in (0, 3_000, 7_000, 10_000, 10_003, 10_005, 10_100)]
    assert told == [*[Do.NOTHING] * 4, Do.SPARE, Do.NOTHING, Do.NOTHING]


def test_all_is_looked_at_when_as_many_have_ended_as_live() -> None:
    collecting, found = Collecting(), []
    begun = living = 2_000
    collecting.look(begun, living)
    assert collecting.look(begun, living) is Do.SPARE
    for _ in range(10_000):  # one ends and one comes, again and again
        begun += 1
        if (do := collecting.look(begun, living)) is not Do.NOTHING:
            found.append((begun, do))
    full = [at for at, do in found if do is Do.LOOK_AT_ALL]
    assert full == [4_000, 6_000, 8_000, 10_000, 12_000]


def test_a_cloud_that_empties_is_looked_at() -> None:
    """At night few live: the pause is short, and the memory of the day is given back."""
    collecting = Collecting()
    collecting.look(1_000, 1_000)
    collecting.look(1_000, 1_000)
    assert collecting.look(1_000, 501) is Do.NOTHING
    assert collecting.look(1_000, 500) is Do.LOOK_AT_ALL
    assert collecting.look(1_000, 499) is Do.NOTHING
