"""The state of a running cloud as gauges: read from its sessions at each scrape."""

from collections import Counter
from collections.abc import Callable

from glassbridge.cloud.overview import capacity_left
from glassbridge.cloud.sessions import Sessions
from glassbridge.core.audio_link import LinkState
from glassbridge.core.ownership import NodeState
from glassbridge.core.values import AudioState
from glassbridge.telemetry import metrics
from glassbridge.telemetry.listener import Gate

Readings = dict[tuple[str, ...], float]


class Gauges:
    """Reads `sessions` and `gate` while inside of `with`."""

    def __init__(self, sessions: Sessions, gate: Gate) -> None:
        self._sessions = sessions
        self._gate = gate
        self._stops: list[Callable[[], None]] = []

    def __enter__(self) -> None:
        pool = self._sessions.pool
        self._stops = [
            metrics.SESSIONS.read_by(self._by_presence),
            metrics.AUDIO_LINKS.read_by(self._by_link),
            metrics.AUDIO_STATES.read_by(self._by_told),
            metrics.AUDIO_DEAD.read_by(
                lambda: max((one.link.dead_for for one in self._sessions.living if one.has_phone), default=0.0)
            ),
            metrics.PLACES.read_by(lambda: sum(bridge.standing.places for bridge in pool.bridges)),
            metrics.BRIDGES.read_by(lambda: {("live",): pool.live, ("down",): len(pool.bridges) - pool.live}),
            metrics.DIRECTORY_AWAY.read_by(lambda: self._sessions.keeper.away_for),
            metrics.NODES.read_by(self._nodes),
            metrics.CAPACITY_LEFT.read_by(self._capacity_left),
            metrics.CONNECTIONS.read_by(self._connections),
            metrics.RECOGNISER_RECONNECTS.read_by(self._recogniser_ends),
            metrics.RECOGNISER_STREAMS.read_by(lambda: self._sessions.speech.streams),
            metrics.RECOGNISER_FITS.read_by(lambda: self._sessions.speech.fits),
            metrics.RECOGNISER_SLOW.read_by(lambda: self._sessions.speech.slow),
            metrics.RECOGNISER_CROWDED_OUT.read_by(lambda: self._sessions.speech.crowded_out),
            metrics.QUEUES.read_by(lambda: {("outbox",): sum(one.sockets.waiting for one in self._sessions.living)}),
        ]

    def __exit__(self, *_: object) -> None:
        for stop in self._stops:
            stop()

    def _nodes(self) -> Readings:
        found = Counter(node.state for node in self._sessions.keeper.nodes)
        return {(state.value,): found[state] for state in NodeState}

    def _capacity_left(self) -> Readings:
        return {(of,): left for of, left in capacity_left(self._sessions).items()}

    def _connections(self) -> Readings:
        gate = self._gate
        return {("open",): len(gate), ("waiting",): gate.waiting, ("limit",): gate.limits.connections}

    def _recogniser_ends(self) -> Readings:
        return {(reason,): count for reason, count in self._sessions.speech.ended.items()}

    def _by_presence(self) -> Readings:
        here = sum(one.has_phone for one in self._sessions.living)
        return {("active",): here, ("grace",): len(self._sessions.living) - here}

    def _by_link(self) -> Readings:
        found = Counter(one.link.state for one in self._sessions.living)
        return {(state.label,): found[state] for state in LinkState}

    def _by_told(self) -> Readings:
        found = Counter(one.told for one in self._sessions.living)
        return {(state.value,): found[state] for state in AudioState}
