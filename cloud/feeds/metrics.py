"""The feeds' figures for Prometheus, read when they are asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cloud.feeds.source import SourceFeed

_GAUGES: tuple[tuple[str, str, Callable[[SourceFeed], float]], ...] = (
    ("objects", "Objects carried", lambda f: len(f.publisher.items)),
    ("age_seconds", "Age of what we know of the API server", lambda f: _finite(f.reflector.age())),
    ("oversized_objects", "Objects over feeds.max_object, not carried", lambda f: len(f.oversized)),
    (
        "interrupted",
        "Whether the API server cannot be followed",
        lambda f: bool(f.reflector.stats.error),
    ),
)
_COUNTERS: tuple[tuple[str, str, Callable[[SourceFeed], float]], ...] = (
    ("source_events", "Watch events from the API server", lambda f: f.reflector.stats.events),
    ("source_bytes", "Bytes from the API server", lambda f: f.reflector.stats.bytes),
    ("frames", "Frames handed to the bus", lambda f: f.publisher.frames),
    ("frame_bytes", "Bytes of these frames", lambda f: f.publisher.frame_bytes),
    ("frames_unsent", "Frames made while the bus was down", lambda f: f.publisher.unsent),
    ("sync_answers", "Answers to followers that sync", lambda f: f.publisher.answers),
    ("sync_bytes", "Bytes of these answers", lambda f: f.publisher.answer_bytes),
)


class FeedsCollector(Collector):
    def __init__(
        self, feeds: Mapping[str, SourceFeed], unknown: Callable[[], Mapping[str, str]]
    ) -> None:
        self._feeds = feeds
        self._unknown = unknown

    def describe(self) -> Iterable[Metric]:
        return ()  # nothing at registration: labels come and go

    def collect(self) -> Iterable[Metric]:
        for name, text, value in _GAUGES:
            gauge = GaugeMetricFamily(f"atoll_feed_{name}", text, labels=["feed"])
            for feed, source in self._feeds.items():
                gauge.add_metric([feed], value(source))
            yield gauge
        for name, text, value in _COUNTERS:
            counter = CounterMetricFamily(f"atoll_feed_{name}", text, labels=["feed"])
            for feed, source in self._feeds.items():
                counter.add_metric([feed], value(source))
            yield counter
        yield self._by("relists", "Whole lists, by reason", "reason")
        yield self._by("source_endings", "Unhappy ends of requests, by kind", "kind")
        yield self._unknown_resources()

    def _by(self, name: str, text: str, label: str) -> Metric:
        counter = CounterMetricFamily(f"atoll_feed_{name}", text, labels=["feed", label])
        for feed, source in self._feeds.items():
            stats = source.reflector.stats
            counts = stats.relists if name == "relists" else stats.endings
            for what, count in counts.items():
                counter.add_metric([feed, what], count)
        return counter

    def _unknown_resources(self) -> Metric:
        text = "Resources of the site file that the API server does not serve"
        gauge = GaugeMetricFamily("atoll_feed_unknown_resource", text, labels=["name"])
        for name in self._unknown():
            gauge.add_metric([name], 1)
        return gauge


def _finite(age: float) -> float:
    """Prometheus knows infinity, dashboards do not draw it: never heard is NaN."""
    return math.nan if math.isinf(age) else age
