"""What may be done later, in one table. Pure.

A write is queued where its writer is the only one who knows (events, its node's lease, status), or
where doing it late cannot do harm (its own objects' metadata). All else is refused with a Status
that says so, and may be tried again: a Deployment that comes into being a day late is worse than an
error now, and a lock that is renewed here and runs out there has two holders.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from actors.kube.resource import Resource
from actors.kube.status_errors import ApiError, qualified, service_unavailable
from edge.offline.entry import EVENTS, has_status, meta_of
from edge.offline.merge import Object

MIRROR = "kubernetes.io/config.mirror"
KUBELET = "kubelet"
REVIEWS = frozenset({"authentication.k8s.io", "authorization.k8s.io"})
_EDITS = frozenset({"update", "patch"})
_LEASES = ("coordination.k8s.io", "leases")
_NODES = ("", "nodes")
_PODS = ("", "pods")
_CSI_NODES = ("storage.k8s.io", "csinodes")
_SECRETS = frozenset({("", "secrets"), ("", "configmaps"), ("", "serviceaccounts")})
_POWERS = frozenset({
    "rbac.authorization.k8s.io", "apiextensions.k8s.io", "admissionregistration.k8s.io",
    "certificates.k8s.io", "apiregistration.k8s.io",
})  # fmt: skip


@dataclass(frozen=True)
class Ask:
    """One write as the policy sees it. `changed`: members of the object that an edit changes."""

    verb: str
    resource: Resource
    subresource: str
    name: str
    component: str
    node: str  # ours
    object: Object  # what is to be created, else what is held
    changed: frozenset[str] = frozenset()
    options: Object = field(default_factory=dict)  # of a delete

    @property
    def what(self) -> tuple[str, str]:
        return self.resource.group, self.resource.plural

    @property
    def is_on_node(self) -> bool:
        return bool(self.node) and (self.object.get("spec") or {}).get("nodeName") == self.node

    @property
    def is_mirror(self) -> bool:
        return self.what == _PODS and MIRROR in (meta_of(self.object).get("annotations") or {})

    @property
    def is_own(self) -> bool:
        """An object that is of this node alone, and is named after it."""
        return self.what in (_NODES, _CSI_NODES) and self.is_named_after_node

    @property
    def is_named_after_node(self) -> bool:
        return bool(self.node) and self.name == self.node


class Rule(NamedTuple):
    """The first rule that `applies` decides; `refusal` is why not, "" is that it is queued."""

    name: str
    applies: Callable[[Ask], bool]
    refusal: str = ""
    is_final: bool = False  # no Retry-After: many clients wait for it within one attempt


def _creates(ask: Ask) -> bool:
    return ask.verb == "create" and not ask.subresource


def _edits(ask: Ask) -> bool:
    return ask.verb in _EDITS and not ask.subresource


def _deletes(ask: Ask) -> bool:
    return ask.verb == "delete" and not ask.subresource


def _is_lease(ask: Ask) -> bool:
    return ask.what == _LEASES and (_creates(ask) or _edits(ask))


def _is_final(ask: Ask) -> bool:
    """The kubelet has ended the pod, and means just this one."""
    uid = (ask.options.get("preconditions") or {}).get("uid")
    return bool(uid) or ask.options.get("gracePeriodSeconds") == 0


def _only_notes(ask: Ask) -> bool:
    """Metadata; and the status where it has no address of its own."""
    return ask.changed <= ({"metadata"} if has_status(ask.resource) else {"metadata", "status"})


RULES = (
    Rule("events", lambda a: a.what in EVENTS and (_creates(a) or _edits(a) or _deletes(a))),
    Rule("its own lease", lambda a: _is_lease(a) and a.is_named_after_node),
    Rule(
        "locks",
        lambda a: _is_lease(a),
        "it may be a lock, and who else takes it when it runs out cannot be known",
        is_final=True,
    ),
    Rule("its own node", lambda a: _creates(a) and a.is_own),
    Rule("mirror pods", lambda a: _creates(a) and a.is_mirror and a.is_on_node),
    Rule(
        "other creates",
        lambda a: _creates(a),
        "only events, the node's own Lease, Node and CSINode, and mirror pods are created while"
        " offline",
    ),
    Rule("mirror pods' ends", lambda a: _deletes(a) and a.is_mirror and a.is_on_node),
    Rule(
        "pods' ends",
        lambda a: (
            _deletes(a)
            and a.what == _PODS
            and a.component == KUBELET
            and a.is_on_node
            and _is_final(a)
        ),
    ),
    Rule(
        "other deletes",
        lambda a: a.verb == "delete",
        "only the kubelet's own pods that have ended, mirror pods and events are deleted while"
        " offline",
    ),
    Rule(
        "whole lists", lambda a: a.verb == "deletecollection", "it would delete more than is known"
    ),
    Rule(
        "powers",
        lambda a: a.what in _SECRETS or a.resource.group in _POWERS,
        "secrets, configuration, and what gives rights are written at the API server only",
    ),
    Rule("status", lambda a: a.verb in _EDITS and a.subresource == "status"),
    Rule(
        "other subresources",
        lambda a: bool(a.subresource),
        "it is an act of the API server's",
    ),
    Rule("metadata", lambda a: _edits(a) and _only_notes(a)),
    Rule("its own node's spec", lambda a: _edits(a) and a.is_own),
    Rule("specs", lambda a: _edits(a), "only status and metadata are written while offline"),
)


def decide(ask: Ask) -> Rule:
    for rule in RULES:
        if rule.applies(ask):
            return rule
    return Rule("unknown", lambda _: True, "the hub does not know what it would do")


def refusal(ask: Ask, why: str, retry_after: int) -> ApiError:
    what = qualified(*ask.what) + (f"/{ask.subresource}" if ask.subresource else "")
    name = f' "{ask.name}"' if ask.name else ""
    message = (
        f"{ask.verb} of {what}{name}: the API server cannot be reached, and this write is not"
        f" queued: {why}"
    )
    return service_unavailable(message, retry_after)


def check(ask: Ask, retry_after: int) -> None:
    """Raises ApiError 503 for what may not be done later."""
    rule = decide(ask)
    if rule.refusal:
        raise refusal(ask, rule.refusal, 0 if rule.is_final else retry_after)
