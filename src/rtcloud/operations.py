"""/healthz, /readyz and /metrics."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import prometheus_client
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

#: name → (help, is a counter, value)
Figures = Mapping[str, tuple[str, bool, float]]
#: name → (help, how many were at most each bound, their sum)
Spreads = Mapping[str, tuple[str, Sequence[tuple[str, float]], float]]
#: name → (help, name of the label, value by label); labels are few and never what strangers chose
Labelled = Mapping[str, tuple[str, str, Mapping[str, float]]]


class FigureCollector(Collector):
    """Figures that other parts keep anyway, read when somebody asks."""

    def __init__(
        self,
        read: Callable[[], Figures],
        spreads: Callable[[], Spreads] = dict,
        labelled: Callable[[], Labelled] = dict,
    ) -> None:
        self._read = read
        self._spreads = spreads
        self._labelled = labelled

    def collect(self) -> Iterator[Metric]:
        for name, (text, buckets, total) in self._spreads().items():
            yield HistogramMetricFamily(f"rtcloud_{name}", text, buckets=buckets, sum_value=total)
        for name, (text, label, values) in self._labelled().items():
            family = GaugeMetricFamily(f"rtcloud_{name}", text, labels=[label])
            for key, value in values.items():
                family.add_metric([key], value)
            yield family
        for name, (text, counts, value) in self._read().items():
            if counts:
                yield CounterMetricFamily(f"rtcloud_{name}", text, value=value)
            else:
                yield GaugeMetricFamily(f"rtcloud_{name}", text, value=value)

    def describe(self) -> Iterator[Metric]:
        return iter(())


@contextlib.contextmanager
def exposed(
    read: Callable[[], Figures],
    spreads: Callable[[], Spreads] = dict,
    labelled: Callable[[], Labelled] = dict,
) -> Iterator[None]:
    """The figures are in /metrics meanwhile."""
    collector = FigureCollector(read, spreads, labelled)
    prometheus_client.REGISTRY.register(collector)
    try:
        yield
    finally:
        prometheus_client.REGISTRY.unregister(collector)


def routes(checks: Callable[[], Mapping[str, bool]]) -> list[BaseRoute]:
    """``checks``: what must hold for this process to take work, by name."""

    async def healthz(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_request: Request) -> Response:
        found = checks()
        return JSONResponse(dict(found), 200 if all(found.values()) else 503)

    async def metrics(_request: Request) -> Response:
        return Response(prometheus_client.generate_latest(), media_type=prometheus_client.CONTENT_TYPE_LATEST)

    return [Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", metrics)]
