"""Metrics in Prometheus's text format, from the counters and the state of sources and configuration (the only module that imports its library).

Names and labels are a contract: the README lists them. Each worker process has counters and an endpoint of its own.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.operate.serving import Serving
from gateway.run.policies import ORDER, Policy, SourceState
from gateway.run.policies.policy import Series, SourceMetric
from gateway.serve.admission.admission import REJECTION_REASONS
from gateway.serve.generation.pools import Pools
from gateway.telemetry.counters import OK, SHARED, Counters, Histogram
from gateway.telemetry.logs import dropped_lines

CONTENT_TYPE = CONTENT_TYPE_LATEST
MAX_SOURCES = 40
"""The limit of sources that have series, so that all metrics together stay below 2,000 series."""


class _Configuration(Collector):
    """The metrics of the configuration."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def collect(self) -> Iterator[Metric]:
        yield _counters(
            "config_reload",
            "Changes of the configuration, by result.",
            ["result"],
            {(result,): self._serving.outcomes[result] for result in ("accepted", "partial", "rejected", "failed")},
        )
        info = GaugeMetricFamily(
            "stepgraph_configuration_info", "The version of the configuration that this process answers by.", labels=["version"]
        )
        info.add_metric([self._serving.version], 1)
        yield info
        yield CounterMetricFamily(
            "stepgraph_watch_restarts",
            "How often watching the configuration folder has ended by an error and was begun anew.",
            self._serving.watch_restarts,
        )
        yield GaugeMetricFamily(
            "config_problems", "Problems in the configuration files as they are now.", len(self._serving.problems)
        )
        yield GaugeMetricFamily(
            "config_kept",
            "Operations, links and overlays that use their last valid definition, or are left out.",
            len(self._serving.kept),
        )
        if generation := self._serving.generation:
            insecure = len(generation.blueprint.insecure_sources)
            yield GaugeMetricFamily("stepgraph_insecure_sources", "Sources whose certificates are not verified.", insecure)


class _Caches(Collector):
    """The metrics of the caches of the generation that is served now."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def collect(self) -> Iterator[Metric]:
        caches = self._serving.generation.capacity.caches if self._serving.generation else {}
        sizes = {(kind,): float(cache.bytes) for kind, cache in caches.items()}
        yield _gauges("stepgraph_cache_bytes", "The memory that caches take, estimated.", ["kind"], sizes)
        entries = {(kind,): float(len(cache)) for kind, cache in caches.items()}
        yield _gauges("stepgraph_cache_entries", "What caches hold: documents with their plans, replies.", ["kind"], entries)
        # A gauge: each configuration begins with empty caches.
        evicted = {(kind,): float(cache.evicted) for kind, cache in caches.items()}
        yield _gauges(
            "stepgraph_cache_evicted", "What had to leave a cache of this configuration for lack of room.", ["kind"], evicted
        )


class _Requests(Collector):
    """The metrics of requests, and of the process that answers them."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    def collect(self) -> Iterator[Metric]:
        counters = self._counters
        yield _counters(
            "stepgraph_requests",
            "GraphQL requests that have ended, by outcome (ok, partial, failed, refused, left) and HTTP status.",
            ["outcome", "status"],
            {(outcome, str(status)): count for (outcome, status), count in list(counters.requests.items())},
        )
        yield _histogram(
            "stepgraph_request_duration_seconds", "How long GraphQL requests took.", [], {(): counters.request_seconds}
        )
        yield GaugeMetricFamily("stepgraph_requests_open", "GraphQL requests under way.", counters.open)
        rejected = {(reason,): counters.rejected[reason] for reason in REJECTION_REASONS}
        yield _counters("stepgraph_requests_rejected", "GraphQL requests rejected by admission, by reason.", ["reason"], rejected)
        errors = {(code,): count for code, count in counters.errors.items()}
        yield _counters("stepgraph_errors", "Errors in responses, by code.", ["code"], errors)
        shared = {(kind,): counters.shared[kind] for kind in SHARED}
        yield _counters(
            "stepgraph_shared", "Cache hits and misses, and calls and queries that joined an equal one.", ["kind"], shared
        )
        yield _histogram(
            "stepgraph_loop_lag_seconds", "How late the event loop was, measured twice a second.", [], {(): counters.lag}
        )
        yield GaugeMetricFamily(
            "stepgraph_loop_lag_max_seconds", "The largest lag of the event loop in the last minute.", counters.largest_lag
        )
        yield CounterMetricFamily(
            "stepgraph_log_lines_dropped", "Log lines that were dropped because the queue was full.", dropped_lines()
        )


