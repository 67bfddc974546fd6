"""Replay to a real API server: nothing lost, nothing doubled, order kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from actors.kube import builtin
from edge.offline import REASON, Offline
from tests.edge.offline.worlds import (
    MERGE,
    NODE,
    NOW,
    WIDGETS,
    Clock,
    Http,
    Known,
    answered,
    api_server,
    condition,
    event,
    lease,
    mirror_pod,
    opened,
    patch_status,
    without_server_fields,
    write,
)

B = builtin
Object = dict[str, Any]
NODES = "/api/v1/nodes"
PODS = "/api/v1/namespaces/default/pods"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
CRD = {
    "kind": "CustomResourceDefinition",
    "apiVersion": "apiextensions.k8s.io/v1",
    "metadata": {"name": "widgets.demo.io"},
    "spec": {
        "group": "demo.io",
        "scope": "Namespaced",
        "names": {"plural": "widgets", "kind": "Widget"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            name: {
                                "type": "object",
                                "x-kubernetes-preserve-unknown-fields": True,
                            }
                            for name in ("spec", "status")
                        },
                    }
                },
            }
        ],
    },
}


async def make_node(upstream: Http, known: Known) -> Object:
    body = {"metadata": {"name": NODE, "labels": {"zone": "a"}}, "spec": {"podCIDR": "10.0.0.0/24"}}
    made = await upstream.send("POST", NODES, body)
    ready = {"status": {"conditions": [condition("Ready", "True"), condition("Disk", "False")]}}
    made = await upstream.send("PATCH", f"{NODES}/{NODE}/status", ready, MERGE)
    known.put(B.NODES, made)
    return made


async def made_pod(upstream: Http, known: Known, name: str = "p1") -> Object:
    body = mirror_pod(name)
    del body["metadata"]["annotations"], body["status"]
    made = await upstream.send("POST", PODS, body)
    known.put(B.PODS, made)
    return made


async def drained(offline: Offline, upstream: Http) -> None:
    result = await offline.replay(upstream)
    assert (result.left, result.is_cut) == (0, False), result


async def test_answers_have_the_shape_of_the_api_servers(tmp_path: Path) -> None:
    clock, known = Clock(), Known()
    async with api_server(clock) as upstream, opened(tmp_path / "q.db", known) as offline:
        await make_node(upstream, known)
        patch = {"conditions": [condition("Ready", "False", 9)], "phase": "Running"}
        here = await patch_status(offline, B.NODES, NODE, patch)
        there = await upstream.send(
            "PATCH", f"{NODES}/{NODE}/status", {"status": patch},
            "application/strategic-merge-patch+json",
        )  # fmt: skip
        assert without_server_fields(here) == without_server_fields(there)
        made = await write(offline, "create", B.EVENTS, "", event())
        theirs = await upstream.send("POST", "/api/v1/namespaces/default/events", event())
        mine = without_server_fields(answered(made))
        assert mine.items() <= without_server_fields(theirs).items()


async def test_2137_status_of_the_cut_arrives_and_others_conditions_survive(
    tmp_path: Path,
) -> None:
    known = Known()
    async with api_server() as upstream, opened(tmp_path / "q.db", known) as offline:
        await make_node(upstream, known)
        status = {"conditions": [condition("Ready", "False", 1), condition("Mine", "True")]}
        await patch_status(offline, B.NODES, NODE, status)
        await patch_status(offline, B.NODES, NODE, {"conditions": [condition("Ready", "True", 7)]})
        # Meanwhile in the cloud:
        theirs = {"status": {"conditions": [condition("Network", "False")]}}
        strategic = "application/strategic-merge-patch+json"
        await upstream.send("PATCH", f"{NODES}/{NODE}/status", theirs, strategic)
        await upstream.send("PATCH", f"{NODES}/{NODE}", {"spec": {"unschedulable": True}}, MERGE)
        await drained(offline, upstream)
        held = await upstream.get(B.NODES, NODE)
        assert held is not None
        found = {c["type"]: (c["status"], c["lastHeartbeatTime"][-3:-1])
                 for c in held["status"]["conditions"]}  # fmt: skip
        assert found == {
            "Ready": ("True", "07"), "Disk": ("False", "00"),
            "Mine": ("True", "00"), "Network": ("False", "00"),
        }  # fmt: skip
        assert held["spec"]["unschedulable"]
        assert known.read(B.NODES, NODE)["status"] == held["status"]
        assert len([m for m, _ in upstream.asked if m == "PATCH"]) == 1


async def test_the_servers_spec_wins_and_what_is_dropped_is_told_there(tmp_path: Path) -> None:
    known = Known()
    async with api_server() as upstream, opened(tmp_path / "q.db", known) as offline:
        await make_node(upstream, known)
        labels = {"metadata": {"labels": {"zone": "b", "mine": "1"}}}
        await write(offline, "patch", B.NODES, NODE, labels)
        theirs = {"metadata": {"labels": {"zone": "c", "their": "2"}}}
        await upstream.send("PATCH", f"{NODES}/{NODE}", theirs, MERGE)
        await drained(offline, upstream)
        held = await upstream.get(B.NODES, NODE)
        assert held is not None
        assert held["metadata"]["labels"] == {"zone": "c", "their": "2", "mine": "1"}
        (told,) = await upstream.list(B.EVENTS)
        assert told["reason"] == REASON
        assert "metadata.labels.zone" in told["message"]
        assert told["involvedObject"]["name"] == NODE


async def test_a_custom_resource_by_an_operator(tmp_path: Path) -> None:
    known = Known()
    async with api_server() as upstream, opened(tmp_path / "q.db", known) as offline:
        await upstream.send("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", CRD)
        widgets = "/apis/demo.io/v1/namespaces/default/widgets"
        body = {
            "kind": "Widget", "apiVersion": "demo.io/v1", "metadata": {"name": "w1"},
            "spec": {"size": 1},
        }  # fmt: skip
        known.put(WIDGETS, await upstream.send("POST", widgets, body))
        notes = {"metadata": {"annotations": {"kopf": "1"}, "finalizers": ["kopf.dev/f"]}}
        await write(offline, "patch", WIDGETS, "w1", notes, content_type=MERGE, component="kopf")
        await patch_status(offline, WIDGETS, "w1", {"done": 1}, component="kopf")
        await upstream.send("PATCH", f"{widgets}/w1", {"spec": {"size": 2}}, MERGE)
        await drained(offline, upstream)
        held = await upstream.get(WIDGETS, "w1")
        assert held is not None
        assert held["spec"] == {"size": 2}
        assert held["status"] == {"done": 1}
        assert held["metadata"]["finalizers"] == ["kopf.dev/f"]
        assert held["metadata"]["annotations"] == {"kopf": "1"}
        assert offline.reports() == []


async def test_events_arrive_once_and_in_order(tmp_path: Path) -> None:
    known = Known()
    async with api_server() as upstream:
        async with opened(tmp_path / "q.db", known) as offline:
            for number in range(20):
                await write(offline, "create", B.EVENTS, "", event(f"e{number:02}", 1))
            for number in range(0, 20, 2):
                await write(offline, "patch", B.EVENTS, f"e{number:02}", {"count": 9})
            upstream.cut_after = 7  # done there, but not heard of here
            result = await offline.replay(upstream)
            assert (result.sent, result.left, result.is_cut) == (6, 14, True)
        async with opened(tmp_path / "q.db", known) as offline:
            await drained(offline, upstream)
            assert offline.reports() == []
        events = await upstream.list(B.EVENTS)
        events.sort(key=lambda each: int(each["metadata"]["resourceVersion"]))
        assert [e["metadata"]["name"] for e in events] == [f"e{n:02}" for n in range(20)]
        assert [e["count"] for e in events] == [9, 1] * 10


async def test_a_flapping_link_loses_and_doubles_nothing(tmp_path: Path) -> None:
    known = Known()
    async with api_server() as upstream, opened(tmp_path / "q.db", known) as offline:
        await make_node(upstream, known)
        for number in range(12):
            await patch_status(offline, B.NODES, NODE, {"phase": str(number)})
            await write(offline, "create", B.EVENTS, "", event(f"e{number:02}", number + 1))
            upstream.cut_after = 1 + number % 3
            await offline.replay(upstream)
        upstream.cut_after = -1
        await drained(offline, upstream)
        held = await upstream.get(B.NODES, NODE)
        assert held is not None
        assert held["status"]["phase"] == "11"
        events = await upstream.list(B.EVENTS)
        assert sorted(e["count"] for e in events) == list(range(1, 13))
        assert offline.reports() == []


async def test_593_pods_of_the_kubelet_are_deleted_after_the_cut(tmp_path: Path) -> None:
    known = Known()
    async with api_server() as upstream, opened(tmp_path / "q.db", known) as offline:
        await made_pod(upstream, known)
        await made_pod(upstream, known, "replaced")
        for name in ("p1", "replaced"):
            await patch_status(offline, B.PODS, name, {"phase": "Succeeded"})
            await write(offline, "delete", B.PODS, name, {"gracePeriodSeconds": 0})
        await upstream.send("DELETE", f"{PODS}/replaced", {"gracePeriodSeconds": 0})
        await made_pod(upstream, Known(), "replaced")
        await drained(offline, upstream)
        assert await upstream.get(B.PODS, "p1") is None
        held = await upstream.get(B.PODS, "replaced")
        assert held is not None  # another one, which nobody here meant
        assert held["status"].get("phase") != "Succeeded"
        assert [report.why for report in offline.reports()] == [
            "the object was replaced by another one of its name"
        ]


async def test_static_pods_appear_with_their_status(tmp_path: Path) -> None:
    known = Known()
    async with api_server() as upstream, opened(tmp_path / "q.db", known) as offline:
        await write(offline, "create", B.PODS, "", mirror_pod())
        await patch_status(offline, B.PODS, "static", {"phase": "Running"})
        await drained(offline, upstream)
        held = await upstream.get(B.PODS, "static")
        assert held is not None
        assert held["status"]["phase"] == "Running"
        assert known.read(B.PODS, "default/static")["metadata"]["uid"] == held["metadata"]["uid"]


async def test_a_lease_is_renewed_once(tmp_path: Path) -> None:
    clock, known = Clock(), Known()
    async with (
        api_server(clock) as upstream,
        opened(tmp_path / "q.db", known, clock=clock) as offline,
    ):
        known.put(B.LEASES, await upstream.send("POST", LEASES, lease()))
        for second in range(21, 26):
            held = known.read(B.LEASES, f"default/{NODE}")
            held["spec"]["renewTime"] = f"2023-11-14T22:13:{second}.000000Z"
            await write(offline, "update", B.LEASES, NODE, held)
        clock.now = NOW + 6
        await drained(offline, upstream)
        found = await upstream.get(B.LEASES, NODE)
        assert found is not None
        assert found["spec"]["renewTime"] == "2023-11-14T22:13:25.000000Z"
        assert [m for m, _ in upstream.asked] == ["PATCH"]


async def test_a_node_registers_offline(tmp_path: Path) -> None:
    known = Known()
    async with api_server() as upstream, opened(tmp_path / "q.db", known) as offline:
        body = {"kind": "Node", "apiVersion": "v1", "metadata": {"name": NODE}}
        await write(offline, "create", B.NODES, "", body)
        await patch_status(offline, B.NODES, NODE, {"conditions": [condition("Ready", "True")]})
        await drained(offline, upstream)
        held = await upstream.get(B.NODES, NODE)
        assert held is not None
        assert held["status"]["conditions"] == [condition("Ready", "True")]
