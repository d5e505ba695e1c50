"""The work-around for what aiortc sends in tasks that nobody awaits."""

from collections.abc import Callable
from typing import Any

import pytest
from aiortc import RTCSctpTransport
from aiortc.rtcsctptransport import HeartbeatChunk

from glassbridge.livekit.aiortc_quirks import new_connection, send_quietly


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
    send_quietly(connection)
    connection.createDataChannel("later")
    await send(sctp)
    sctp._association_state = RTCSctpTransport.State.CLOSED
    await connection.close()