class _Steps(Collector):
    """The metrics of steps. Series of links have an empty operation; steps beyond the limit of series are counted as ``other``."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    def collect(self) -> Iterator[Metric]:
        meters = [(meter.operation, meter.step, meter) for meter in self._counters.steps]
        names = ["operation", "step"]
        outcomes: dict[tuple[str, ...], int] = {}
        for operation, step, meter in meters:
            outcomes[operation, step, OK] = meter.ok

            outcomes.update({(operation, step, kind): count for kind, count in list(meter.outcomes.items())})
        yield _counters(
            "stepgraph_step_outcomes", "How steps ended: ok, skipped, or the code of a failure.", [*names, "outcome"], outcomes
        )
        yield _histogram(
            "stepgraph_step_duration_seconds",
            "How long steps took, including waits and all attempts.",
            names,
            {(operation, step): meter.seconds for operation, step, meter in meters},
        )
        served = {(operation, step): meter.served for operation, step, meter in meters}
        yield _counters("stepgraph_step_fallbacks", "Values of steps that came from a fallback.", names, served)


class _Sources(Collector):
    """The metrics of the policies of sources. Each policy describes its own series."""

    def __init__(self, pools: Pools) -> None:
        self._pools = pools

    def collect(self) -> Iterator[Metric]:
        # By name: while an older configuration drains, a source may be there twice, and the latest counts.
        sources = {source.name: state for source, state in self._pools.states().items()}
        values_by_metric: dict[SourceMetric, dict[tuple[str, ...], float]] = {}
        for policy in ORDER:
            for series in policy.series:
                samples = _samples(policy, series, list(sources.items())[:MAX_SOURCES])
                values_by_metric.setdefault(series.metric, {}).update(samples)
        for metric, values in values_by_metric.items():
            labels = ["source", metric.label] if metric.label else ["source"]
            yield (_gauges if metric.is_gauge else _counters)(metric.name, metric.text, labels, values)


def _samples(
    policy: Policy[Any], series: Series[Any], sources: Sequence[tuple[str, SourceState]]
) -> Iterator[tuple[tuple[str, ...], float]]:
    """Yield for each source that has the policy the labels and the value of a series."""
    for name, source in sources:
        state = policy.of(source)
        if state is not None:
            yield (name, series.label) if series.label else (name,), series.read(state)


def _gauges(name: str, text: str, labels: Sequence[str], values: Mapping[Any, float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for label_values, value in values.items():
        family.add_metric(label_values, value)
    return family


def _counters(name: str, text: str, labels: Sequence[str], counts: Mapping[Any, float]) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for label_values, count in counts.items():
        family.add_metric(label_values, count)
    return family


def _histogram(name: str, text: str, labels: Sequence[str], histograms: Mapping[Any, Histogram]) -> Metric:
    family = HistogramMetricFamily(name, text, labels=labels)
    for label_values, histogram in histograms.items():
        family.add_metric(label_values, _buckets(histogram), histogram.total)
    return family


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    """Return cumulative counts, as Prometheus needs them: each bucket includes those below it."""
    total, buckets = 0, []
    for bound, count in zip((*map(str, histogram.bounds), "+Inf"), histogram.counts, strict=True):
        total += count
        buckets.append((bound, float(total)))
    return buckets


def metrics_text(serving: Serving) -> bytes:
    """Return all metrics of this process, as text in UTF-8."""
    registry, counters = CollectorRegistry(auto_describe=False), serving.telemetry.counters
    for collector in (_Configuration(serving), _Caches(serving), _Requests(counters), _Steps(counters), _Sources(serving.pools)):
        registry.register(collector)
    return generate_latest(registry)
