from __future__ import annotations

from typing import Any, cast

import pytest

from actors.kube import builtin
from actors.kube.client_errors import UnknownResource
from actors.kube.discovered import parse_aggregated, parse_resource_list
from actors.kube.discovery import pick, with_definition
from actors.kube.resource import Column, Resource
from actors.kube.serve import discovery as served

WIDGETS = Resource(
    group="example.com",
    version="v1",
    plural="widgets",
    kind="Widget",
    namespaced=True,
    singular="widget",
    short_names=("wd",),
)
OLD_WIDGETS = Resource(
    group="example.com", version="v1beta1", plural="widgets", kind="Widget", namespaced=True
)
ALL = (*builtin.BUILTIN, WIDGETS, OLD_WIDGETS)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("services", "services.v1"),
        ("services.v1", "services.v1"),
        ("svc", "services.v1"),
        ("Service", "services.v1"),
        ("endpointslices", "endpointslices.v1.discovery.k8s.io"),
        ("endpointslices.discovery.k8s.io", "endpointslices.v1.discovery.k8s.io"),
        ("endpointslices.v1.discovery.k8s.io", "endpointslices.v1.discovery.k8s.io"),
        ("events", "events.v1"),
        ("events.events.k8s.io", "events.v1.events.k8s.io"),
        ("widgets", "widgets.v1.example.com"),
        ("wd.example.com", "widgets.v1.example.com"),
        ("widgets.v1beta1.example.com", "widgets.v1beta1.example.com"),
    ],
)
def test_names_are_understood_as_kubectl_does(name: str, found: str) -> None:
    assert pick(name, ALL).name == found


@pytest.mark.parametrize("name", ["widgets.v1", "gadgets.example.com", "services.apps", ""])
def test_what_is_not_there_is_unknown(name: str) -> None:
    with pytest.raises(UnknownResource):
        pick(name, ALL)


def test_the_nearest_names_are_told() -> None:
    with pytest.raises(UnknownResource, match=r"did you mean endpointslices\.discovery\.k8s\.io"):
        pick("endpointslice.discovery.k8s", ALL)


def bare(resource: Resource) -> tuple[Any, ...]:
    return resource.name, resource.kind, resource.namespaced, resource.short_names


@pytest.mark.parametrize("version", ["v2", "v2beta1"])
def test_aggregated_discovery_is_read_as_it_is_served(version: str) -> None:
    groups = served.grouped(ALL)
    found = [
        *parse_aggregated(served.aggregated(groups, True, version, True)),
        *parse_aggregated(served.aggregated(groups, False, version, True)),
    ]
    assert {bare(each) for each in found} == {bare(each) for each in ALL}
    pods = pick("pods", found)
    assert "status" in pods.subresources
    assert "spec.nodeName" in pods.selectable_fields


def listed(group_version: str, resources: list[Resource]) -> dict[str, Any]:
    return dict(cast(Any, served.resource_list(group_version, resources, True)))


def test_plain_discovery_is_read_as_it_is_served() -> None:
    found = parse_resource_list(listed("example.com/v1", [WIDGETS]))
    assert [bare(each) for each in found] == [bare(WIDGETS)]
    core = [each for each in builtin.BUILTIN if not each.group]
    found = parse_resource_list(listed("v1", core))
    assert {bare(each) for each in found} == {bare(each) for each in core}


def test_what_cannot_be_watched_is_left_out() -> None:
    entry = {"name": "bindings", "kind": "Binding", "namespaced": True, "verbs": ["create"]}
    assert parse_resource_list({"groupVersion": "v1", "resources": [entry]}) == []


def test_a_crd_adds_columns_and_selectable_fields_of_the_right_version() -> None:
    column = {"name": "Size", "type": "integer", "jsonPath": ".spec.size", "priority": 1}
    versions = [
        {"name": "v1beta1"},
        {
            "name": "v1",
            "additionalPrinterColumns": [column],
            "selectableFields": [{"jsonPath": ".spec.color"}],
        },
    ]
    definition = {"spec": {"names": {"listKind": "Widgets"}, "versions": versions}}
    found = with_definition(WIDGETS, definition)
    assert found.columns == (Column(name="Size", type="integer", priority=1, path=".spec.size"),)
    assert found.selectable_fields == ("spec.color",)
    assert found.list_kind_or_default == "Widgets"
    assert with_definition(OLD_WIDGETS, definition).columns == ()
