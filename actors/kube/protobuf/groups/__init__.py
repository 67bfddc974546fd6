"""The field tables, one file for each API group, and the kinds they make readable."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from actors.kube.protobuf.groups import (
    apps,
    authentication,
    authorization,
    batch,
    coordination,
    core,
    discovery,
    events,
    meta,
    networking,
    node,
    rbac,
    storage,
)
from actors.kube.protobuf.tables import Message, read_tables

_KINDS = {
    "v1": (
        "core",
        "ConfigMap Endpoints Event Namespace Node Pod Secret Service ServiceAccount",
    ),
    "apps/v1": ("apps", "DaemonSet Deployment ReplicaSet StatefulSet"),
    "authentication.k8s.io/v1": ("authentication", "SelfSubjectReview TokenRequest TokenReview"),
    "authorization.k8s.io/v1": (
        "authorization",
        "LocalSubjectAccessReview SelfSubjectAccessReview SelfSubjectRulesReview"
        " SubjectAccessReview",
    ),
    "batch/v1": ("batch", "Job"),
    "coordination.k8s.io/v1": ("coordination", "Lease"),
    "discovery.k8s.io/v1": ("discovery", "EndpointSlice"),
    "events.k8s.io/v1": ("events", "Event"),
    "networking.k8s.io/v1": ("networking", "ServiceCIDR"),
    "node.k8s.io/v1": ("node", "RuntimeClass"),
    "rbac.authorization.k8s.io/v1": (
        "rbac",
        "ClusterRole ClusterRoleBinding Role RoleBinding",
    ),
    "storage.k8s.io/v1": ("storage", "CSIDriver CSINode"),
}
KINDS: Mapping[tuple[str, str], str] = {
    (version, kind): f"{group}.{kind}"
    for version, (group, kinds) in _KINDS.items()
    for kind in kinds.split()
}
"""Message names by apiVersion and kind."""

KINDS_OF_ANY_GROUP: Mapping[str, str] = {
    kind: f"meta.{kind}" for kind in ("DeleteOptions", "Status")
}
"""Clients send these under the apiVersion of whatever they talk about."""


@cache
def messages() -> Mapping[str, Message]:
    """All, by name. Read when first asked for: most processes never see protobuf."""
    modules = {
        "apps": apps,
        "authentication": authentication,
        "authorization": authorization,
        "batch": batch,
        "coordination": coordination,
        "core": core,
        "discovery": discovery,
        "events": events,
        "meta": meta,
        "networking": networking,
        "node": node,
        "rbac": rbac,
        "storage": storage,
    }
    found: dict[str, Message] = {}
    for group, module in modules.items():
        found |= read_tables(group, module.TABLE)
    return found
