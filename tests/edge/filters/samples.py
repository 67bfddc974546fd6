"""Objects, and what is known of the world, for tests of filters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from loguru import logger

from actors.kube import builtin
from actors.kube.resource import Resource
from configs.schema import HubFilters
from edge.filters import Chain, Filters, HubAddress, KnownInputs

HUB = HubAddress("169.254.2.1", 10268)
RESOURCES = {each.plural: each for each in builtin.BUILTIN}
SERVICES = RESOURCES["services"]
ENDPOINTS = RESOURCES["endpoints"]
SLICES = RESOURCES["endpointslices"]
PODS = RESOURCES["pods"]
CONFIG_MAPS = RESOURCES["configmaps"]
NODES = RESOURCES["nodes"]

NODE, POOL, ZONE = "kubernetes.io/hostname", "openyurt.io/nodepool", "kubernetes.io/zone"
_POOL_LABEL, _ZONE_LABEL = "apps.openyurt.io/nodepool", "topology.kubernetes.io/zone"


def encode(item: Any) -> bytes:
    return msgspec.json.encode(item)


def decode(raw: bytes | None) -> Any:
    assert raw is not None
    return msgspec.json.decode(raw)


def service(
    name: str = "web", namespace: str = "shop", notes: Mapping[str, str] | None = None, **spec: Any
) -> dict[str, Any]:
    meta: dict[str, Any] = {"name": name, "namespace": namespace, "resourceVersion": "7"}
    if notes is not None:
        meta["annotations"] = dict(notes)
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}


def with_topology(value: str) -> bytes:
    return encode(service(notes={"openyurt.io/topologyKeys": value}))


def slice_of(
    *nodes: str | None, name: str = "web-x1", zones: Mapping[str, str] | None = None
) -> Any:
    """One endpoint a node; None: on no node."""
    meta = {"name": name, "namespace": "shop", "labels": {"kubernetes.io/service-name": "web"}}
    endpoints = [_endpoint(node, (zones or {}).get(node or "")) for node in nodes]
    head = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4"}
    return {**head, "metadata": meta, "endpoints": endpoints, "ports": [{"port": 80}]}


def _endpoint(node: str | None, zone: str | None) -> dict[str, Any]:
    endpoint: dict[str, Any] = {"addresses": [f"10.0.0.{len(node or '')}"]}
    hints = {"hints": {"forZones": [{"name": "z"}]}}
    return (
        endpoint | hints | ({"nodeName": node} if node else {}) | ({"zone": zone} if zone else {})
    )


def endpoints_of(*nodes: str | None, unready: tuple[str, ...] = ()) -> Any:
    subset: dict[str, Any] = {"ports": [{"port": 80}]}
    for name, where in (("addresses", nodes), ("notReadyAddresses", unready)):
        if where:
            subset[name] = [{"ip": "10.0.0.1", **({"nodeName": n} if n else {})} for n in where]
    meta = {"name": "web", "namespace": "shop"}
    return {"apiVersion": "v1", "kind": "Endpoints", "metadata": meta, "subsets": [subset]}


def nodes_of(item: Any) -> list[str | None]:
    """Of a slice or Endpoints."""
    if "subsets" in item or item["kind"] == "Endpoints":
        addresses = [
            address
            for subset in item.get("subsets", [])
            for name in ("addresses", "notReadyAddresses")
            for address in subset.get(name, [])
        ]
        return [address.get("nodeName") for address in addresses]
    return [endpoint.get("nodeName") for endpoint in item["endpoints"]]


def node(name: str, pool: str = "", zone: str = "", **labels: str) -> bytes:
    given = {_POOL_LABEL: pool, _ZONE_LABEL: zone, **labels}
    held = {key: value for key, value in given.items() if value}
    return encode({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": held}})


def inputs(pool: str = "a", topology: str | None = None) -> KnownInputs:
    """Of n1, which shares pool `a` with n2 by the site file; n3 and n4 are in pool b."""
    known = KnownInputs("n1", pool, ["n1", "n2"] if pool else [])
    known.node_is("n3", node("n3", "b"))
    known.node_is("n4", node("n4", "b"))
    known.set_hub(HUB)
    if topology is not None:
        known.service("shop/web", with_topology(topology))
    return known


def filters(known: KnownInputs | None = None, **settings: Any) -> Filters:
    return Filters(HubFilters.model_validate(settings), known or inputs(), logger)


def chain(
    component: str,
    resource: Resource,
    verb: str = "list",
    known: KnownInputs | None = None,
    **settings: Any,
) -> Chain:
    made = filters(known, **settings).chain_for(component, resource, verb)
    assert made is not None
    return made
