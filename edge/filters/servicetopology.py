"""Traffic stays on the node, in the pool or in the zone, where the Service's annotation says so.

OpenYurt's `servicetopology` of v1.5 to HEAD, free of its CRDs: which nodes are in a pool is read
from their labels and the site file. `openyurt.io/topologyKeys` is one of

* `kubernetes.io/hostname`: endpoints on this node;
* `openyurt.io/nodepool`: on nodes of this node's pool; as hostname for a node in no pool;
* `kubernetes.io/zone`: in this node's zone (`topology.kubernetes.io/zone`, of the endpoint or else
  of its node); as nodepool for a node in no zone, which is what OpenYurt makes of it for all.

Any other value, or none: untouched. An endpoint on no node is not near. One that lost all of its
endpoints is still shown, empty (#1028). Hints of Kubernetes' own `spec.trafficDistribution` stay as
they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import msgspec

from edge.filters.inputs import Inputs
from edge.filters.steps import Depends, Object, labels_of

NODE = "kubernetes.io/hostname"
POOL = "openyurt.io/nodepool"
ZONE = "kubernetes.io/zone"
_KNOWN = frozenset({NODE, POOL, ZONE})
_SERVICE_LABEL = "kubernetes.io/service-name"
_DEPENDS = Depends.SERVICES | Depends.NODES | Depends.SELF

_Endpoint = dict[str, Any]
_IsNear = Callable[[_Endpoint], bool]


class _Labels(msgspec.Struct):
    service: str = msgspec.field(name=_SERVICE_LABEL, default="")


class _Meta(msgspec.Struct):
    labels: _Labels | None = None


class _Slice(msgspec.Struct):
    metadata: _Meta


_PEEK = msgspec.json.Decoder(_Slice)


@dataclass(frozen=True)
class SliceTopology:
    """For EndpointSlices."""

    inputs: Inputs
    name: ClassVar[str] = "servicetopology"
    depends: ClassVar[Depends] = _DEPENDS

    def wants(self, key: str, raw: bytes) -> bool:
        topologies = self.inputs.topologies(key.rpartition("/")[0])
        if not topologies:
            return False
        try:
            named = _PEEK.decode(raw).metadata.labels
        except msgspec.DecodeError:
            return True  # whoever decodes it in full says what is wrong
        return named is not None and topologies.get(named.service, "") in _KNOWN

    def show(self, key: str, item: Object) -> Object | None:
        service = labels_of(item).get(_SERVICE_LABEL, "")
        is_near = _is_near(self.inputs, self.inputs.topologies(key.rpartition("/")[0]).get(service))
        endpoints = item.get("endpoints") or []
        near = [each for each in endpoints if is_near(each)]
        return item if len(near) == len(endpoints) else {**item, "endpoints": near}


@dataclass(frozen=True)
class EndpointsTopology:
    """For the older Endpoints."""

    inputs: Inputs
    name: ClassVar[str] = "servicetopology"
    depends: ClassVar[Depends] = _DEPENDS

    def wants(self, key: str, raw: bytes) -> bool:
        namespace, _, name = key.rpartition("/")
        return self.inputs.topologies(namespace).get(name) in _KNOWN

    def show(self, key: str, item: Object) -> Object | None:
        namespace, _, name = key.rpartition("/")
        is_near = _is_near(self.inputs, self.inputs.topologies(namespace).get(name))
        before = item.get("subsets") or []
        subsets = [_subset(each, is_near) for each in before]
        if subsets == before:
            return item
        kept = [each for each in subsets if each.get("addresses") or each.get("notReadyAddresses")]
        shown = {**item, "subsets": kept}
        if not kept:
            del shown["subsets"]  # as the API server writes an empty one
        return shown


def _subset(subset: dict[str, Any], is_near: _IsNear) -> dict[str, Any]:
    shown = dict(subset)
    for name in ("addresses", "notReadyAddresses"):
        if name in subset:
            shown[name] = [each for each in subset[name] or () if is_near(each)]
    return {name: value for name, value in shown.items() if value or not name.endswith("ddresses")}


def _is_near(inputs: Inputs, value: str | None) -> _IsNear:
    node = inputs.node
    if value == ZONE and (zone := inputs.zone_of(node)):
        return lambda each: (each.get("zone") or inputs.zone_of(each.get("nodeName") or "")) == zone
    if value in (ZONE, POOL) and (pool := inputs.pool_of(node)):
        return lambda each: inputs.pool_of(each.get("nodeName") or "") == pool
    if value in _KNOWN:
        return lambda each: each.get("nodeName") == node
    return lambda each: True
