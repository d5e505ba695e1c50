"""`/metrics`: numbers as Prometheus and OpenMetrics want to read them, and the small server that hands them out."""

import errno
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Self

import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from glassbridge.core.connections import ConnectionLimits
from glassbridge.runtime.complaints import Complaint
from glassbridge.runtime.listen import MAX_PORT, CannotListen, cannot_listen, port_in_use
from glassbridge.telemetry import metrics
from glassbridge.telemetry.listener import Gate, HttpListener
from glassbridge.telemetry.numbers import Histogram, Labels, Metric, Part, Value

log = structlog.get_logger()

PATH: Final = "/metrics"
LIMITS: Final = ConnectionLimits(connections=64, per_address=64, sign_in_time=75.0)
"""Scrapers sign in nowhere, and keep their connections."""
Source = Callable[[], Iterable[Part]]


def text(parts: Iterable[Part], extra: Labels = (), accept: str = "") -> tuple[bytes, str]:
    """All parts as one exposition, in the form that `accept` (the header) asks for, and its content type; `extra` names
    the labels that the parts add."""
    encode, content_type = choose_encoder(accept)
    registry = CollectorRegistry()
    registry.register(_Once(_families(parts, extra)))
    return encode(registry), content_type


class _Once(Collector):
    def __init__(self, families: Iterable[Family]) -> None:
        self._families = families

    def describe(self) -> Iterable[Family]:
        return ()

    def collect(self) -> Iterable[Family]:
        return self._families


def _families(parts: Iterable[Part], extra: Labels) -> Iterator[Family]:
    found = list(parts)
    for name, metric in metrics.BY_NAME.items():
        family = _family(metric, extra)
        for more, snapshot in found:
            for labels, value in snapshot.get(name, ()):
                _fill(family, metric, (*more, *labels), value)
        if any(name in snapshot for _, snapshot in found):
            yield family


def _family(metric: Metric, extra: Labels) -> Family:
    labels = (*extra, *metric.labels)
    match metric.kind:
        case "counter":
            return CounterMetricFamily(metric.name, metric.text, labels=labels)
        case "histogram":
            return HistogramMetricFamily(metric.name, metric.text, labels=labels)
    return GaugeMetricFamily(metric.name, metric.text, labels=labels)


def _fill(family: Family, metric: Metric, labels: Labels, value: Value) -> None:
    if not isinstance(metric, Histogram):
        assert isinstance(family, CounterMetricFamily | GaugeMetricFamily)
        assert not isinstance(value, list)
        family.add_metric(labels, value)
        return
    assert isinstance(family, HistogramMetricFamily)
    assert isinstance(value, list)
    *counts, total = value
    buckets, so_far = [], 0.0
    for bound, count in zip([*map(str, metric.bounds), "+Inf"], counts, strict=True):
        so_far += count
        buckets.append((bound, so_far))
    family.add_metric(labels, buckets, total)


def response(request: web.Request, source: Source, extra: Labels = ()) -> web.Response:
    """The answer to a scrape."""
    body, content_type = text(source(), extra, request.headers.get("Accept", ""))
    return web.Response(body=body, headers={"Content-Type": content_type})


class MetricsServer:
    """Listens on an address of its own; `async with`. No token is required: keep the address private."""

    def __init__(
        self,
        source: Source,
        host: str,
        port: int,
        extra: Labels = (),
        *,
        shared: bool = False,
        routes: Iterable[web.RouteDef] = (),
    ) -> None:
        """`shared`: another process may listen on the same port meanwhile, for one takes over from the other. `routes`
        are served beside."""
        self._source = source
        self._extra = extra
        self._host = host
        self._shared = shared
        self.port = port
        """Where it listens; the one that was chosen when 0 was asked for."""
        app = web.Application()
        app.router.add_get(PATH, self._answer)
        app.router.add_routes(routes)
        self._listener = HttpListener(app, Gate(LIMITS), grace=0.5, access_log=None)

    async def __aenter__(self) -> Self:
        """Raises CannotListen."""
        if not 0 <= self.port <= MAX_PORT:
            raise CannotListen(Complaint.METRICS_PORT_WRONG.text(port=self.port, most=MAX_PORT))
        try:
            self.port = await self._listener.open(self._host, self.port, shared=self._shared)
        except OSError as error:
            held = error.errno == errno.EADDRINUSE
            why = (
                port_in_use(self.port, "--metrics-port") if held else cannot_listen(f"{self._host}:{self.port}", error)
            )
            raise CannotListen(f"cannot serve metrics: {why}") from None
        log.info("metrics are served", address=self.address)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._listener.close()

    @property
    def address(self) -> str:
        """host:port"""
        return f"[{self._host}]:{self.port}" if ":" in self._host else f"{self._host}:{self.port}"

    async def _answer(self, request: web.Request) -> web.Response:
        return response(request, self._source, self._extra)
