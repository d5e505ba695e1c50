"""What a scenario needs of its system, what it measures, and what it raises where nothing could be measured."""

from collections.abc import Mapping
from dataclasses import dataclass, field

Figures = Mapping[str, float]
"""Of one sample; truths are 1 or 0."""


class LabError(Exception):
    """The system was not as it has to be before a fault, or a part of the lab failed: nothing was measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What the system has to be like."""

    backends: int = 1
    workers: int = 1
    breakable: bool = False
    """Ways that can be broken, those to LiveKit too: needs a real livekit-server."""
    real: bool = False
    """A real livekit-server."""
    livekit_nodes: int = 1
    """So many of them, which share the Valkey server of the cluster; a balancer stands before them."""
    app: bool = False
    """Each user has an app that listens."""
    cluster: bool = False
    """The backends are one system: phones come by a balancer, to any cloud (lab/cluster.py)."""
    own_apps: int = 0
    """Each user has so many apps of our own SDK, which hear transcripts."""
    witnesses: bool = False
    """Each user has an app of each kind, which hears transcripts (lab/app_witnesses.py)."""
    hostile_app: bool = False
    """There is an app whose sockets an attacker opens (lab/hostile_app.py)."""
    original_clouds: bool = False
    """Doubles of the original's cloud on our bridges, instead of our clouds."""
    original_phones: bool = False
    """Doubles of the original's phone, instead of ours."""
    former: tuple[str, ...] = ()
    """Programs (`cloud-A`, `bridge-A`, `phones`, `app`) that run the version before this one (lab/former.py)."""
    frame_ms: int = 100
    """How much a phone speaks at once."""
    env: Mapping[str, str] = field(default_factory=dict)
    """For all programs: short token lifetimes, a short grace, ..."""
