"""What kubelet sees of its pods.

`serviceenvupdater` (OpenYurt v1.6, #2165): containers that name the API server's address in their
environment get the hub's. As upstream only variables that are there, and not those of init
containers, which may run before the hub can be reached.

`hostnetworkpropagation` (v1.4 alone; a webhook in the cloud does it since): pods of a pool with the
label `nodepool.openyurt.io/hostnetwork: "true"` on its nodes use the host's network. It is for no
component unless the site file says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from edge.filters.inputs import Inputs
from edge.filters.steps import Depends, Object, part, with_spec


@dataclass(frozen=True)
class ServiceEnvUpdater:
    inputs: Inputs
    name: ClassVar[str] = "serviceenvupdater"
    depends: ClassVar[Depends] = Depends.HUB

    def wants(self, key: str, raw: bytes) -> bool:
        return b'"KUBERNETES_SERVICE_' in raw and self.inputs.hub is not None

    def show(self, key: str, item: Object) -> Object | None:
        hub = self.inputs.hub
        if hub is None:
            return item
        values = {"KUBERNETES_SERVICE_HOST": hub.host, "KUBERNETES_SERVICE_PORT": str(hub.port)}
        before = part(item, "spec").get("containers") or []
        containers = [_with_values(each, values) for each in before]
        return item if containers == before else with_spec(item, containers=containers)


@dataclass(frozen=True)
class HostNetworkPropagation:
    inputs: Inputs
    name: ClassVar[str] = "hostnetworkpropagation"
    depends: ClassVar[Depends] = Depends.SELF

    def wants(self, key: str, raw: bytes) -> bool:
        return self.inputs.host_network

    def show(self, key: str, item: Object) -> Object | None:
        if part(item, "spec").get("hostNetwork"):
            return item
        return with_spec(item, hostNetwork=True)


def _with_values(container: dict[str, Any], values: dict[str, str]) -> dict[str, Any]:
    env = container.get("env")
    if not env:
        return container
    changed = [
        {"name": each["name"], "value": values[each["name"]]} if each["name"] in values else each
        for each in env
    ]
    return {**container, "env": changed}
