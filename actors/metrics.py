"""Prometheus text from many registries and many processes, as one valid exposition."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

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
    """One exposition from several: samples of one family stand together, below one header.

    Prometheus refuses a whole scrape for one contradiction, so the first to speak wins: a family of
    another type and a series that is there already are left out.
    """
    families: dict[str, _Family] = {}
    for text in texts:
        for found in _families(text):
            known = families.setdefault(found.name, _Family(found.name, found.header, found.type))
            if known.type == found.type:
                known.series.update({**found.series, **known.series})
    return "".join(str(family) for family in families.values())


@dataclass
class _Family:
    name: str
    header: list[str]
    type: str = "untyped"
    series: dict[str, str] = field(default_factory=dict)  # name and labels -> the whole line

    def __str__(self) -> str:
        return "".join(f"{line}\n" for line in (*self.header, *self.series.values()))


def _families(text: str) -> Iterator[_Family]:
    """The families of a text as `generate_latest` writes them: header first, then its samples."""
    family = _Family("", [])
    for line in text.split("\n"):  # not splitlines: a label may hold what Unicode calls a line end
        keyword, name = _header(line)
        if keyword and name != family.name:
            if family.name:
                yield family
            family = _Family(name, [])
        if keyword:
            family.header.append(line)
        elif line and not line.startswith("#"):
            family.series.setdefault(_series(line), line)
        if keyword == "TYPE":
            family.type = line.rpartition(" ")[2]
    if family.name:
        yield family


def _header(line: str) -> tuple[str, str]:
    words = line.split(" ", 3)
    is_header = len(words) == 4 and words[0] == "#" and words[1] in ("HELP", "TYPE")
    return (words[1], words[2]) if is_header else ("", "")


def _series(line: str) -> str:
    """Name and labels of a sample line, without the value after them."""
    end = line.rfind("}")
    return line[: end + 1] if end >= 0 else line.partition(" ")[0]
