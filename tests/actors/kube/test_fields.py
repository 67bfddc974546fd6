"""Reading labels and selectable fields straight from JSON."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from actors.kube.builtin import EVENTS, NODES, PODS, SERVICES
from actors.kube.fields import FieldReader
from actors.kube.resource import Resource
from tests.actors.kube.objects import WIDGETS, make


def values(resource: Resource, **members: Any) -> dict[str, str]:
    reader = FieldReader(resource)
    found = reader.read(msgspec.json.encode(make(resource, "ns/x", 1, **members)))
    return {name: found.values[index] for name, index in reader.names.items()}


def test_labels() -> None:
    raw = msgspec.json.encode(make(PODS, "ns/x", 1, labels={"a": "b"}))
    assert FieldReader(PODS).read(raw).labels == {"a": "b"}


def test_pod_fields() -> None:
    found = values(
        PODS,
        spec={"nodeName": "n1", "restartPolicy": "Always", "hostNetwork": True, "containers": []},
        status={"phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}]},
    )
    assert found["spec.nodeName"] == "n1"
    assert found["spec.hostNetwork"] == "true"
    assert found["status.phase"] == "Running"
    assert found["status.podIPs"] == "10.0.0.1"
    assert found["status.nominatedNodeName"] == ""


def test_defaults_as_upstream() -> None:
    assert values(NODES)["spec.unschedulable"] == "false"
    assert values(NODES, spec={"unschedulable": True})["spec.unschedulable"] == "true"
    assert values(PODS)["spec.hostNetwork"] == "false"


def test_event_source_falls_back_to_the_reporting_component() -> None:
    assert values(EVENTS, source={"component": "kubelet"})["source"] == "kubelet"
    assert values(EVENTS, source={}, reportingComponent="new")["source"] == "new"


@pytest.mark.parametrize("spec", [None, [], "text", {"color": {"r": 1}}, {"color": None}, {}])
def test_unexpected_types_read_as_nothing(spec: object) -> None:
    assert values(WIDGETS, spec=spec) == {"spec.color": ""}


def test_unexpected_types_keep_labels() -> None:
    raw = msgspec.json.encode(make(WIDGETS, "ns/x", 1, labels={"a": "b"}, spec=[1]))
    assert FieldReader(WIDGETS).read(raw).labels == {"a": "b"}


def test_numbers_and_null_labels() -> None:
    assert values(WIDGETS, spec={"color": 7}) == {"spec.color": "7"}
    assert FieldReader(SERVICES).read(b'{"metadata":{"labels":null}}').labels == {}


def test_crd_style_path() -> None:
    resource = msgspec.structs.replace(WIDGETS, selectable_fields=(".spec.color",))
    assert values(resource, spec={"color": "red"}) == {"spec.color": "red"}
