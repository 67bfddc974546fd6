"""Prometheus text from many registries and many processes, as one valid exposition."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

Labelled = tuple[Mapping[str, str], CollectorRegistry]


class _Fixed(Collector):
    """Hands out given metric families."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics

    def describe(self) -> Iterable[Metric]:
        return ()  # collected unchecked: names are merged already


def exposition(parts: Iterable[Labelled]) -> str:
    """Text of all registries, their labels added, one family per name."""
    families: dict[str, Metric] = {}
    for labels, registry in parts:
        for metric in registry.collect():
            family = families.setdefault(
                metric.name, Metric(metric.name, metric.documentation, metric.type, metric.unit)
            )
            family.samples += [_labelled(sample, labels) for sample in metric.samples]
    whole = CollectorRegistry()
    whole.register(_Fixed(list(families.values())))
    return generate_latest(whole).decode()


def _labelled(sample: Sample, labels: Mapping[str, str]) -> Sample:
    return sample._replace(labels={**labels, **sample.labels})


def gauges(
    metrics: Mapping[str, tuple[str, Mapping[str, float]]], *, label: str
) -> CollectorRegistry:
    """A registry from name -> (documentation, value of `label` -> value)."""
    families = []
    for name, (documentation, values) in metrics.items():
        family = GaugeMetricFamily(name, documentation, labels=[label])
        for key, value in values.items():
            family.add_metric([key], value)
        families.append(family)
    registry = CollectorRegistry()
    registry.register(_Fixed(families))
    return registry


def merge(texts: Iterable[str]) -> str:
    """One exposition from several: samples of one family stand together, below one header."""
    families: dict[str, tuple[list[str], list[str]]] = {}
    for text in texts:
        for name, header, samples in _families(text):
            known = families.setdefault(name, (header, []))
            known[1].extend(samples)
    lines = [line for header, samples in families.values() for line in (*header, *samples)]
    return "\n".join([*lines, ""]) if lines else ""


def _families(text: str) -> Iterable[tuple[str, list[str], list[str]]]:
    """(name, header lines, sample lines) of each family, as `generate_latest` writes them."""
    name, header, samples = "", list[str](), list[str]()
    for line in text.splitlines():
        if line.startswith("# HELP "):
            if name:
                yield name, header, samples
            name, header, samples = line.split(" ", 3)[2], [line], []
        elif line.startswith("#"):
            header.append(line)
        elif line:
            samples.append(line)
    if name:
        yield name, header, samples
