"""Who may connect, who has to make room, and whose time is over."""

from glassbridge.core.connections import RESERVED, ConnectionLimits, ConnectionRefusal, Connections, Wait

LIMITS = ConnectionLimits(connections=4, per_address=2, header_time=5, body_time=30, sign_in_time=5, idle_time=75)
ALICE, MALLORY, EVE = "192.0.2.1", "192.0.2.2", "192.0.2.3"


def connections(**changes: float) -> Connections[str]:
    return Connections(ConnectionLimits(**({name: getattr(LIMITS, name) for name in LIMITS.__slots__} | changes)))


def busy(found: Connections[str], name: str, address: str) -> None:
    """It is taken, and its request runs."""
    assert found.open(name, address, 0.0) == (None, None)
    found.wait(name, None, 0.0)


def test_a_silent_connection_is_over_after_its_time_and_no_sooner() -> None:
    found = connections()
    assert found.open("a", ALICE, 10.0) == (None, None)
    assert found.next_deadline() == 15.0
    assert found.expire(14.9, 9) == []
    assert found.expire(15.0, 9) == [("a", Wait.HEADER)]
    assert found.expire(99.0, 9) == []
    found.close("a")
    assert (len(found), found.waiting, found.next_deadline()) == (0, 0, None)


def test_only_so_many_are_over_in_one_go() -> None:
    found = connections(connections=9, per_address=9)
    for name in "abc":
        found.open(name, ALICE, 0.0)
    assert [name for name, _ in found.expire(9.0, 2)] == ["a", "b"]
    assert [name for name, _ in found.expire(9.0, 2)] == ["c"]


def test_an_address_that_is_full_makes_room_among_its_own() -> None:
    found = connections()
    for name in "ab":
        found.open(name, MALLORY, 0.0)
    assert found.open("c", MALLORY, 1.0) == (None, "a")
    assert found.open("d", ALICE, 1.0) == (None, None)
    assert len(found) == 3


def test_an_address_whose_connections_all_work_gets_no_more() -> None:
    found = connections()
    busy(found, "a", MALLORY)
    busy(found, "b", MALLORY)
    assert found.open("c", MALLORY, 0.0) == (ConnectionRefusal.ADDRESS_FULL, None)
    assert found.open("d", ALICE, 0.0) == (None, None)
    found.close("a")
    assert found.open("c", MALLORY, 0.0) == (None, None)


def test_silent_peers_of_many_addresses_keep_nobody_out() -> None:
    found = connections()
    for number, name in enumerate("abcd"):
        found.open(name, f"198.51.100.{number}", float(number))
    assert found.open("e", ALICE, 5.0) == (None, "a")
    for name in "bcde":
        found.wait(name, None, 5.0)
    assert found.open("f", EVE, 5.0) == (ConnectionRefusal.FULL, None)


def test_a_signed_in_socket_counts_against_all_and_not_against_its_address() -> None:
    found = connections()
    for name in "abcd":
        busy(found, name, ALICE)
        found.release(name)
    assert found.open("e", ALICE, 0.0) == (ConnectionRefusal.FULL, None)
    found.close("a")
    assert found.open("e", ALICE, 0.0) == (None, None)


def test_who_has_signed_in_may_be_idle_for_longer() -> None:
    found = connections()
    busy(found, "a", ALICE)
    found.wait_for_request("a", 0.0)
    assert found.next_deadline() == 5.0
    found.wait("a", None, 1.0)
    found.sign_in("a")
    found.wait_for_request("a", 1.0)
    assert found.next_deadline() == 76.0
    assert found.expire(76.0, 9) == [("a", Wait.NEXT_REQUEST)]


def test_connections_of_a_proxy_count_against_the_clients_behind_it() -> None:
    found = connections()
    for name in "abc":
        busy(found, name, "")
    assert found.charge("a", MALLORY) is None
    assert found.charge("b", MALLORY) is None
    assert found.charge("b", MALLORY) is None
    assert found.charge("c", MALLORY) is ConnectionRefusal.ADDRESS_FULL
    assert found.charge("b", ALICE) is None
    assert found.charge("c", MALLORY) is None


def test_an_ipv6_host_is_its_network() -> None:
    found = connections()
    busy(found, "a", "2001:db8::1")
    busy(found, "b", "2001:db8::2")
    assert found.open("c", "2001:db8::3", 0.0) == (ConnectionRefusal.ADDRESS_FULL, None)
    assert found.open("c", "2001:db8:0:1::3", 0.0) == (None, None)


def test_the_limits_fit_the_process_and_one_address_gets_half_at_most() -> None:
    fitted = ConnectionLimits(connections=10_000, per_address=9_000).fitted(1024)
    assert (fitted.connections, fitted.per_address) == (1024 - RESERVED, (1024 - RESERVED) // 2)
    assert ConnectionLimits().fitted(20_000) == ConnectionLimits()


def test_nothing_is_left_of_what_was_closed() -> None:
    found = connections(connections=100, per_address=100)
    for number in range(50):
        found.open(str(number), f"192.0.2.{number}", 0.0)
        if number % 2:
            found.wait(str(number), None, 0.0)
        found.wait_for_request(str(number), 1.0)
    for number in range(50):
        found.close(str(number))
        found.close(str(number))
    assert not found._subjects
    assert (len(found), found.waiting) == (0, 0)
