"""Who is filtered: the defaults, and what a site file makes of them."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from actors.kube.resource import Resource
from configs.schema import FilterName
from edge.filters.table import TABLE
from tests.edge.filters.samples import CONFIG_MAPS, ENDPOINTS, PODS, SERVICES, SLICES, filters


def names(component: str, resource: Resource, verb: str, **settings: Any) -> list[str]:
    chain = filters(**settings).chain_for(component, resource, verb)
    return [step.name for step in chain.steps] if chain else []


def test_the_site_files_names_are_those_of_the_table() -> None:
    assert set(get_args(FilterName)) == {row.name for row in TABLE}


@pytest.mark.parametrize(
    ("component", "resource", "verbs", "expected"),
    [
        ("kubelet", SERVICES, "list watch", ["masterservice"]),
        ("kubelet", SERVICES, "get", []),
        ("kubelet", CONFIG_MAPS, "get list watch", ["inclusterconfig"]),
        ("kubelet", PODS, "get list watch patch", ["serviceenvupdater"]),
        ("kubelet", SLICES, "list", []),
        ("kube-proxy", SERVICES, "list watch", ["discardcloudservice", "nodeportisolation"]),
        ("kube-proxy", SLICES, "list watch", ["servicetopology", "forwardkubesvctraffic"]),
        ("kube-proxy", SLICES, "get", []),
        ("coredns", ENDPOINTS, "list watch", ["servicetopology"]),
        ("nginx-ingress-controller", SLICES, "list watch", ["servicetopology"]),
        ("kubectl", SERVICES, "get list watch", []),
        ("", SLICES, "list", []),
    ],
)
def test_defaults_with_several_filters_in_order_1189(
    component: str, resource: Resource, verbs: str, expected: list[str]
) -> None:
    for verb in verbs.split():
        assert names(component, resource, verb) == expected


def test_components_may_be_added_and_taken_away() -> None:
    extra = {"servicetopology": ["traefik", "-coredns"], "masterservice": ["*"]}
    assert names("traefik", SLICES, "list", components=extra) == ["servicetopology"]
    assert names("coredns", SLICES, "list", components=extra) == []
    assert names("kube-proxy", SLICES, "list", components=extra)[0] == "servicetopology"
    assert names("anybody", SERVICES, "list", components=extra) == ["masterservice"]
    assert names("", SERVICES, "list", components=extra) == []


def test_filters_may_be_off() -> None:
    off = ["servicetopology"]
    assert names("kube-proxy", SLICES, "list", disabled=off) == ["forwardkubesvctraffic"]
    assert names("coredns", SLICES, "list", disabled=off) == []
    assert all(
        names(row.components[0], _any(row.resource), "list", disabled="*") == []
        for row in TABLE
        if row.components
    )


def _any(name: str) -> Resource:
    return next(
        each for each in (SERVICES, SLICES, ENDPOINTS, PODS, CONFIG_MAPS) if each.name == name
    )
