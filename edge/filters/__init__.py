"""Filters: what components see otherwise than it is ("programmable access control").

Per client, on read: the caches hold what the API server said, and nothing is ever written to it.
`Filters.chain_for(component, resource, verb)` gives a `Chain`, which `DerivedCache` applies;
clients with equal chains share one. When settings change make new `Filters` and `retransform` with
the new chain; when an input changes `retransform` with the same one and the keys that `affected`
names: so watchers see ADDED, MODIFIED and DELETED as needed (#1995). `Following` keeps inputs in
step with caches.

Compatible with OpenYurt, in the newest form of each filter; defaults are in `table.py`:

    filter                  for                       sees
    servicetopology         kube-proxy, coredns,      endpoints of this node, pool or zone alone,
                            nginx-ingress-controller  where the Service says so
    masterservice           kubelet                   default/kubernetes at the hub's address
    forwardkubesvctraffic   kube-proxy                its endpoint likewise
    serviceenvupdater       kubelet                   pods' variables of its address likewise
    inclusterconfig         kubelet                   kube-proxy's configuration without kubeconfig
    discardcloudservice     kube-proxy                no load balancers of the cloud
    nodeportisolation       kube-proxy                no node ports of other pools
    hostnetworkpropagation  nobody, unless named      pods on the host's network

OpenYurt's image pre-pull (v1.7's `imagepull`) is a request to its hub, not a filter. Then come the
site file's `hub.filters.rules`, in their order, then its Python filters (`plugins.py`).

As OpenYurt since v1.3 any number of filters, in order, per component and resource (#1189). Unlike
it: no CRDs; an endpoint without nodeName is on no node instead of a crash; zone means zone; what
cannot be filtered is shown as it is, counted and logged, since components that miss objects do more
harm than those that see too much. Whoever reads past the hub, or under another component's name,
sees everything: filters are a view and no protection.

Start with `chain.py`; `steps.py` is what a filter is, `inputs.py` what it knows.
"""

from __future__ import annotations

from edge.filters.chain import Chain, Filters, chain_for
from edge.filters.following import Following
from edge.filters.inputs import ALL, Change, HubAddress, Inputs, KnownInputs, affected
from edge.filters.plugins import FilterContext
from edge.filters.steps import Depends, Troubles

__all__ = [
    "ALL",
    "Chain",
    "Change",
    "Depends",
    "FilterContext",
    "Filters",
    "Following",
    "HubAddress",
    "Inputs",
    "KnownInputs",
    "Troubles",
    "affected",
    "chain_for",
]
