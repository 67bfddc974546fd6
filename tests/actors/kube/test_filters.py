"""Namespace, name, labels and fields as one filter."""

from __future__ import annotations

import pytest

from actors.kube.builtin import CONFIGMAPS, NODES, SERVICES
from actors.kube.fields import FieldReader
from actors.kube.filters import EVERYTHING, Filter, make_filter
from actors.kube.resource import Resource
from actors.kube.selectors import SelectorError, parse_fields, parse_labels
from actors.kube.watchcache import Entry
from tests.actors.kube.objects import make, put


def build(resource: Resource, namespace: str = "", labels: str = "", fields: str = "") -> Filter:
    reader = FieldReader(resource)
    return make_filter(resource, reader, namespace, "", parse_labels(labels), parse_fields(fields))


def entry(resource: Resource, key: str, **members: object) -> Entry:
    change = put(resource, key, 1, **members)
    return Entry(key, 1, change.data or b"")


def test_everything() -> None:
    assert build(SERVICES) == EVERYTHING
    assert EVERYTHING.matches(entry(SERVICES, "a/b"), FieldReader(SERVICES))


@pytest.mark.parametrize(
    ("namespace", "fields", "matching"),
    [
        ("a", "", {"a/x", "a/y"}),
        ("", "metadata.name=x", {"a/x", "b/x"}),
        ("", "metadata.name!=x", {"a/y"}),
        ("", "metadata.namespace=a", {"a/x", "a/y"}),
        ("", "metadata.namespace!=a", {"b/x"}),
        ("a", "metadata.namespace=b", set()),
        ("", "metadata.name=x,metadata.name=y", set()),
        ("a", "metadata.name=x", {"a/x"}),
        ("aa", "", set()),
    ],
)
def test_keys(namespace: str, fields: str, matching: set[str]) -> None:
    filter_ = build(SERVICES, namespace, fields=fields)
    assert {key for key in ("a/x", "a/y", "b/x") if filter_.matches_key(key)} == matching


def test_exact_key() -> None:
    assert build(NODES, fields="metadata.name=n1").exact_key(False) == "n1"
    assert build(SERVICES, fields="metadata.name=n1").exact_key(True) is None
    assert build(SERVICES, "a", fields="metadata.name=n1").exact_key(True) == "a/n1"


def test_kube_proxy_selectors() -> None:
    filter_ = build(
        SERVICES,
        labels="!service.kubernetes.io/service-proxy-name",
        fields="spec.clusterIP!=None",
    )
    reader = FieldReader(SERVICES)
    assert filter_.matches(entry(SERVICES, "a/b", spec={"clusterIP": "10.0.0.1"}), reader)
    assert not filter_.matches(entry(SERVICES, "a/b", spec={"clusterIP": "None"}), reader)
    foreign = entry(
        SERVICES, "a/b", labels={"service.kubernetes.io/service-proxy-name": "x"}, spec={}
    )
    assert not filter_.matches(foreign, reader)


def test_unsupported_fields_as_upstream() -> None:
    with pytest.raises(SelectorError, match=r"^field label not supported: spec.x$"):
        build(SERVICES, fields="spec.x=1")
    with pytest.raises(SelectorError, match="is not a known field selector: only"):
        build(CONFIGMAPS, fields="spec.x=1")


def test_selected_is_read_once() -> None:
    held = entry(SERVICES, "a/b", labels={"x": "y"})
    reader = FieldReader(SERVICES)
    assert held.selected(reader) is held.selected(reader)
    assert make(SERVICES, "a/b", 1)["kind"] == "Service"
