"""The work-around for what aiortc sends in tasks that nobody awaits."""

from collections.abc import Callable
from typing import Any

import pytest
from aiortc import RTCCertificate, RTCSctpTransport
from aiortc.rtcsctptransport import HeartbeatChunk

from glassbridge.livekit.aiortc_quirks import new_connection, send_quietly
from glassbridge.livekit.embedded.link import MediaLink


async def _flush(sctp: RTCSctpTransport) -> None:
    await sctp._data_channel_flush()


async def _repeat(sctp: RTCSctpTransport) -> None:
    """As the timers of the handshake and of the goodbye do."""
    await sctp._send_chunk(HeartbeatChunk())


@pytest.mark.parametrize("send", [_flush, _repeat])
async def test_what_is_sent_after_the_end_is_no_unheard_error(send: Callable[[RTCSctpTransport], Any]) -> None:
    connection = new_connection()
    connection.createDataChannel("late")
    sctp = connection.sctp
    assert sctp is not None
    sctp._association_state = RTCSctpTransport.State.ESTABLISHED
    sctp._remote_port = 5000
    sctp._data_channel_id = 1
    with pytest.raises(ConnectionError):  # or the work-around is needed no more
        await send(sctp)
    send_quietly(sctp)
    connection.createDataChannel("later")
    await send(sctp)
    sctp._association_state = RTCSctpTransport.State.CLOSED
    await connection.close()


@pytest.mark.parametrize("send", [_flush, _repeat])
async def test_so_it_is_at_the_stand_in(send: Callable[[RTCSctpTransport], Any]) -> None:
    """A client that leaves while packets wait for it: its connection closes first, and the flush comes after."""
    certificate = RTCCertificate.generateCertificate()
    link = MediaLink("127.0.0.1", certificate, offering=True, on_data=lambda *_: None, on_lost=lambda: None)
    await link.open()
    link._sctp._association_state = RTCSctpTransport.State.ESTABLISHED
    link._sctp._remote_port = 5000
    link._sctp._data_channel_id = 1
    link.offer_channels()
    await send(link._sctp)
    link._sctp._association_state = RTCSctpTransport.State.CLOSED
    await link.close()
