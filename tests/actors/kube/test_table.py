"""Rows as `kubectl get` shows them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from actors.kube import builtin
from actors.kube.printers import PRINTERS
from actors.kube.resource import Column, Resource
from actors.kube.table import head, layout_of, row
from tests.actors.kube.objects import WIDGETS, make

NOW = 1767323045.0 + 3600  # an hour after `make` says objects were created


def cells(resource: Resource, key: str = "ns/x", **members: Any) -> list[Any]:
    raw = msgspec.json.encode(make(resource, key, 1, **members))
    found: list[Any] = msgspec.json.decode(row(layout_of(resource), raw, NOW))["cells"]
    assert len(found) == len(layout_of(resource).columns)
    return found


@pytest.mark.parametrize("resource", builtin.BUILTIN, ids=lambda r: r.name)
def test_every_builtin_prints_a_bare_object(resource: Resource) -> None:
    assert "x" in cells(resource)


def test_printers_are_of_resources_that_exist() -> None:
    known = {(r.group, r.plural) for r in builtin.BUILTIN}
    assert set(PRINTERS) <= known


def test_namespace() -> None:
    assert cells(builtin.NAMESPACES, "x", status={"phase": "Active"}) == ["x", "Active", "60m"]


def test_node() -> None:
    found = cells(
        builtin.NODES,
        "x",
        labels={"node-role.kubernetes.io/control-plane": "", "kubernetes.io/role": "edge"},
        spec={"unschedulable": True},
        status={
            "conditions": [{"type": "Ready", "status": "True"}],
            "addresses": [
                {"type": "Hostname", "address": "x"},
                {"type": "InternalIP", "address": "10.0.0.1"},
                {"type": "InternalIP", "address": "fd00::1"},
            ],
            "nodeInfo": {"kubeletVersion": "v1.36.2", "osImage": "Debian"},
        },
    )
    assert found[:5] == ["x", "Ready,SchedulingDisabled", "control-plane,edge", "60m", "v1.36.2"]
    assert found[5:] == ["10.0.0.1", "<none>", "Debian", "<unknown>", "<unknown>"]


def test_node_that_is_not_ready() -> None:
    conditions = [{"type": "Ready", "status": "Unknown"}]
    assert cells(builtin.NODES, "x", status={"conditions": conditions})[1] == "NotReady"
    assert cells(builtin.NODES, "x")[1] == "Unknown"


@pytest.mark.parametrize(
    ("spec", "status", "expected"),
    [
        (
            {"type": "ClusterIP", "clusterIP": "10.0.0.1", "ports": [{"port": 80}]},
            {},
            ["ClusterIP", "10.0.0.1", "<none>", "80/TCP"],
        ),
        (
            {
                "type": "NodePort",
                "clusterIP": "10.0.0.1",
                "ports": [{"port": 53, "nodePort": 30053, "protocol": "UDP"}, {"port": 80}],
            },
            {},
            ["NodePort", "10.0.0.1", "<none>", "53:30053/UDP,80/TCP"],
        ),
        (
            {"type": "LoadBalancer", "clusterIP": "10.0.0.1"},
            {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}, {"hostname": "lb"}]}},
            ["LoadBalancer", "10.0.0.1", "1.2.3.4,lb", "<none>"],
        ),
        (
            {"type": "LoadBalancer", "clusterIP": "10.0.0.1"},
            {},
            ["LoadBalancer", "10.0.0.1", "<pending>", "<none>"],
        ),
        (
            {"type": "ExternalName", "externalName": "db.example.com"},
            {},
            ["ExternalName", "<none>", "db.example.com", "<none>"],
        ),
    ],
)
def test_service(spec: dict[str, Any], status: dict[str, Any], expected: list[str]) -> None:
    assert cells(builtin.SERVICES, spec=spec, status=status)[1:5] == expected


def test_service_selector() -> None:
    assert cells(builtin.SERVICES, spec={"selector": {"b": "2", "a": "1"}})[-1] == "a=1,b=2"


def test_endpoint_slice() -> None:
    found = cells(
        builtin.ENDPOINT_SLICES,
        addressType="IPv4",
        ports=[{"port": 80}, {"name": "any"}],
        endpoints=[{"addresses": [f"10.0.0.{n}"]} for n in range(5)],
    )
    addresses = "10.0.0.0,10.0.0.1,10.0.0.2 + 2 more..."
    assert found == ["x", "IPv4", "80,*", addresses, "60m"]
    assert cells(builtin.ENDPOINT_SLICES, addressType="IPv6")[1:4] == ["IPv6", "<unset>", "<unset>"]


def test_endpoints() -> None:
    subset = {"addresses": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}], "ports": [{"port": 80}]}
    assert cells(builtin.ENDPOINTS, subsets=[subset])[1] == "10.0.0.1:80,[fd00::1]:80"
    assert cells(builtin.ENDPOINTS)[1] == "<none>"


def test_config_map_secret_lease() -> None:
    assert cells(builtin.CONFIGMAPS, data={"a": ""}, binaryData={"b": ""})[1] == 2
    assert cells(builtin.SECRETS, type="Opaque", data={"a": ""})[1:3] == ["Opaque", 1]
    assert cells(builtin.LEASES, spec={"holderIdentity": "me"}) == ["x", "me", "60m"]


def test_event() -> None:
    found = cells(
        builtin.EVENTS,
        type="Warning",
        reason="BackOff",
        involvedObject={"kind": "Pod", "name": "p", "fieldPath": "spec.containers{c}"},
        source={"component": "kubelet", "host": "n1"},
        message="again\n",
        firstTimestamp="2026-01-02T03:04:05Z",
        lastTimestamp="2026-01-02T04:03:05Z",
        count=7,
    )
    assert found[:4] == ["60s", "Warning", "BackOff", "pod/p"]
    assert found[4:] == ["spec.containers{c}", "kubelet, n1", "again", "60m", 7, "x"]


# -- pods -----------------------------------------------------------------------------------------


def container(**state: Any) -> dict[str, Any]:
    return {"name": "c", "ready": "running" in state, "restartCount": 0, "state": state}


def pod(*statuses: dict[str, Any], **members: Any) -> list[Any]:
    status = {"phase": "Running", "containerStatuses": list(statuses)} | members.pop("status", {})
    spec = {"containers": [{"name": "c"}] * len(statuses)} | members.pop("spec", {})
    return cells(builtin.PODS, spec=spec, status=status, **members)


def test_running_pod() -> None:
    found = pod(container(running={}), status={"podIP": "10.0.0.9"}, spec={"nodeName": "n1"})
    assert found == ["x", "1/1", "Running", "0", "60m", "10.0.0.9", "n1", "<none>", "<none>"]


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({"waiting": {"reason": "CrashLoopBackOff"}}, "CrashLoopBackOff"),
        ({"terminated": {"reason": "Completed", "exitCode": 0}}, "Completed"),
        ({"terminated": {"exitCode": 3}}, "ExitCode:3"),
        ({"terminated": {"exitCode": 137, "signal": 9}}, "Signal:9"),
    ],
)
def test_pod_that_does_not_run(state: dict[str, Any], reason: str) -> None:
    assert pod(container(**state))[1:3] == ["0/1", reason]


def test_pod_initialising() -> None:
    spec = {"containers": [{"name": "c"}], "initContainers": [{"name": "a"}, {"name": "b"}]}
    done = {"name": "a", "state": {"terminated": {"exitCode": 0}}}

    def reason(second: dict[str, Any]) -> str:
        statuses = [done, {"name": "b", "state": second}]
        found = pod(spec=spec, status={"phase": "Pending", "initContainerStatuses": statuses})
        return str(found[2])

    assert reason({"running": {}}) == "Init:1/2"
    assert reason({"waiting": {"reason": "ImagePullBackOff"}}) == "Init:ImagePullBackOff"
    assert reason({"terminated": {"exitCode": 2}}) == "Init:ExitCode:2"


def test_terminating_and_restarted_pod() -> None:
    raw = make(builtin.PODS, "ns/x", 1, status={"phase": "Running"})
    raw["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:05Z"
    assert layout_of(builtin.PODS).cells(raw, NOW)[2] == "Terminating"
    ended = {"terminated": {"finishedAt": "2026-01-02T04:03:05Z"}}
    restarted = container(running={}) | {"restartCount": 4, "lastState": ended}
    assert pod(restarted)[3] == "4 (60s ago)"


# -- custom resources -----------------------------------------------------------------------------


def test_custom_columns() -> None:
    resource = msgspec.structs.replace(
        WIDGETS,
        columns=(
            Column(name="N", type="integer", path=".spec.n"),
            Column(name="On", type="boolean", path=".spec.on"),
            Column(name="Hosts", path=".spec.hosts[*]"),
            Column(name="Map", path=".spec.map"),
            Column(name="Wrong", type="integer", path=".spec.on.x"),
            Column(name="Odd", path="..bad["),
            Column(name="Age", type="date", path=".metadata.creationTimestamp"),
        ),
    )
    spec = {"n": 3, "on": False, "hosts": ["a", "b"], "map": {"k": 1}}
    assert cells(resource, spec=spec) == ["x", 3, False, "a b", '{"k":1}', None, None, "60m"]


def test_head_closes_to_json() -> None:
    table = msgspec.json.decode(head(layout_of(WIDGETS), "v1", {"resourceVersion": "1"}) + b"]}")
    assert table["columnDefinitions"][1]["name"] == "Color"
    assert table["rows"] == []
