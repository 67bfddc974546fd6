"""Sets of fields: their algebra, and that FieldsV1 holds them without loss."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.apiserver.apply import fieldsets
from cloud.apiserver.apply.fieldsets import difference, intersection, of_paths, paths, union

ELEMENTS = st.sampled_from(["f:a", "f:b", "f:", 'k:{"name":"x"}', 'k:{"p":80,"q":"TCP"}', "v:1"])
SETS = st.frozensets(st.lists(ELEMENTS, min_size=1, max_size=4).map(tuple), max_size=8)


def members(fields: fieldsets.Fields) -> frozenset[fieldsets.Path]:
    return frozenset(paths(fields))


@given(SETS)
def test_encoded_and_decoded(chosen: frozenset[Any]) -> None:
    fields = of_paths(chosen)
    assert members(fields) == chosen
    assert of_paths(paths(fields)) == fields  # one form only
    assert fieldsets.canonical(fields) == fields


@given(SETS, SETS)
def test_algebra(one: frozenset[Any], other: frozenset[Any]) -> None:
    a, b = of_paths(one), of_paths(other)
    assert union(a, b) == of_paths(one | other)
    assert difference(a, b) == of_paths(one - other)
    assert intersection(a, b) == of_paths(one & other)
    assert (a, b) == (of_paths(one), of_paths(other))  # nothing changed on the way


def test_what_others_write_in_another_order_is_the_same() -> None:
    raw: Any = {'k:{"protocol": "TCP", "port": 80}': {".": {}}}
    assert fieldsets.canonical(raw) == {'k:{"port":80,"protocol":"TCP"}': {}}


@pytest.mark.parametrize("raw", [[], {"a": {}}, {"k:x": {}}, {"k:1": {}}, {"f:a": 1}, {"i:x": {}}])
def test_what_is_no_set(raw: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - its texts are shown to nobody
        fieldsets.canonical(raw)


def test_shown() -> None:
    path = ("f:spec", "f:ports", 'k:{"port":80,"protocol":"TCP"}', "f:name")
    assert fieldsets.shown(path) == '.spec.ports[port=80,protocol="TCP"].name'
    finalizer = ("f:metadata", "f:finalizers", 'v:"a/b"')
    assert fieldsets.shown(finalizer) == '.metadata.finalizers[="a/b"]'
    assert fieldsets.shown(("f:x", "i:3")) == ".x[3]"
