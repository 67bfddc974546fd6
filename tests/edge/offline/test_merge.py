"""Differences and three-way merges: what is patched is what was meant, whoever else wrote."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from actors.kube import builtin
from actors.kube.schemas import published
from edge.offline.entry import metadata_types, types_of
from edge.offline.merge import Types, difference, patched, pruned, three_way, type_faults
from tests.edge.offline.worlds import WIDGETS, node, pod

NODE = types_of(builtin.NODES)
PLAIN = Types(published())
NAMES = st.sampled_from(["a", "b", "c", "d"])
VALUES = st.recursive(
    st.one_of(st.booleans(), st.integers(0, 3), st.sampled_from(["x", "y", ""])),
    lambda below: st.one_of(st.lists(below, max_size=3), st.dictionaries(NAMES, below, max_size=3)),
    max_leaves=8,
)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=4)


def keyed_list(kind: str, *fields: str) -> Any:
    item = st.fixed_dictionaries({name: st.sampled_from(["1", "2"]) for name in fields})
    items = st.dictionaries(st.sampled_from(["A", "B", "C", "D"]), item, max_size=4)
    orders = items.flatmap(lambda found: st.permutations(list(found.items())))
    return orders.map(lambda pairs: [{kind: name} | rest for name, rest in pairs])


STATUS = st.fixed_dictionaries(
    {},
    optional={
        "conditions": keyed_list("type", "status", "reason"),
        "addresses": keyed_list("type", "address"),
        "capacity": st.dictionaries(
            st.sampled_from(["cpu", "memory"]), st.sampled_from(["1", "2"])
        ),
        "images": st.lists(st.fixed_dictionaries({"sizeBytes": st.integers(0, 2)}), max_size=2),
        "phase": st.sampled_from(["x", "y"]),
    },
)
METADATA = st.fixed_dictionaries(
    {},
    optional={
        "labels": st.dictionaries(NAMES, st.sampled_from(["1", "2"])),
        "finalizers": st.lists(st.sampled_from(["f", "g", "h"]), unique=True, max_size=3),
    },
)


@given(OBJECTS, OBJECTS)
def test_a_merge_patch_makes_the_new_of_the_old(old: Any, new: Any) -> None:
    assert patched(PLAIN, old, difference(PLAIN, old, new)) == new


@given(STATUS, STATUS)
def test_a_strategic_patch_makes_the_new_of_the_old(old: Any, new: Any) -> None:
    types = NODE.member("status")
    assert filled(patched(types, old, difference(types, old, new))) == filled(new)


def filled(obj: Any) -> Any:
    """Without lists that are empty, which are as good as none."""
    return {name: value for name, value in obj.items() if value != []}


@given(METADATA, METADATA)
def test_a_patch_of_metadata_makes_the_new_of_the_old(old: Any, new: Any) -> None:
    types = metadata_types()
    assert filled(patched(types, old, difference(types, old, new))) == filled(new)


@given(STATUS, STATUS, STATUS)
def test_status_ours_is_the_newest_and_what_others_set_meanwhile_survives(
    base: Any, ours: Any, theirs: Any
) -> None:
    types = NODE.member("status")
    result = patched(types, theirs, difference(types, base, ours))
    for kind in "ABCD":
        for name in ("status", "reason"):
            was, mine, other, now = (
                _condition(each, kind).get(name) for each in (base, ours, theirs, result)
            )
            if mine is not None and was != mine:
                assert now == mine
            elif was == mine and _condition(ours, kind) and _condition(base, kind):
                assert now == other or other is None
    for kind in "ABCD":
        if not _condition(base, kind) and not _condition(ours, kind):
            assert _condition(result, kind) == _condition(theirs, kind)


def _condition(status: Any, kind: str) -> Any:
    return next((c for c in status.get("conditions", []) if c["type"] == kind), {})


@given(OBJECTS, OBJECTS, OBJECTS)
def test_spec_the_servers_state_wins(base: Any, ours: Any, theirs: Any) -> None:
    found = three_way(PLAIN, base, ours, theirs)
    for name in "abcd":
        was, mine, other, now = (each.get(name) for each in (base, ours, theirs, found.merged))
        if was == mine:
            assert now == other
        elif was == other:
            assert now == mine
            assert not [path for path in found.dropped if path.split(".")[0] == name]
        elif mine == other:
            assert now == mine
        elif not (isinstance(mine, dict) and isinstance(other, dict)):
            assert now == other
            assert name in found.dropped


@given(OBJECTS, OBJECTS)
def test_a_merge_with_nobody_is_ours_and_with_no_change_is_theirs(base: Any, other: Any) -> None:
    assert three_way(PLAIN, base, other, base).merged == other
    assert three_way(PLAIN, base, base, other).merged == other
    assert three_way(PLAIN, base, other, other).merged == other
    assert not three_way(PLAIN, base, other, other).dropped


@given(METADATA, METADATA, METADATA)
def test_finalizers_of_both_are_kept(base: Any, ours: Any, theirs: Any) -> None:
    found = three_way(metadata_types(), base, ours, theirs).merged.get("finalizers", [])
    was, mine, other = (set(each.get("finalizers", [])) for each in (base, ours, theirs))
    if all("finalizers" in each for each in (base, ours, theirs)):
        assert set(found) == (other - (was - mine)) | (mine - was)


def test_a_list_with_two_items_of_one_key_is_replaced_as_a_whole() -> None:
    """Nodes with two addresses of one type have made such patches fail for years."""
    types = NODE.member("status")
    old = {"addresses": [{"type": "InternalIP", "address": "1"}]}
    new = {"addresses": [{"type": "InternalIP", "address": a} for a in ("1", "2")]}
    assert patched(types, old, difference(types, old, new)) == new


def test_nulls_are_absence() -> None:
    assert pruned({"a": None, "b": [{"c": None}]}) == {"b": [{}]}


def test_types_are_checked_where_the_schema_is_known() -> None:
    assert not list(type_faults(NODE, node()))
    assert not list(type_faults(types_of(builtin.PODS), pod()))
    wrong = node() | {"status": {"conditions": "none"}}
    assert list(type_faults(NODE, wrong)) == [
        "cannot unmarshal str into field status.conditions of type array"
    ]
    assert not list(type_faults(types_of(WIDGETS), {"spec": 3}))
