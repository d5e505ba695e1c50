"""How the parts around one cloud are now: what the console shows before anybody chooses a session."""

from collections.abc import Sequence
from typing import Any

from glassbridge.cloud.flight import Row
from glassbridge.cloud.sessions import Sessions
from glassbridge.telemetry.loop_lag import loop_capacity_left


class Overview:
    """Reads `sessions`. Asking is cheap; LiveKit is asked in the background while the overview is read."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def now(self, nodes: Sequence[Row]) -> dict[str, Any]:
        """As docs/recorder.md describes it; `nodes` are the clouds of the cluster, none where there is but one."""
        sessions = self._sessions
        sessions.livekit.look()
        speech = sessions.speech
        return {
            "bridges": [
                {"name": bridge.target, "answers": bridge.alive, "places": bridge.standing.places}
                for bridge in sessions.pool.bridges
            ],
            "livekit": {"answers": sessions.livekit.answers, "why": sessions.livekit.why},
            "recogniser": {
                "name": speech.recogniser.name,
                "streams": speech.streams,
                "crowded_out": speech.crowded_out,
                "slow": speech.slow,
                "fits": speech.fits,
            },
            "nodes": list(nodes),
            "capacity_left": {name: round(left, 1) for name, left in capacity_left(sessions).items()},
        }


def capacity_left(sessions: Sessions) -> dict[str, float]:
    """The part that is left of what this cloud can do, 0 to 1, by the thing that runs out."""
    streams, fits = sessions.speech.streams, sessions.speech.fits
    return {
        "sessions": sessions.capacity_left,
        "speakers": fits / (streams + fits) if streams + fits else 0.0,
        "loop": loop_capacity_left(),
    }
