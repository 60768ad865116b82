"""The state of what is served → metrics as Prometheus reads them (the only module that knows its library)."""

from collections.abc import Iterator

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.reload import Serving

CONTENT_TYPE = CONTENT_TYPE_LATEST


class _Configuration(Collector):
    """Reads the metrics of the configuration when they are asked for, so that counting costs requests nothing."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def collect(self) -> Iterator[Metric]:
        reloads = CounterMetricFamily("config_reload", "Changes of the configuration, by what became of them.", labels=["result"])
        for result in ("accepted", "partial", "rejected", "failed"):
            reloads.add_metric([result], self._serving.outcomes[result])
        yield reloads
        yield GaugeMetricFamily("config_problems", "What is wrong with the files as they are now.", len(self._serving.problems))
        yield GaugeMetricFamily(
            "config_kept", "Operations and links that answer as they last were sound.", len(self._serving.kept)
        )


def metrics_text(serving: Serving) -> bytes:
    """Return the metrics of what is served, as text."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Configuration(serving))
    return generate_latest(registry)
