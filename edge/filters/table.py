"""Which filter is for whom, by default as OpenYurt's (HEAD, edge mode), and in which order."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from actors.kube.resource import Resource
from configs.schema import FilterName, HubFilters
from edge.filters.discardcloudservice import DiscardCloudService
from edge.filters.inclusterconfig import InClusterConfig
from edge.filters.inputs import Inputs
from edge.filters.masterservice import ForwardKubeSvcTraffic, MasterService
from edge.filters.nodeportisolation import NodePortIsolation
from edge.filters.pods import HostNetworkPropagation, ServiceEnvUpdater
from edge.filters.servicetopology import EndpointsTopology, SliceTopology
from edge.filters.steps import Step

SERVICES = "services.v1"
ENDPOINTS = "endpoints.v1"
SLICES = "endpointslices.v1.discovery.k8s.io"
CONFIG_MAPS = "configmaps.v1"
PODS = "pods.v1"

_LISTED = frozenset({"list", "watch"})
_READ = _LISTED | {"get"}
_TOPOLOGY = ("kube-proxy", "coredns", "nginx-ingress-controller")


@dataclass(frozen=True)
class Row:
    """One filter for one resource."""

    name: FilterName
    components: tuple[str, ...]
    resource: str  # Resource.name
    verbs: frozenset[str]
    make: Callable[[Inputs], Step]

    def concerns(self, component: str, resource: Resource, verb: str, settings: HubFilters) -> bool:
        if resource.name != self.resource or verb not in self.verbs:
            return False
        if self.name in settings.disabled or "*" in settings.disabled:
            return False
        extra = settings.components.get(self.name, ())
        return _is_for(component, self.components, extra)


TABLE = (
    Row("servicetopology", _TOPOLOGY, ENDPOINTS, _LISTED, EndpointsTopology),
    Row("servicetopology", _TOPOLOGY, SLICES, _LISTED, SliceTopology),
    Row("masterservice", ("kubelet",), SERVICES, _LISTED, MasterService),
    Row("discardcloudservice", ("kube-proxy",), SERVICES, _LISTED, lambda _: DiscardCloudService()),
    Row("inclusterconfig", ("kubelet",), CONFIG_MAPS, _READ, lambda _: InClusterConfig()),
    Row("nodeportisolation", ("kube-proxy",), SERVICES, _LISTED, NodePortIsolation),
    Row("hostnetworkpropagation", (), PODS, _LISTED, HostNetworkPropagation),
    Row("forwardkubesvctraffic", ("kube-proxy",), SLICES, _LISTED, ForwardKubeSvcTraffic),
    Row("serviceenvupdater", ("kubelet",), PODS, _READ | {"patch"}, ServiceEnvUpdater),
)


def names_of(resource: Resource) -> Collection[str]:
    """As one may write it in a site file."""
    if not resource.group:
        return (resource.plural, resource.name)
    return (resource.plural, f"{resource.plural}.{resource.group}", resource.name)


def _is_for(component: str, own: Collection[str], extra: Collection[str]) -> bool:
    if not component or f"-{component}" in extra:
        return False
    return component in own or component in extra or "*" in extra
