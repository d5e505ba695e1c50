"""What `glassbridge doctor` looks at: one small function for each thing that goes wrong in the field. Each says what it
found and, where that is not well, what to do."""

from collections.abc import Awaitable, Callable
from typing import Final

from glassbridge.cli.checks import addresses, livekit, machine, programs, speech
from glassbridge.cli.checks.findings import Finding, Patient

Check = Callable[[Patient], Awaitable[Finding]]
CHECKS: Final[tuple[tuple[str, Check], ...]] = (
    ("examined", machine.subject),
    ("addresses", addresses.names),
    ("secrets", addresses.secrets),
    ("encryption", addresses.encryption),
    ("LiveKit", livekit.http),
    ("cloud", programs.cloud),
    ("clock", livekit.clock),
    ("LiveKit's key", livekit.keys),
    ("media by UDP", livekit.media_by_udp),
    ("media by TURN", livekit.media_by_turn),
    ("media by TCP", livekit.media_by_tcp),
    ("bridges", programs.bridges),
    ("sockets", programs.sockets),
    ("recogniser", speech.recogniser),
    ("speakers", speech.speakers),
    ("log sink", machine.log_sink),
    ("disk", machine.disk),
    ("open files", machine.descriptors),
)
"""In this order: later ones use what earlier ones learned."""
