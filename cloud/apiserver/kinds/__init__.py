"""What the embedded API server knows of each built-in kind: defaults, validation, rules of update.

Pure: an object in, causes out. `kind.py` says what can differ; kinds not named here do not.
"""

from __future__ import annotations

from collections.abc import Mapping

from cloud.apiserver.kinds import core, definition, endpoints, pod, rbac, service
from cloud.apiserver.kinds.kind import Kind

KINDS: Mapping[str, Kind] = {
    "namespaces": core.NAMESPACE,
    "nodes": core.NODE,
    "pods": pod.KIND,
    "services": service.KIND,
    "endpoints": endpoints.ENDPOINTS,
    "configmaps": core.CONFIG_MAP,
    "secrets": core.SECRET,
    "events": core.EVENT,
    "endpointslices.discovery.k8s.io": endpoints.SLICE,
    "leases.coordination.k8s.io": core.LEASE,
    definition.CRDS: definition.KIND,
    "serviceaccounts": core.SERVICE_ACCOUNT,
    "csidrivers.storage.k8s.io": core.CSI,
    "csinodes.storage.k8s.io": core.CSI,
    "runtimeclasses.node.k8s.io": core.STRICT_UPDATE,
    "servicecidrs.networking.k8s.io": core.COUNTED,
    "deployments.apps": core.DEPLOYMENT,
    "replicasets.apps": core.REPLICATED,
    "statefulsets.apps": core.REPLICATED,
    "daemonsets.apps": core.DAEMON_SET,
    "jobs.batch": core.JOB,
    "roles.rbac.authorization.k8s.io": rbac.ROLE,
    "clusterroles.rbac.authorization.k8s.io": rbac.ROLE,
    "rolebindings.rbac.authorization.k8s.io": rbac.BINDING,
    "clusterrolebindings.rbac.authorization.k8s.io": rbac.BINDING,
}

PLAIN = Kind()
CUSTOM = Kind(generation=True, unconditional=False)


def kind_of(name: str) -> Kind:
    """By the resource's name without version, as in `status_errors.qualified`."""
    return KINDS.get(name, PLAIN)
