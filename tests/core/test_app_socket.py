"""What the SDK does after a socket has ended: each cell of the table."""

from itertools import product

import pytest

from glassbridge.core.app_socket import TABLE, CloudComplaint, Next, SocketEnd, next_socket

C, E, N = CloudComplaint, SocketEnd, Next


def test_the_table_is_total() -> None:
    assert set(TABLE) == set(product(SocketEnd, CloudComplaint))


@pytest.mark.parametrize(
    ("ended", "complaint", "asked", "after"),
    [
        (E.REFUSED, C.NONE, False, N.SOON),  # the cloud stops, or the user is elsewhere
        (E.REFUSED, C.OTHER, False, N.NEVER),
        (E.REFUSED, C.NOT_EXPECTED, False, N.ASKED),
        (E.REFUSED, C.NOT_EXPECTED, True, N.LOOK_ON),
        (E.BROKEN, C.NOT_EXPECTED, True, N.LOOK_ON),
        (E.GOODBYE, C.NONE, True, N.NEVER),
        (E.RESTARTING, C.NONE, False, N.SOON),
        (E.BROKEN, C.NONE, False, N.LADDER),
        (E.LEFT, C.NONE, True, N.LOOK_ON),
        (E.LEFT, C.NONE, False, N.LADDER),
    ],
)
def test_cell(ended: SocketEnd, complaint: CloudComplaint, asked: bool, after: Next) -> None:
    assert next_socket(ended, complaint, asked=asked) is after


@pytest.mark.parametrize("ended", [one for one in SocketEnd if one is not SocketEnd.LEFT])
def test_a_wrong_key_is_never_tried_again(ended: SocketEnd) -> None:
    assert next_socket(ended, CloudComplaint.HOPELESS, asked=True) is Next.NEVER
