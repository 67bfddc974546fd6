"""Replay's decisions: what is sent, what is dropped, what is done already. And they add up."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from actors.kube import builtin
from actors.kube.patch import MERGE_PATCH, merge_patch
from actors.kube.resource import Resource
from actors.kube.strategic import strategic_merge
from edge.offline.entry import Entry, Kind, encoded, types_of
from edge.offline.plan import Action, Call, Step, adopted, plan, rebase, shown
from tests.edge.offline.worlds import (
    NODE,
    NOW,
    WIDGETS,
    condition,
    event,
    lease,
    mirror_pod,
    node,
    pod,
    widget,
)

Object = dict[str, Any]
B = builtin


def entry(
    resource: Resource, kind: Kind, base: Object | None, current: Object | None, **more: Any
) -> Entry:
    meta = (current or base or {})["metadata"]
    return Entry(
        id=1, resource=resource, namespace=meta.get("namespace", ""), name=meta["name"], kind=kind,
        base=None if base is None else encoded(base),
        current=None if current is None else encoded(current),
        identity="", component="kubelet", at=NOW, **more,
    )  # fmt: skip


def change(resource: Resource, base: Object, current: Object, **more: Any) -> Entry:
    return entry(resource, Kind.CHANGE, base, current, **more)


def served(server: Object, call: Call, resource: Resource) -> Object:
    """What an API server makes of a patch."""
    meta = server["metadata"]
    for name in ("uid", "resourceVersion"):
        assert call.body["metadata"].get(name, meta[name]) == meta[name]
    if call.content_type == MERGE_PATCH:
        new: Object = merge_patch(server, call.body)
    else:
        types = types_of(resource)
        new = strategic_merge(types.definitions, types.schema, server, call.body)
    if call.path.endswith("/status"):
        return server | {"status": new["status"]}
    assert "status" not in call.body or "status" not in resource.subresources
    version = {"resourceVersion": str(int(meta["resourceVersion"]) + 1)}
    return new | {"metadata": new["metadata"] | version}


def apply(action: Action, server: Object, resource: Resource) -> Object:
    for call in action.calls:
        server = served(server, call, resource)
    return server


CONDITIONS = st.dictionaries(st.sampled_from("ABC"), st.sampled_from(["True", "False"]), max_size=3)
SPECS = st.dictionaries(st.sampled_from("abc"), st.integers(0, 2), max_size=3)


def node_of(conditions: dict[str, str], labels: Object, version: int) -> Object:
    made = node(version=version, conditions=[condition(k, v) for k, v in conditions.items()])
    made["metadata"]["labels"] = {name: str(value) for name, value in labels.items()}
    return made


@given(*[CONDITIONS] * 3, *[SPECS] * 3)
def test_status_is_ours_the_rest_the_servers_and_disjoint_changes_are_both_kept(
    was: Any, ours: Any, theirs: Any, labels: Any, our_labels: Any, their_labels: Any
) -> None:
    base = node_of(was, labels, 10)
    written = change(B.NODES, base, node_of(ours, our_labels, 10), is_main=True)
    server = node_of(theirs, their_labels, 20)
    action = plan(written, server, NOW)
    assert action.step is (Step.SEND if action.calls else Step.DONE)
    result = apply(action, server, B.NODES)
    found = {c["type"]: c["status"] for c in result["status"].get("conditions", [])}
    for kind in "ABC":
        if was.get(kind) != ours.get(kind):
            assert found.get(kind) == ours.get(kind)
        else:
            assert found.get(kind) == theirs.get(kind)
    labels_now = result["metadata"].get("labels", {})
    for name in "abc":
        a, b, c = (each.get(name) for each in (labels, our_labels, their_labels))
        expected = b if c == a else c
        assert labels_now.get(name) == (None if expected is None else str(expected))
        is_conflict = a != b and a != c and b != c
        assert is_conflict == any(f"labels.{name}" in path for path in action.dropped)
    # A second time, after a death before the note of it: nothing more to do.
    again = plan(written, result, NOW)
    after = apply(again, result, B.NODES)
    assert after["status"] == result["status"]
    assert after["metadata"].get("labels", {}) == labels_now


@given(*[CONDITIONS] * 3, *[SPECS] * 3)
def test_what_is_shown_after_the_cloud_has_moved_is_what_replay_will_make(
    was: Any, ours: Any, theirs: Any, labels: Any, our_labels: Any, their_labels: Any
) -> None:
    written = change(B.NODES, node_of(was, labels, 10), node_of(ours, our_labels, 10), is_main=True)
    server = node_of(theirs, their_labels, 20)
    moved, visible = rebase(written, server)
    assert visible is not None
    made = apply(plan(written, server, NOW), server, B.NODES)
    assert visible["status"].get("conditions", []) == made["status"].get("conditions", [])
    assert visible["metadata"].get("labels", {}) == made["metadata"].get("labels", {})
    assert visible["metadata"]["resourceVersion"] == "20"
    later = apply(plan(moved, server, NOW), server, B.NODES)
    assert later["status"].get("conditions", []) == made["status"].get("conditions", [])
    assert later["metadata"].get("labels", {}) == made["metadata"].get("labels", {})
    assert set(plan(moved, server, NOW).dropped) == set(plan(written, server, NOW).dropped)


def test_status_only_goes_to_status_with_the_uid_and_no_version() -> None:
    new = node(conditions=[condition("Ready", "False"), condition("Disk", "False")])
    action = plan(change(B.NODES, node(), new), node(), NOW)
    assert action.calls == (
        Call(
            "PATCH", "/api/v1/nodes/n1/status", "application/strategic-merge-patch+json",
            {
                "metadata": {"uid": "uid-n1"},
                "status": {"conditions": [{"type": "Ready", "status": "False"}]},
            },
        ),
    )  # fmt: skip


def test_custom_resources_get_merge_patches() -> None:
    new = widget(seen=2)
    new["metadata"]["annotations"] = {"a": "b"}
    action = plan(change(WIDGETS, widget(seen=1), new, is_main=True), widget(seen=1), NOW)
    head = {"uid": "uid-w1", "resourceVersion": "10"}
    path = "/apis/demo.io/v1/namespaces/default/widgets/w1"
    assert action.calls == (
        Call("PATCH", path, MERGE_PATCH, {"metadata": {"annotations": {"a": "b"}} | head}),
        Call(
            "PATCH", f"{path}/status", MERGE_PATCH,
            {"metadata": {"uid": "uid-w1"}, "status": {"seen": 2}},
        ),
    )  # fmt: skip


def test_metadata_that_was_written_by_status_goes_there() -> None:
    """Who may only write /status is not made to write elsewhere."""
    new = node(phase="x")
    new["metadata"] = new["metadata"] | {"annotations": {"a": "b"}}
    (call,) = plan(change(B.NODES, node(), new), node(), NOW).calls
    assert call.path.endswith("/status")
    assert call.body["metadata"]["annotations"] == {"a": "b"}
    assert call.body["status"] == {"phase": "x"}


@pytest.mark.parametrize(
    ("server", "why"),
    [
        (None, "gone"),
        (pod() | {"metadata": pod()["metadata"] | {"uid": "another"}}, "replaced"),
    ],
)
def test_an_object_that_is_gone_or_another_is_reported(server: Any, why: str) -> None:
    action = plan(change(B.PODS, pod(), pod() | {"status": {}}), server, NOW)
    assert action.step is Step.DROP
    assert why in action.why


# -- creates and deletes --------------------------------------------------------------------------


def test_a_creation_leaves_out_what_the_server_sets() -> None:
    made = mirror_pod()
    made["metadata"] |= {"uid": "local", "resourceVersion": "1", "creationTimestamp": "x"}
    (call,) = plan(entry(B.PODS, Kind.CREATE, None, made), None, NOW).calls
    assert (call.method, call.path) == ("POST", "/api/v1/namespaces/default/pods")
    assert call.body == mirror_pod()


def with_uid(obj: Object, version: int = 30) -> Object:
    meta = obj["metadata"] | {"uid": "theirs", "resourceVersion": str(version)}
    return obj | {"metadata": meta}


@pytest.mark.parametrize(
    ("resource", "ours", "theirs", "step"),
    [
        (B.EVENTS, event(count=2), event(count=2), Step.DONE),
        (B.EVENTS, event(count=2), event(count=3), Step.DONE),
        (B.EVENTS, event(count=2), event(count=1), Step.SEND),
        (B.EVENTS, event(), event() | {"reason": "Killed"}, Step.DROP),
        (B.PODS, mirror_pod(), mirror_pod(), Step.DONE),
        (B.PODS, mirror_pod(), mirror_pod(mark="h2"), Step.DROP),
        (B.LEASES, lease(), lease(), Step.DONE),
        (B.LEASES, lease(), lease(at="2023-11-14T22:13:21Z"), Step.DONE),
        (B.LEASES, lease(), lease(at="2023-11-14T22:13:10Z"), Step.SEND),
        (B.LEASES, lease(), lease(holder="other"), Step.DROP),
        (B.NODES, node(), node() | {"spec": {}}, Step.DROP),
    ],
)
def test_what_exists_already(resource: Resource, ours: Any, theirs: Any, step: Step) -> None:
    made = entry(resource, Kind.CREATE, None, ours)
    action = plan(made, with_uid(theirs), NOW)
    assert action.step is step
    if step is Step.SEND:
        result = apply(action, with_uid(theirs), resource)
        for name in ("count", "spec"):
            assert result.get(name) == ours.get(name)


def test_the_status_of_what_was_created_follows() -> None:
    made = mirror_pod() | {"status": {"phase": "Running"}}
    answer = with_uid(mirror_pod() | {"status": {"phase": "Pending", "qosClass": "Best"}})
    left = adopted(entry(B.PODS, Kind.CREATE, None, made), answer)
    assert left is not None
    result = apply(plan(left, answer, NOW), answer, B.PODS)
    assert result["status"] == {"phase": "Running", "qosClass": "Best"}
    assert adopted(entry(B.PODS, Kind.CREATE, None, mirror_pod()), answer) is None
    bare = {name: value for name, value in mirror_pod().items() if name != "status"}
    assert adopted(entry(B.PODS, Kind.CREATE, None, bare), answer) is None


def test_deletes_name_the_uid() -> None:
    gone = entry(B.PODS, Kind.DELETE, pod(), None, options={"gracePeriodSeconds": 0})
    (call,) = plan(gone, pod(), NOW).calls
    assert call.method == "DELETE"
    assert call.body["preconditions"] == {"uid": "uid-p1"}
    assert call.body["gracePeriodSeconds"] == 0
    assert plan(gone, None, NOW).step is Step.DONE
    another = pod() | {"metadata": pod()["metadata"] | {"uid": "another"}}
    assert plan(gone, another, NOW).step is Step.DONE
    assert shown(gone, another) == another
    assert shown(gone, pod(version=11)) is None


def test_a_delete_of_what_was_created_here_asks_first() -> None:
    gone = entry(B.PODS, Kind.DELETE, mirror_pod(), None, is_local=True)
    assert plan(gone, mirror_pod(), NOW, is_asked=False).step is Step.ASK
    (call,) = plan(gone, with_uid(mirror_pod()), NOW).calls
    assert call.body["preconditions"] == {"uid": "theirs"}
    assert plan(gone, with_uid(mirror_pod(mark="h2")), NOW).step is Step.DONE
    assert plan(gone, None, NOW).step is Step.DONE


# -- leases and events ----------------------------------------------------------------------------


def renewed(at: str, holder: str = NODE) -> Entry:
    return change(B.LEASES, lease(version=5, at="2023-11-14T22:13:00Z"),
                  lease(version=5, at=at, holder=holder), is_main=True)  # fmt: skip


def test_only_the_newest_renewal_of_a_lease_that_holds_is_sent() -> None:
    held = lease(version=9, at="2023-11-14T22:13:05Z")
    action = plan(renewed("2023-11-14T22:13:19Z"), held, NOW)
    assert apply(action, held, B.LEASES)["spec"]["renewTime"] == "2023-11-14T22:13:19Z"
    newer = lease(version=9, at="2023-11-14T22:13:20Z")
    assert plan(renewed("2023-11-14T22:13:19Z"), newer, NOW).step is Step.DONE


def test_a_lease_that_has_run_out_costs_no_request() -> None:
    action = plan(renewed("2023-11-14T22:12:39Z"), lease(version=9), NOW)
    assert (action.step, action.why) == (Step.DONE, "the lease has run out")
    made = entry(B.LEASES, Kind.CREATE, None, lease(at="2023-11-14T22:12:39Z"))
    assert plan(made, None, NOW).step is Step.DONE


def test_a_lease_that_another_took_meanwhile_is_his() -> None:
    taken = lease(version=9, at="2023-11-14T22:13:10Z", holder="other")
    action = plan(renewed("2023-11-14T22:13:19Z"), taken, NOW)
    assert action.step is Step.DROP
    assert "'other'" in action.why


def test_an_event_that_has_run_out_there_is_created_anew() -> None:
    base = with_uid(event())
    (call,) = plan(change(B.EVENTS, base, base | {"count": 5}), None, NOW).calls
    assert call.method == "POST"
    assert call.body == event(count=5)


def test_dropped_paths_are_kept_for_the_report() -> None:
    ours = node()
    ours["metadata"] = ours["metadata"] | {"labels": {"zone": "b"}}
    written = change(B.NODES, node(), ours, is_main=True)
    server = node(version=11)
    server["metadata"]["labels"] = {"zone": "c"}
    moved, visible = rebase(written, server)
    assert visible == server
    assert moved.dropped == ("metadata.labels.zone",)
    action = plan(moved, server, NOW)
    assert (action.step, action.dropped) == (Step.DONE, ("metadata.labels.zone",))
    assert replace(moved, dropped=()) != moved
