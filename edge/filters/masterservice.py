"""Pods reach the API server through their node's hub, without knowing of it.

`masterservice` (OpenYurt v1.6's form, with clusterIPs: #2173) changes the address that kubelet puts
into pods' environment; `forwardkubesvctraffic` (v1.5, #1996) where kube-proxy sends what goes to
the Service's own address. Neither does anything where the hub has no HTTPS port.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, ClassVar

from edge.filters.inputs import HubAddress, Inputs
from edge.filters.steps import Depends, Object, part, with_spec

MASTER = "default/kubernetes"


@dataclass(frozen=True)
class MasterService:
    """The Service `default/kubernetes` has the hub's address and port."""

    inputs: Inputs
    name: ClassVar[str] = "masterservice"
    depends: ClassVar[Depends] = Depends.HUB

    def wants(self, key: str, raw: bytes) -> bool:
        return key == MASTER and self.inputs.hub is not None

    def show(self, key: str, item: Object) -> Object | None:
        hub = self.inputs.hub
        if hub is None:
            return item
        ports = _with_https(part(item, "spec").get("ports"), hub)
        return with_spec(item, clusterIP=hub.host, clusterIPs=[hub.host], ports=ports)


@dataclass(frozen=True)
class ForwardKubeSvcTraffic:
    """The endpoint of `default/kubernetes` is the hub, in the slice of its address family."""

    inputs: Inputs
    name: ClassVar[str] = "forwardkubesvctraffic"
    depends: ClassVar[Depends] = Depends.HUB

    def wants(self, key: str, raw: bytes) -> bool:
        return key == MASTER and self.inputs.hub is not None

    def show(self, key: str, item: Object) -> Object | None:
        hub = self.inputs.hub
        if hub is None or item.get("addressType") != f"IPv{ip_address(hub.host).version}":
            return item
        endpoint = {"addresses": [hub.host], "conditions": {"ready": True}}
        return {**item, "endpoints": [endpoint], "ports": _with_https(item.get("ports"), hub)}


def _with_https(ports: list[dict[str, Any]] | None, hub: HubAddress) -> list[dict[str, Any]]:
    return [
        {**port, "port": hub.port} if port.get("name") == "https" else port for port in ports or ()
    ]
