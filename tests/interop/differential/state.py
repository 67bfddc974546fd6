"""What is there before the first step: the namespace that is only read, and a kind without feed."""

from __future__ import annotations

import copy

from tests.interop.differential.steps import SHARED, Json
from tests.interop.samples import WIDGETS, config_map, endpoint_slice, namespace, service, widget
from tests.interop.target import Api, version_of

GROUP = "differ.atoll.example"
GIZMOS: Json = copy.deepcopy(WIDGETS)
"""As widgets, with a status of its own; hubs have no feed of them."""
GIZMOS["metadata"]["name"] = f"gizmos.{GROUP}"
GIZMOS["spec"]["group"] = GROUP
GIZMOS["spec"]["names"] = {"plural": "gizmos", "singular": "gizmo", "kind": "Gizmo"}
GIZMOS["spec"]["versions"][0]["subresources"] = {"status": {}}

NAMES = ("a", "b", "c", "d", "e")
PATHS = {
    "services": "/api/v1/namespaces/{}/services",
    "configmaps": "/api/v1/namespaces/{}/configmaps",
    "secrets": "/api/v1/namespaces/{}/secrets",
    "pods": "/api/v1/namespaces/{}/pods",
    "endpointslices": "/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices",
    "widgets": "/apis/interop.atoll.example/v1/namespaces/{}/widgets",
    "gizmos": f"/apis/{GROUP}/v1/namespaces/{{}}/gizmos",
    "leases": "/apis/coordination.k8s.io/v1/namespaces/{}/leases",
    "events": "/api/v1/namespaces/{}/events",
}


def secret(name: str, **labels: str) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "labels": labels},
        "data": {"key": "dmFsdWU="},
    }


def gizmo(name: str, size: int = 1, **labels: str) -> Json:
    return widget(name, size, **labels) | {"apiVersion": f"{GROUP}/v1", "kind": "Gizmo"}


def pod(name: str, **labels: str) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels},
        "spec": {"nodeName": "node-1", "containers": [{"name": "it", "image": "it:1"}]},
    }


def lease(name: str, **labels: str) -> Json:
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name, "labels": labels},
        "spec": {"holderIdentity": name, "leaseDurationSeconds": 40},
    }


MAKERS = {
    "services": service,
    "configmaps": lambda name, **labels: config_map(name, None, **labels),
    "secrets": secret,
    "pods": pod,
    "endpointslices": lambda name, **labels: endpoint_slice(name, **labels),
    "widgets": lambda name, **labels: widget(name, **labels),
    "gizmos": gizmo,
    "leases": lease,
}


async def prepare(api: Api, hub: Api) -> None:
    """Once for each API server; returns when the hub has it all."""
    await _post(api, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", GIZMOS)
    await _post(api, "/api/v1/namespaces", namespace(SHARED))
    for plural, make in MAKERS.items():
        path = PATHS[plural].format(SHARED)
        for index, name in enumerate(NAMES):
            body = make(name, tier="web" if index % 2 else "db", n=str(index))
            made = await _post(api, path, body)
        await hub.sees(path, version_of(made))


async def _post(api: Api, path: str, body: Json) -> Json:
    answer = await api.ask(path, "POST", body)
    assert answer.status == 201, answer.raw
    return answer.json
