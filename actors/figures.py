"""Figures of actors for Prometheus, read when they are asked for: the home of its collectors."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

Labels = str | tuple[str, ...]
Values = Mapping[str, float] | Mapping[tuple[str, ...], float]


class Figure(NamedTuple):
    """One family: `read` gives a value for each label value ("" for one without label)."""

    name: str
    text: str
    read: Callable[[], Values]
    label: Labels = ""
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
            labels = (figure.label,) if isinstance(figure.label, str) else figure.label
            family = make(figure.name, figure.text, labels=labels if figure.label else ())
            for key, value in figure.read().items():
                values = (key,) if isinstance(key, str) else key
                family.add_metric(values if figure.label else (), _finite(value))
            yield family


def one(read: Callable[[], float]) -> Callable[[], Mapping[str, float]]:
    """A figure without label."""
    return lambda: {"": read()}


def _finite(value: float) -> float:
    """Prometheus knows infinity, dashboards do not draw it: an age of never is NaN."""
    return math.nan if math.isinf(value) else value
