"""How programs on this machine reach a server."""

import pytest

from glassbridge.runtime.addresses import reachable_at


@pytest.mark.parametrize(
    ("host", "reached"),
    [
        ("", "127.0.0.1:8002"),
        ("0.0.0.0", "127.0.0.1:8002"),
        ("::", "127.0.0.1:8002"),
        ("127.0.0.1", "127.0.0.1:8002"),
        ("10.0.0.1", "10.0.0.1:8002"),
        ("cloud.example.com", "cloud.example.com:8002"),
        ("::1", "[::1]:8002"),
    ],
)
def test_a_server_is_reached_where_it_listens(host: str, reached: str) -> None:
    assert reachable_at(host, 8002) == reached
