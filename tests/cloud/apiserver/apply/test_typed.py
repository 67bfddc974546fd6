"""Merging, comparing and removing under the published schemas and under none."""

from __future__ import annotations

from typing import Any

import pytest

from actors.kube.schemas import REF, published
from cloud.apiserver.apply import typed
from cloud.apiserver.apply.fieldsets import of_paths, paths, shown
from cloud.apiserver.apply.structure import Structure

FREE = Structure(published(), {})


def builtin(name: str) -> Structure:
    return Structure(published(), {"$ref": REF + name})


POD_SPEC = builtin("io.k8s.api.core.v1.PodSpec")
SERVICE_SPEC = builtin("io.k8s.api.core.v1.ServiceSpec")
META = builtin("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")
DEPLOYMENT_SPEC = builtin("io.k8s.api.apps.v1.DeploymentSpec")


def texts(fields: Any) -> set[str]:
    return {shown(path) for path in paths(fields)}


def test_fields_of_what_a_client_says() -> None:
    ports = [{"port": 80}, {"port": 80, "protocol": "UDP"}]
    spec = {"selector": {"app": "a"}, "ports": ports}
    assert texts(typed.fields_of(SERVICE_SPEC, spec)) == {
        ".selector",  # atomic
        '.ports[port=80,protocol="TCP"]',
        '.ports[port=80,protocol="TCP"].port',
        '.ports[port=80,protocol="UDP"]',
        '.ports[port=80,protocol="UDP"].port',
        '.ports[port=80,protocol="UDP"].protocol',
    }


@pytest.mark.parametrize(
    ("structure", "live", "config", "merged"),
    [
        (META, {"labels": {"a": "1"}}, {"labels": {"b": "2"}}, {"labels": {"a": "1", "b": "2"}}),
        (META, {"finalizers": ["a"]}, {"finalizers": ["b", "a"]}, {"finalizers": ["b", "a"]}),
        (META, {"finalizers": ["x", "a"]}, {"finalizers": ["a"]}, {"finalizers": ["x", "a"]}),
        (
            DEPLOYMENT_SPEC,
            {"selector": {"matchLabels": {"a": "1"}}},
            {"selector": {"matchLabels": {"b": "2"}}},
            {"selector": {"matchLabels": {"b": "2"}}},
        ),
        (
            POD_SPEC,
            {"containers": [{"name": "a", "image": "x"}, {"name": "b", "args": ["1"]}]},
            {"containers": [{"name": "b", "args": ["2", "3"]}, {"name": "c"}]},
            {
                "containers": [
                    {"name": "a", "image": "x"},
                    {"name": "b", "args": ["2", "3"]},
                    {"name": "c"},
                ]
            },
        ),
        (FREE, {"a": {"b": [1]}}, {"a": {"c": 2, "b": [3]}}, {"a": {"b": [3], "c": 2}}),
        (FREE, {"a": {"b": 1}}, {"a": 1}, {"a": 1}),
        (FREE, {"a": {"b": 1}}, {"a": {}}, {"a": {"b": 1}}),
    ],
)
def test_merge(structure: Structure, live: Any, config: Any, merged: Any) -> None:
    assert typed.merge(structure, live, config) == merged
    assert typed.merge(structure, merged, config) == merged


def test_items_that_are_twice_live_are_kept_and_replaced_together() -> None:
    env = [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}, {"name": "B", "value": "3"}]
    live = {"containers": [{"name": "c", "env": env}]}
    other = {"containers": [{"name": "c", "env": [{"name": "B", "value": "4"}]}]}
    merged = typed.merge(POD_SPEC, live, other)
    assert merged["containers"][0]["env"] == [*env[:2], {"name": "B", "value": "4"}]
    same = {"containers": [{"name": "c", "env": [{"name": "A", "value": "9"}]}]}
    merged = typed.merge(POD_SPEC, live, same)
    assert merged["containers"][0]["env"] == [{"name": "A", "value": "9"}, env[2]]


def test_compare() -> None:
    old = {"containers": [{"name": "a", "image": "x", "args": ["1"]}], "nodeName": "n"}
    new = {"containers": [{"name": "a", "image": "y", "args": ["1", "2"]}], "hostPID": True}
    changed, removed = typed.compare(POD_SPEC, old, new)
    assert texts(changed) == {
        '.containers[name="a"].image',
        '.containers[name="a"].args',
        ".hostPID",
    }
    assert texts(removed) == {".nodeName"}
    assert typed.compare(POD_SPEC, old, old) == ({}, {})


def test_compare_what_comes_goes_and_turns() -> None:
    changed, removed = typed.compare(FREE, {"a": {"b": 1}, "c": 1}, {"a": 1, "d": {"e": {}}})
    assert texts(changed) == {".a", ".d", ".d.e"}
    assert texts(removed) == {".a.b", ".c"}


def test_another_order_is_no_change() -> None:
    one, two = {"name": "a"}, {"name": "b"}
    assert typed.compare(POD_SPEC, {"containers": [one, two]}, {"containers": [two, one]}) == (
        {},
        {},
    )


def test_remove() -> None:
    spec = {"ports": [{"port": 80, "name": "a"}, {"port": 81, "name": "b"}], "type": "X"}
    gone = of_paths(
        [
            ("f:ports", 'k:{"port":80,"protocol":"TCP"}'),
            ("f:ports", 'k:{"port":81,"protocol":"TCP"}', "f:name"),
            ("f:type",),
        ]
    )
    assert typed.remove(SERVICE_SPEC, spec, gone) == {"ports": [{"port": 81}]}


def test_who_owns_a_part_owns_the_frame() -> None:
    fields = typed.fields_of(SERVICE_SPEC, {"ports": [{"port": 80}]})
    assert ".ports" in texts(typed.with_structures(SERVICE_SPEC, fields))
    free = of_paths([("f:a", "f:b")])
    assert typed.with_structures(FREE, free) == free  # keys of a map stand for themselves


@pytest.mark.parametrize(
    ("spec", "fault"),
    [
        (
            {"ports": [{"port": 80}, {"port": 80, "protocol": "TCP"}]},
            '.ports: duplicate entries for key [port=80,protocol="TCP"]',
        ),
        ({"ports": [1]}, ".ports: element 0: associative list with keys may not have non-map"),
    ],
)
def test_faults(spec: Any, fault: str) -> None:
    [found] = typed.faults(SERVICE_SPEC, spec)
    assert found.startswith(fault)
    assert not list(typed.faults(SERVICE_SPEC, {"ports": [{"port": 80}, {"port": 81}]}))


def test_items_without_any_key() -> None:
    [found] = typed.faults(POD_SPEC, {"containers": [{"image": "x"}]})
    assert 'omits all key fields ["name"]' in found


def test_custom_lists() -> None:
    item = {"type": "object", "properties": {"k": {"type": "string"}, "v": {"type": "integer"}}}
    keyed = {
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["k"],
        "items": item,
    }
    words = {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}}
    plain = {"type": "array", "items": item}
    schema = {"type": "object", "properties": {"keyed": keyed, "words": words, "plain": plain}}
    structure = Structure(published(), schema)
    live = {"keyed": [{"k": "a", "v": 1}], "words": ["a"], "plain": [{"k": "a"}]}
    config = {"keyed": [{"k": "b"}], "words": ["b"], "plain": [{"k": "b"}]}
    assert typed.merge(structure, live, config) == {
        "keyed": [{"k": "a", "v": 1}, {"k": "b"}],
        "words": ["a", "b"],
        "plain": [{"k": "b"}],
    }
