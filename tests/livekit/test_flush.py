"""The work-around for aiortc's unheard flushes."""

import pytest
from aiortc.rtcsctptransport import RTCSctpTransport

from glassbridge.livekit.aiortc_quirks import flush_quietly, new_connection


async def test_a_flush_after_the_end_is_no_unheard_error() -> None:
    connection = new_connection()
    connection.createDataChannel("late")
    sctp = connection.sctp
    assert sctp is not None
    sctp._association_state = RTCSctpTransport.State.ESTABLISHED
    sctp._remote_port = 5000
    sctp._data_channel_id = 1
    with pytest.raises(ConnectionError):  # or the work-around is needed no more
        await sctp._data_channel_flush()
    flush_quietly(connection)
    connection.createDataChannel("later")
    await sctp._data_channel_flush()
    sctp._association_state = RTCSctpTransport.State.CLOSED
    await connection.close()
