"""Whose turn it is."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from glassbridge.core.fair_queue import Asker, FairQueue

ANN, BOB = Asker("ann"), Asker("bob")


def test_who_asks_for_much_leaves_a_place_free() -> None:
    queue: FairQueue[str] = FairQueue(2, each=8)
    assert [queue.put(ANN, f"ann {n}") for n in range(9)] == [True] * 8 + [False]
    assert (queue.take(), queue.take()) == ("ann 0", None), "one place of two"
    queue.put(BOB, "hi")
    assert queue.take() == "hi"
    queue.done(BOB)
    assert queue.take() is None
    queue.done(ANN)
    assert queue.take() == "ann 1"


def test_parties_take_turns_and_their_members_do() -> None:
    queue: FairQueue[str] = FairQueue(1, each=8)
    for member in ("a", "b"):
        for n in range(2):
            queue.put(Asker("app", member), f"{member}{n}")
    queue.put(ANN, "ann")
    served = []
    while (item := queue.take()) is not None:
        served.append(item)
        queue.done(Asker("app", item[0]) if item != "ann" else ANN)
    assert served == ["a0", "ann", "b0", "a1", "b1"]


def test_a_party_of_many_members_has_a_bound_too() -> None:
    queue: FairQueue[int] = FairQueue(1, each=8)
    assert sum(queue.put(Asker("app", str(n)), n) for n in range(1_000)) == 32


@given(st.lists(st.tuples(st.sampled_from(["put", "take", "done", "remove"]), st.integers(0, 2), st.integers(0, 2))))
def test_the_counts_are_right_whatever_happens(steps: list[tuple[str, int, int]]) -> None:
    queue: FairQueue[int] = FairQueue(3, each=2)
    waiting: list[tuple[Asker, int]] = []
    served: list[Asker] = []
    for number, (step, party, member) in enumerate(steps):
        asker = Asker(str(party), str(member))
        if step == "put" and queue.put(asker, number):
            waiting.append((asker, number))
        elif step == "take" and (item := queue.take()) is not None:
            [found] = [entry for entry in waiting if entry[1] == item]
            waiting.remove(found)
            served.append(found[0])
        elif step == "done" and served:
            queue.done(served.pop(0))
        elif step == "remove" and waiting:
            queue.remove(*waiting.pop(0))
        assert queue.waiting == len(waiting)
        assert queue.served == len(served) <= 3
        assert all(count <= 2 for count in Counter(served).values())
