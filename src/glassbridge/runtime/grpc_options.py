"""Options of gRPC channels and servers with which a dead peer is noticed and a slow reader hides little (traps 21, 22).

`grpc.keepalive_timeout_ms` has no effect in the C core: what decides is the timeout of HTTP/2 pings. And flow control
that adapts itself lets a reader that has stopped hide minutes of audio in buffers.
"""

from typing import Final

Options = tuple[tuple[str, int], ...]

MAX_MESSAGE_BYTES: Final = 10 << 20
"""Either way, as in the original."""
PING_EVERY_MS: Final = 1_000
PING_TIMEOUT_MS: Final = 2_000

_BOTH: Final[Options] = (
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", PING_EVERY_MS),
    ("grpc.http2.ping_timeout_ms", PING_TIMEOUT_MS),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 16_384),
)

CHANNEL_OPTIONS: Final[Options] = (
    *_BOTH,
    # Each channel has connections of its own: what a channel was told about a peer says nothing about the next one.
    ("grpc.use_local_subchannel_pool", 1),
    # A peer that listens again is found within 0.2 s; an attempt that nobody answers has 1 s, and the next one follows.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 200),
)

SERVER_OPTIONS: Final[Options] = (
    *_BOTH,
    # Clients of any make may ping as often as they like.
    ("grpc.http2.min_ping_interval_without_data_ms", 100),
    ("grpc.http2.max_ping_strikes", 0),
    # Two servers on one port would share its connections between them unnoticed.
    ("grpc.so_reuseport", 0),
)
