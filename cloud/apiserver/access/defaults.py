"""The roles and bindings that are there from the start where RBAC decides: upstream's that matter.

Differences from upstream, each on purpose:

* `system:node` is bound to the group system:nodes. Upstream leaves that to the node authorizer,
  which looks at which pods a node runs; there is none here, so a node may read every secret.
* `system:coredns` and its binding are the work of kubeadm and CoreDNS's own manifests elsewhere.
* `admin`, `edit` and `view` have their rules in themselves; nothing is aggregated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

Object = dict[str, Any]
RBAC = "rbac.authorization.k8s.io"
READ = ("get", "list", "watch")
FOLLOW = ("list", "watch")
WRITE = ("create", "delete", "deletecollection", "patch", "update")
REPORT = ("create", "patch", "update")
ALL = ("*",)


def _on(verbs: Sequence[str], group: str, *resources: str) -> Object:
    return {"verbs": list(verbs), "apiGroups": [group], "resources": list(resources)}


def _at(*paths: str) -> Object:
    return {"verbs": ["get"], "nonResourceURLs": list(paths)}


_EVENTS = (_on(REPORT, "", "events"), _on(REPORT, "events.k8s.io", "events"))
_NODE = (
    _on(("create",), "authentication.k8s.io", "tokenreviews"),
    _on(("create",), "authorization.k8s.io", "localsubjectaccessreviews", "subjectaccessreviews"),
    _on(READ, "", "services"),
    _on(("create", *READ), "", "nodes"),
    _on(("patch", "update"), "", "nodes", "nodes/status"),
    *_EVENTS,
    _on((*READ, "create", "delete"), "", "pods"),
    _on(("patch", "update"), "", "pods/status"),
    _on(("create",), "", "pods/eviction"),
    _on(READ, "", "configmaps", "secrets"),
    _on(("get",), "", "persistentvolumeclaims", "persistentvolumes", "endpoints"),
    _on(("get", "patch", "update"), "", "persistentvolumeclaims/status"),
    _on(("create", *READ), "certificates.k8s.io", "certificatesigningrequests"),
    _on(("create", "delete", "get", "patch", "update"), "coordination.k8s.io", "leases"),
    _on(("get",), "storage.k8s.io", "volumeattachments"),
    _on(("create",), "", "serviceaccounts/token"),
    _on(READ, "storage.k8s.io", "csidrivers"),
    _on(("create", "delete", "get", "patch", "update"), "storage.k8s.io", "csinodes"),
    _on(READ, "node.k8s.io", "runtimeclasses"),
    _on(("get",), "", "serviceaccounts"),
)
_PROXY = (
    _on(FOLLOW, "", "services", "endpoints"),
    _on(READ, "", "nodes"),
    _on(FOLLOW, "discovery.k8s.io", "endpointslices"),
    _on(FOLLOW, "networking.k8s.io", "servicecidrs"),
    *_EVENTS,
)
_DNS = (
    _on(FOLLOW, "", "endpoints", "namespaces", "pods", "services"),
    _on(FOLLOW, "discovery.k8s.io", "endpointslices"),
)
_BASIC = (
    _on(("create",), "authorization.k8s.io", "selfsubjectaccessreviews", "selfsubjectrulesreviews"),
    _on(("create",), "authentication.k8s.io", "selfsubjectreviews"),
)
_HEALTH = ("/healthz", "/livez", "/readyz", "/version", "/version/")
_SEEN = (
    (
        "",
        (
            "configmaps",
            "endpoints",
            "events",
            "namespaces",
            "pods",
            "pods/log",
            "pods/status",
            "serviceaccounts",
            "services",
        ),
    ),
    ("apps", ("daemonsets", "deployments", "replicasets", "statefulsets")),
    ("batch", ("jobs",)),
    ("discovery.k8s.io", ("endpointslices",)),
    ("events.k8s.io", ("events",)),
)
_EDITED = (
    (
        "",
        (
            "configmaps",
            "endpoints",
            "events",
            "pods",
            "pods/exec",
            "pods/portforward",
            "pods/proxy",
            "secrets",
            "serviceaccounts",
            "services",
        ),
    ),
    ("apps", ("daemonsets", "deployments", "replicasets", "statefulsets")),
    ("apps", ("deployments/scale", "replicasets/scale", "statefulsets/scale")),
    ("batch", ("jobs",)),
    ("coordination.k8s.io", ("leases",)),
)
_VIEW = tuple(_on(READ, group, *resources) for group, resources in _SEEN)
_EDIT = (
    *_VIEW,
    _on(READ, "", "secrets"),
    _on(READ, "coordination.k8s.io", "leases"),
    _on(("impersonate",), "", "serviceaccounts"),
    _on(("create",), "", "serviceaccounts/token", "pods/eviction"),
    *(_on(WRITE, group, *resources) for group, resources in _EDITED),
)
_ADMIN = (
    *_EDIT,
    _on(("create",), "authorization.k8s.io", "localsubjectaccessreviews"),
    _on((*READ, *WRITE), RBAC, "roles", "rolebindings"),
)

ROLES: dict[str, Sequence[Object]] = {
    "cluster-admin": (_on(ALL, "*", "*"), {"verbs": ["*"], "nonResourceURLs": ["*"]}),
    "admin": _ADMIN,
    "edit": _EDIT,
    "view": _VIEW,
    "system:discovery": (
        _at(*_HEALTH, "/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*"),
    ),
    "system:basic-user": _BASIC,
    "system:public-info-viewer": (_at(*_HEALTH),),
    "system:node": _NODE,
    "system:node-proxier": _PROXY,
    "system:coredns": _DNS,
}

_GROUP, _USER, _ACCOUNT = "Group", "User", "ServiceAccount"
BINDINGS: dict[str, Sequence[tuple[str, str]]] = {
    "cluster-admin": ((_GROUP, "system:masters"),),
    "system:discovery": ((_GROUP, "system:authenticated"),),
    "system:basic-user": ((_GROUP, "system:authenticated"),),
    "system:public-info-viewer": (
        (_GROUP, "system:authenticated"),
        (_GROUP, "system:unauthenticated"),
    ),
    "system:node": ((_GROUP, "system:nodes"),),
    "system:node-proxier": ((_USER, "system:kube-proxy"),),
    "system:coredns": ((_ACCOUNT, "coredns"),),
}
"""Each binds the role of its name."""


def objects() -> Iterator[Object]:
    """All of them, with a name as their only metadata."""
    for name, rules in ROLES.items():
        yield _object("ClusterRole", name) | {"rules": [dict(rule) for rule in rules]}
    for name, subjects in BINDINGS.items():
        yield _object("ClusterRoleBinding", name) | {
            "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": name},
            "subjects": [_subject(kind, who) for kind, who in subjects],
        }


def _object(kind: str, name: str) -> Object:
    labels = {"kubernetes.io/bootstrapping": "rbac-defaults"}
    meta = {"name": name, "labels": labels}
    return {"kind": kind, "apiVersion": f"{RBAC}/v1", "metadata": meta}


def _subject(kind: str, name: str) -> Object:
    if kind == _ACCOUNT:
        return {"kind": kind, "name": name, "namespace": "kube-system"}
    return {"apiGroup": RBAC, "kind": kind, "name": name}
