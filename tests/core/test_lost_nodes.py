"""Which clouds are lost, and for how long."""

from glassbridge.core.lost_nodes import KEPT, MOST, LostNodes
from glassbridge.core.ownership import Owner

A, B = Owner("a", "1", "host:1"), Owner("b", "2", "host:2")


def test_a_cloud_that_is_missing_is_lost_for_a_while() -> None:
    nodes = LostNodes()
    nodes.see({A: False, B: False}, 0.0)
    assert nodes.lost(0.0) == []
    nodes.see({A: False}, 5.0)
    assert nodes.lost(6.0) == [B]
    nodes.see({A: False}, 7.0)
    assert nodes.lost(4.9 + KEPT) == [B]
    assert nodes.lost(5.1 + KEPT) == []


def test_one_that_has_drained_is_gone_and_not_lost() -> None:
    nodes = LostNodes()
    nodes.see({A: False, B: False}, 0.0)
    nodes.see({A: False, B: True}, 1.0)
    nodes.see({A: False}, 2.0)
    assert nodes.lost(2.0) == []


def test_one_that_is_back_or_was_started_anew_is_not_lost() -> None:
    for back in (B, Owner("b", "another run", "host:2")):
        nodes = LostNodes()
        nodes.see({A: False, B: False}, 0.0)
        nodes.see({A: False}, 1.0)
        nodes.see({A: False, back: False}, 2.0)
        assert nodes.lost(2.0) == []


def test_so_many_and_no_more() -> None:
    nodes = LostNodes()
    many = [Owner(str(at), str(at), f"host:{at}") for at in range(MOST + 9)]
    nodes.see(dict.fromkeys(many, False), 0.0)
    nodes.see({}, 1.0)
    assert nodes.lost(1.0) == many[9:]
