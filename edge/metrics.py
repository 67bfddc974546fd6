"""Figures of the edge's actors for Prometheus, read when they are asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from bus.feed import FeedFollower


class Figure(NamedTuple):
    """One family: `read` gives a value for each label value ("" for one without label)."""

    name: str
    text: str
    read: Callable[[], Mapping[str, float]]
    label: str = ""
    is_counter: bool = False


class Figures(Collector):
    """Families whose label values come and go."""

    def __init__(self, *figures: Figure) -> None:
        self._figures = figures

    def describe(self) -> Iterable[Metric]:
        return ()  # nothing at registration: actors are half made then

    def collect(self) -> Iterable[Metric]:
        for figure in self._figures:
            make = CounterMetricFamily if figure.is_counter else GaugeMetricFamily
            family = make(figure.name, figure.text, labels=[figure.label] if figure.label else [])
            for key, value in figure.read().items():
                family.add_metric([key] if figure.label else [], _finite(value))
            yield family


def one(read: Callable[[], float]) -> Callable[[], Mapping[str, float]]:
    """A figure without label."""
    return lambda: {"": read()}


def follower_figures(
    prefix: str, followers: Callable[[], Mapping[str, FeedFollower]]
) -> tuple[Figure, ...]:
    """What both followers of a pool tell: how old, how many, and what went wrong."""

    def each(value: Callable[[FeedFollower], float]) -> Callable[[], Mapping[str, float]]:
        return lambda: {name: value(follower) for name, follower in followers().items()}

    def total(kinds: Callable[[FeedFollower], Iterable[int]]) -> Callable[[FeedFollower], float]:
        return lambda follower: float(sum(kinds(follower)))

    return (
        Figure(f"{prefix}_age_seconds", "Age of what is held", each(lambda f: f.age()), "feed"),
        Figure(f"{prefix}_objects", "Objects held", each(lambda f: len(f.items)), "feed"),
        Figure(
            f"{prefix}_syncs",
            "Syncs by difference or snapshot",
            each(
                total(
                    lambda f: (n for kind, n in f.core.counts.items() if kind.startswith("sync."))
                )
            ),
            "feed",
            is_counter=True,
        ),
        Figure(
            f"{prefix}_refused_messages",
            "Undecodable or out of contract: foreign or damaged",
            each(total(lambda f: f.core.problems.values())),
            "feed",
            is_counter=True,
        ),
    )


def _finite(value: float) -> float:
    return -1.0 if math.isinf(value) else value
