"""Merged expositions stay valid: one header a family, no contradictions, labels kept."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from actors.metrics import exposition, gauges, merge


def host(node: str, events: int) -> str:
    registry = CollectorRegistry()
    Counter("atoll_events", "Events", registry=registry).inc(events)
    Gauge("atoll_age_seconds", "Age", ["feed"], registry=registry).labels("services").set(0.5)
    Histogram("atoll_lag_seconds", "Lag", registry=registry, buckets=(1.0,)).observe(0.2)
    return exposition([({"site": "pool-a", "node": node}, registry)])


def samples(text: str) -> dict[tuple[str, str], float]:
    return {
        (sample.name, sample.labels.get("node", "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def headers(text: str) -> list[str]:
    return [line.split()[2] for line in text.split("\n") if line.startswith("# TYPE ")]


def test_samples_get_their_place_as_labels() -> None:
    text = host("node-1", 3)
    assert 'atoll_events_total{node="node-1",site="pool-a"} 3.0' in text
    assert 'feed="services"' in text


def test_families_of_two_hosts_stand_together() -> None:
    text = merge([host("node-1", 1), host("node-2", 2)])
    assert len(headers(text)) == len(set(headers(text)))
    found = samples(text)
    assert found["atoll_events_total", "node-1"] == 1
    assert found["atoll_events_total", "node-2"] == 2
    assert found["atoll_lag_seconds_count", "node-2"] == 1
    assert text.endswith("\n")


def test_merging_loses_nothing() -> None:
    texts = [host(f"node-{number}", number) for number in range(3)]
    lines = {line for text in texts for line in text.split("\n") if not line.startswith("#")}
    assert lines == {line for line in merge(texts).split("\n") if not line.startswith("#")}


def test_merging_one_changes_nothing() -> None:
    text = host("node-1", 1)
    assert merge([text]) == text


def test_nothing_merges_to_nothing() -> None:
    assert merge([]) == merge(["", "\n"]) == ""


def test_the_same_series_twice_is_told_once() -> None:
    text = merge([host("node-1", 1), host("node-1", 5)])
    assert text.count("atoll_events_total{") == 1
    assert samples(text)["atoll_events_total", "node-1"] == 1


def test_a_family_of_another_type_is_left_out() -> None:
    registry = CollectorRegistry()
    Counter("atoll_age_seconds", "Age", registry=registry).inc()
    odd = generate_latest(registry).decode().replace("atoll_age_seconds_total", "atoll_age_seconds")
    text = merge([host("node-1", 1), odd])
    assert [name for name in headers(text) if "atoll_age_seconds" in name].count(
        "atoll_age_seconds"
    ) == 1
    assert "# TYPE atoll_age_seconds gauge" in text


@pytest.mark.parametrize("odd", ["a\u2028b", "a}b", "a b", 'a"b', "a\\b", "a\nb", "é\x85"])
def test_odd_label_values_survive(odd: str) -> None:
    registry = CollectorRegistry()
    gauge = Gauge("atoll_odd", "Odd", ["what"], registry=registry)
    gauge.labels(odd).set(1)
    gauge.labels("plain").set(2)
    text = merge([exposition([({"node": "node-1"}, registry)]), host("node-2", 1)])
    [family] = [f for f in text_string_to_metric_families(text) if f.name == "atoll_odd"]
    assert {s.labels["what"]: s.value for s in family.samples} == {odd: 1, "plain": 2}


def test_gauges_from_values() -> None:
    registry = gauges({"atoll_up": ("Whether it runs", {"hub": 1.0})}, label="actor")
    text = exposition([({"node": "node-1"}, registry)])
    assert 'atoll_up{actor="hub",node="node-1"} 1.0' in text
    assert "# HELP atoll_up Whether it runs" in text
