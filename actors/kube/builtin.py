"""The built-in resources that an edge node's components, kubectl and the demo touch.

Names, short names, categories and selectable fields as kube-apiserver has them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from actors.kube.resource import Resource

_POD_FIELDS = (
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "spec.hostNetwork",
    "status.phase",
    "status.podIP",
    "status.podIPs",
    "status.nominatedNodeName",
)
_EVENT_FIELDS = (
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
)
_NEW_EVENT_FIELDS = (
    "regarding.kind",
    "regarding.namespace",
    "regarding.name",
    "regarding.uid",
    "regarding.apiVersion",
    "regarding.resourceVersion",
    "regarding.fieldPath",
    "reason",
    "reportingController",
    "type",
)


def _core(plural: str, kind: str, namespaced: bool = True, **rest: Any) -> Resource:
    return Resource(group="", version="v1", plural=plural, kind=kind, namespaced=namespaced, **rest)


def _in(group: str, plural: str, kind: str, namespaced: bool = True, **rest: Any) -> Resource:
    return Resource(
        group=group, version="v1", plural=plural, kind=kind, namespaced=namespaced, **rest
    )


RBAC = "rbac.authorization.k8s.io"
AUTHENTICATION = "authentication.k8s.io"
AUTHORIZATION = "authorization.k8s.io"

_ALL = ("all",)
_STATUS = ("status",)
_SCALED = ("scale", "status")

NAMESPACES = _core(
    "namespaces",
    "Namespace",
    False,
    short_names=("ns",),
    selectable_fields=("status.phase",),
    subresources=("finalize", "status"),
)
NODES = _core(
    "nodes",
    "Node",
    False,
    short_names=("no",),
    selectable_fields=("spec.unschedulable",),
    subresources=_STATUS,
)
PODS = _core(
    "pods",
    "Pod",
    short_names=("po",),
    categories=_ALL,
    selectable_fields=_POD_FIELDS,
    subresources=_STATUS,
)
SERVICES = _core(
    "services",
    "Service",
    short_names=("svc",),
    categories=_ALL,
    selectable_fields=("spec.clusterIP", "spec.type"),
    subresources=_STATUS,
)
ENDPOINTS = _core("endpoints", "Endpoints", short_names=("ep",))
CONFIGMAPS = _core("configmaps", "ConfigMap", short_names=("cm",))
SECRETS = _core("secrets", "Secret", selectable_fields=("type",))
SERVICE_ACCOUNTS = _core(
    "serviceaccounts", "ServiceAccount", short_names=("sa",), subresources=("token",)
)
EVENTS = _core("events", "Event", short_names=("ev",), selectable_fields=_EVENT_FIELDS)
NEW_EVENTS = _in(
    "events.k8s.io",
    "events",
    "Event",
    short_names=("ev",),
    selectable_fields=_NEW_EVENT_FIELDS,
)
ENDPOINT_SLICES = _in("discovery.k8s.io", "endpointslices", "EndpointSlice")
LEASES = _in("coordination.k8s.io", "leases", "Lease")
CRDS = _in(
    "apiextensions.k8s.io",
    "customresourcedefinitions",
    "CustomResourceDefinition",
    False,
    short_names=("crd", "crds"),
    categories=("api-extensions",),
    subresources=_STATUS,
)
SERVICE_CIDRS = _in("networking.k8s.io", "servicecidrs", "ServiceCIDR", False, subresources=_STATUS)
CSI_DRIVERS = _in("storage.k8s.io", "csidrivers", "CSIDriver", False)
CSI_NODES = _in("storage.k8s.io", "csinodes", "CSINode", False)
RUNTIME_CLASSES = _in("node.k8s.io", "runtimeclasses", "RuntimeClass", False)
DEPLOYMENTS = _in(
    "apps",
    "deployments",
    "Deployment",
    short_names=("deploy",),
    categories=_ALL,
    subresources=_SCALED,
)
DAEMON_SETS = _in(
    "apps",
    "daemonsets",
    "DaemonSet",
    short_names=("ds",),
    categories=_ALL,
    subresources=_STATUS,
)
REPLICA_SETS = _in(
    "apps",
    "replicasets",
    "ReplicaSet",
    short_names=("rs",),
    categories=_ALL,
    selectable_fields=("status.replicas",),
    subresources=_SCALED,
)
STATEFUL_SETS = _in(
    "apps",
    "statefulsets",
    "StatefulSet",
    short_names=("sts",),
    categories=_ALL,
    subresources=_SCALED,
)
JOBS = _in(
    "batch",
    "jobs",
    "Job",
    categories=_ALL,
    selectable_fields=("status.successful",),
    subresources=_STATUS,
)
ROLES = _in(RBAC, "roles", "Role")
ROLE_BINDINGS = _in(RBAC, "rolebindings", "RoleBinding")
CLUSTER_ROLES = _in(RBAC, "clusterroles", "ClusterRole", False)
CLUSTER_ROLE_BINDINGS = _in(RBAC, "clusterrolebindings", "ClusterRoleBinding", False)

BUILTIN: tuple[Resource, ...] = (
    NAMESPACES,
    NODES,
    PODS,
    SERVICES,
    ENDPOINTS,
    CONFIGMAPS,
    SECRETS,
    SERVICE_ACCOUNTS,
    EVENTS,
    NEW_EVENTS,
    ENDPOINT_SLICES,
    LEASES,
    CRDS,
    SERVICE_CIDRS,
    CSI_DRIVERS,
    CSI_NODES,
    RUNTIME_CLASSES,
    DEPLOYMENTS,
    DAEMON_SETS,
    REPLICA_SETS,
    STATEFUL_SETS,
    JOBS,
    ROLES,
    ROLE_BINDINGS,
    CLUSTER_ROLES,
    CLUSTER_ROLE_BINDINGS,
)

_ONLY_CREATED: Any = {"verbs": ("create",)}
REVIEWS: tuple[Resource, ...] = (
    _in(AUTHENTICATION, "tokenreviews", "TokenReview", False, **_ONLY_CREATED),
    _in(AUTHENTICATION, "selfsubjectreviews", "SelfSubjectReview", False, **_ONLY_CREATED),
    _in(AUTHORIZATION, "subjectaccessreviews", "SubjectAccessReview", False, **_ONLY_CREATED),
    _in(
        AUTHORIZATION,
        "selfsubjectaccessreviews",
        "SelfSubjectAccessReview",
        False,
        **_ONLY_CREATED,
    ),
    _in(
        AUTHORIZATION,
        "selfsubjectrulesreviews",
        "SelfSubjectRulesReview",
        False,
        **_ONLY_CREATED,
    ),
    _in(AUTHORIZATION, "localsubjectaccessreviews", "LocalSubjectAccessReview", **_ONLY_CREATED),
)
"""Questions to an API server: created, answered, and kept nowhere."""


def find(name: str, among: Iterable[Resource] = BUILTIN) -> Resource | None:
    """By `Resource.name`, e.g. "services.v1", "endpointslices.v1.discovery.k8s.io"."""
    return next((resource for resource in among if resource.name == name), None)
