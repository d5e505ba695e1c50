"""The sign-in page's packets: another port, and a checksum that still fits."""

import struct

from glassbridge.lab.portal import Portal, ports


class _Server:
    class _Socket:
        def getsockname(self) -> tuple[str, int]:
            return "10.77.0.1", 40_000

    sockets = (_Socket(),)


def packet(source: int, target: int, flags: int, payload: bytes = b"odd", protocol: int = 6) -> bytes:
    tcp = struct.pack("!HHIIBBHHH", source, target, 7, 9, 5 << 4, flags, 0xFFFF, 0, 0) + payload
    addresses = bytes([10, 77, 0, 2, 10, 77, 0, 1])
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0, 64, protocol, 0) + addresses
    return head + tcp[:16] + struct.pack("!H", checksum(head, tcp)) + tcp[18:]


def checksum(head: bytes, tcp: bytes) -> int:
    data = head[12:20] + struct.pack("!BBH", 0, 6, len(tcp)) + tcp
    total = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + bytes(len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return int(~total & 0xFFFF)


def is_whole(made: bytes) -> bool:
    return checksum(made[:20], made[20:36] + bytes(2) + made[38:]) == int.from_bytes(made[36:38], "big")


def test_what_is_begun_leads_to_the_page_and_nothing_else_does() -> None:
    portal = Portal(_Server())  # type: ignore[arg-type]
    assert portal.towards(packet(5000, 8002, 0x10)) is None  # it was open before
    assert portal.towards(packet(5001, 8002, 0, protocol=17)) is None
    for port in (443, 8002, 65_535, 1):
        begun = portal.towards(packet(6000 + port % 1000, port, 0x02))
        assert begun is not None
        assert (ports(begun), is_whole(begun)) == ((6000 + port % 1000, 40_000), True)
        answer = portal.back(packet(40_000, 6000 + port % 1000, 0x12), others=False)
        assert answer is not None
        assert (ports(answer), is_whole(answer)) == ((port, 6000 + port % 1000), True)
    assert portal.back(packet(8002, 5000, 0x10), others=False) is None
    other = packet(8002, 5000, 0x10)
    assert portal.back(other, others=True) == other
    assert portal.back(packet(40_000, 6001, 0x10), others=True) is None  # the page is gone
