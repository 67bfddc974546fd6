"""Who owns what after writes, by properties that hold for all objects, and by example."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.kube.schemas import REF, published
from cloud.apiserver.apply import ownership, typed
from cloud.apiserver.apply.fieldsets import paths, shown
from cloud.apiserver.apply.ownership import Application, Conflicts, Entries, Manager
from cloud.apiserver.apply.structure import Structure

Object = dict[str, Any]
PODS = Structure(published(), {"$ref": REF + "io.k8s.api.core.v1.Pod"})
FREE = Structure(published(), {})


def by(name: str, force: bool = False, structure: Structure = PODS) -> Application:
    return Application(structure, Manager(name, ownership.APPLY, "v1"), f"t-{name}", force)


def apply(
    name: str, live: Object, config: Object, entries: Entries, force: bool = False
) -> tuple[Object, Entries]:
    return ownership.applied(by(name, force), live, config, entries)


def update(name: str, old: Object, new: Object, entries: Entries, time: str = "t") -> Entries:
    who = Manager(name, ownership.UPDATE, "v1")
    return ownership.updated(PODS, entries, old, new, who, time)


def owned(entries: Entries, name: str) -> set[str]:
    return {shown(p) for e in entries if e["manager"] == name for p in paths(e["fieldsV1"])}


# -- configurations: labels, finalizers (a set), containers and env by name, a scalar --------------

NAMES = st.sampled_from("abcd")
VALUES = st.sampled_from("123")
ENV = st.dictionaries(NAMES, VALUES, max_size=3)
CONTAINERS = st.dictionaries(NAMES, st.tuples(VALUES, ENV), max_size=3)


def pod(labels: Object, finalizers: list[str], containers: Object, node: str | None) -> Object:
    def container(name: str, image: str, env: Object) -> Object:
        items = [{"name": key, "value": value} for key, value in env.items()]
        return {"name": name, "image": image} | ({"env": items} if items else {})

    metadata: Object = {"name": "p"}
    metadata |= {"labels": labels} if labels else {}
    metadata |= {"finalizers": finalizers} if finalizers else {}
    spec: Object = {"nodeName": node} if node else {}
    if containers:
        spec["containers"] = [container(name, *rest) for name, rest in containers.items()]
    return {"metadata": metadata} | ({"spec": spec} if spec else {})


CONFIGS = st.builds(
    pod,
    st.dictionaries(NAMES, VALUES, max_size=3),
    st.lists(NAMES, unique=True, max_size=3),
    CONTAINERS,
    st.none() | VALUES,
)
LIVE: Object = {"metadata": {"name": "p", "uid": "u"}}


@given(CONFIGS, CONFIGS)
def test_the_same_again_changes_nothing(before: Object, config: Object) -> None:
    live, entries = apply("other", LIVE, before, [])
    once, entries = apply("me", live, config, entries, force=True)
    twice, again = apply("me", once, config, entries)
    assert twice == once
    assert ownership.settled(again, entries) is entries


def renamed(config: Object) -> Object:
    """The same with other keys, so that it has no field in common with the original."""
    metadata, spec = config["metadata"], config.get("spec", {})
    labels = {f"{name}2": value for name, value in metadata.get("labels", {}).items()}
    containers: Object = {
        f"{each['name']}2": (each["image"], {}) for each in spec.get("containers", ())
    }
    return pod(labels, [f"{each}2" for each in metadata.get("finalizers", ())], containers, None)


@given(CONFIGS, CONFIGS)
def test_disjoint_appliers_keep_theirs(one: Object, two: Object) -> None:
    other = renamed(two)
    first, entries = apply("one", LIVE, one, [])
    alone = owned(entries, "one")
    both, entries = apply("two", first, other, entries)  # no conflict
    assert owned(entries, "one") == alone
    for config, name in ((one, "one"), (other, "two")):
        again, after = apply(name, both, config, entries)
        assert again == both, name
        assert ownership.settled(after, entries) is entries


@given(
    st.dictionaries(NAMES, VALUES),
    st.dictionaries(NAMES, VALUES),
    st.sets(NAMES),
)
def test_what_is_no_longer_applied_goes_unless_another_has_it(
    mine: Object, others: Object, kept: set[str]
) -> None:
    """Labels and containers alike."""
    theirs = {name: mine.get(name, value) for name, value in others.items()}  # agree where both

    def config(of: Object) -> Object:
        return pod(of, [], {name: (value, {}) for name, value in of.items()}, None)

    live, entries = apply("me", LIVE, config(mine), [])
    live, entries = apply("you", live, config(theirs), entries)
    rest = {name: value for name, value in mine.items() if name in kept}
    live, entries = apply("me", live, config(rest), entries)
    expected = set(rest) | set(theirs)
    assert set(live["metadata"].get("labels", {})) == expected
    assert {c["name"] for c in live.get("spec", {}).get("containers", ())} == expected
    live, entries = apply("you", live, {"metadata": {"name": "p"}}, entries)
    assert set(live["metadata"].get("labels", {})) == set(rest)
    assert owned(entries, "you") == set()


@given(CONFIGS, CONFIGS, CONFIGS)
def test_nobody_owns_what_is_not_there(one: Object, two: Object, three: Object) -> None:
    live, entries = apply("one", LIVE, one, [])
    live, entries = apply("two", live, two, entries, force=True)
    entries = update("three", live, three, entries)
    held, _ = typed.compare(PODS, {}, ownership.tracked(three))
    there = {shown(path) for path in paths(held)}
    for name in ("one", "two", "three"):
        assert owned(entries, name) <= there


# -- by example ------------------------------------------------------------------------------------


def test_conflicts_and_force() -> None:
    live, entries = apply("one", LIVE, pod({"a": "1", "b": "1"}, [], {}, None), [])
    with pytest.raises(Conflicts) as caught:
        apply("two", live, pod({"a": "2", "c": "2"}, [], {}, None), entries)
    error = ownership.conflict_error(caught.value.conflicts)
    assert error.message == (
        'Apply failed with 1 conflict: conflict with "one": .metadata.labels.a'
    )
    live, entries = apply("two", live, pod({"a": "2"}, [], {}, None), entries, force=True)
    assert live["metadata"]["labels"] == {"a": "2", "b": "1"}
    assert owned(entries, "one") == {".metadata.labels.b"}
    assert owned(entries, "two") == {".metadata.labels.a"}


def test_the_same_value_is_shared() -> None:
    config = pod({"a": "1"}, [], {}, None)
    live, entries = apply("one", LIVE, config, [])
    live, entries = apply("two", live, config, entries)
    assert owned(entries, "one") == owned(entries, "two") == {".metadata.labels.a"}


def test_updates_take_what_they_change() -> None:
    old = pod({"a": "1", "b": "1"}, [], {"c": ("1", {})}, None)
    live, entries = apply("one", LIVE, old, [])
    new = pod({"a": "2"}, [], {"c": ("1", {"E": "1"})}, None)
    entries = update("edit", live, new, entries)
    assert owned(entries, "edit") == {
        ".metadata.labels.a",
        '.spec.containers[name="c"].env',
        '.spec.containers[name="c"].env[name="E"]',
        '.spec.containers[name="c"].env[name="E"].name',
        '.spec.containers[name="c"].env[name="E"].value',
    }
    assert owned(entries, "one") == {
        '.spec.containers[name="c"]',
        '.spec.containers[name="c"].name',
        '.spec.containers[name="c"].image',
    }


def test_updates_of_untracked_objects_are_not_tracked() -> None:
    assert update("edit", LIVE, pod({"a": "1"}, [], {}, None), []) == []


def test_before_the_first_apply() -> None:
    live = LIVE | pod({"a": "1"}, [], {}, None)
    with pytest.raises(Conflicts) as caught:
        apply("one", live, pod({"a": "2"}, [], {}, None), [])
    assert 'conflict with "before-first-apply" using v1: .metadata.labels.a' in (
        ownership.conflict_error(caught.value.conflicts).message
    )
    live, entries = apply("one", live, pod({"b": "2"}, [], {}, None), [])
    assert owned(entries, ownership.BEFORE) == {".metadata.labels", ".metadata.labels.a"}


def test_many_updaters_share_an_entry() -> None:
    _, entries = apply("one", LIVE, pod({"z": "1"}, [], {}, None), [])
    labels = {"z": "1"}
    for number in range(15):
        more = labels | {f"l{number:02}": "1"}
        old, new = pod(labels, [], {}, None), pod(more, [], {}, None)
        entries = update(f"m{number:02}", old, new, entries, f"2020-01-01T00:00:{number:02}Z")
        labels = more
    updaters = [e["manager"] for e in entries if e["operation"] == "Update"]
    assert len(updaters) == ownership.MAX_UPDATERS
    assert owned(entries, ownership.ANCIENT) == {f".metadata.labels.l{n:02}" for n in range(6)}


@pytest.mark.parametrize("raw", [[], [{}]])
def test_reset(raw: Any) -> None:
    assert ownership.given(raw) == []


GOOD = {"manager": "m", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1"}


@pytest.mark.parametrize(
    "raw",
    [
        None,
        "text",
        [1],
        [GOOD | {"operation": "Take"}],
        [GOOD | {"fieldsType": ""}],
        [GOOD | {"fieldsV1": {"odd": {}}}],
    ],
)
def test_unreadable_entries_are_not_taken(raw: Any) -> None:
    assert ownership.given(raw) is None


def test_given_entries() -> None:
    entry: Object = GOOD | {"fieldsV1": {"f:data": {".": {}, "f:a": {}}}}
    assert ownership.given([entry]) == [entry]


def test_several_conflicts_are_told_by_owner() -> None:
    live, entries = apply("one", LIVE, pod({"a": "1", "b": "1"}, [], {}, None), [])
    entries = update("two", live, pod({"a": "1", "b": "1"}, [], {}, "2"), entries)
    live = live | pod({"a": "1", "b": "1"}, [], {}, "2")
    with pytest.raises(Conflicts) as caught:
        apply("three", live, pod({"a": "3", "b": "3"}, [], {}, "3"), entries)
    error = ownership.conflict_error(caught.value.conflicts)
    assert error.code == 409
    assert error.message == (
        'Apply failed with 3 conflicts: conflicts with "one":\n'
        "- .metadata.labels.a\n- .metadata.labels.b\n"
        'conflicts with "two" using v1:\n- .spec.nodeName'
    )
    assert {c["reason"] for c in (error.details or {})["causes"]} == {"FieldManagerConflict"}
