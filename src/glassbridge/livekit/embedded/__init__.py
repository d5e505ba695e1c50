"""A stand-in for livekit-server in pure Python, for development and tests: `async with EmbeddedLiveKit(keys)`.

It speaks enough of LiveKit's signalling for our own participant, the official SDKs and browsers to join, to send data
packets and to publish and hear sound; it checks tokens, kicks duplicate identities, refreshes tokens, and answers the
room service calls that we use. What differs from the real server: sound only, plain Opus (no redundant coding), no
resume (a client that asks for it is told to join anew), no TURN, one node, loopback unless told otherwise.

    server.py      HTTP: joins, validation, room service
    member.py      one participant: its signalling
    publisher.py   the connection on which it publishes; subscriber.py: the one on which it hears
    room.py        its participants, their tracks and subscriptions
    link.py        ICE, DTLS, SRTP, SCTP; sdp.py: session descriptions; service.py: the room service
"""

from glassbridge.livekit.embedded.server import EmbeddedLiveKit

__all__ = ["EmbeddedLiveKit"]
