"""RBAC: which rules a user has, and whether one of them allows what is asked. Pure.

Sources: Kubernetes "Using RBAC Authorization"; k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from actors.kube.serve.api import RequestInfo, User
from actors.kube.status_errors import ApiError, forbidden

Object = dict[str, Any]
GROUP = "rbac.authorization.k8s.io"
MASTERS = "system:masters"
ALL = "*"
_ONE_NAME = re.compile(r"(?:^|,)metadata\.name==?([^,]+)")


class Attributes(NamedTuple):
    """What is asked: of a resource, or of a `path` that is none."""

    user: User
    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""


def attributes_of(info: RequestInfo, user: User) -> Attributes:
    """As upstream: a namespace is in itself, and who selects one object by name names it."""
    if not info.is_resource:
        return Attributes(user, info.verb, path=info.path)
    namespace = info.name if info.plural == "namespaces" else info.namespace
    name = info.name
    if not name and info.verb in ("list", "watch", "deletecollection"):
        one = _ONE_NAME.search(info.query.get("fieldSelector", ""))
        name = one[1] if one else ""
    subresource = info.subresource.partition("/")[0]
    return Attributes(user, info.verb, info.group, info.plural, subresource, namespace, name)


class Rule(NamedTuple):
    verbs: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()

    def allows(self, asked: Attributes) -> bool:
        if not _has(self.verbs, asked.verb):
            return False
        if asked.path:
            return any(_covers(path, asked.path) for path in self.paths)
        return (
            _has(self.groups, asked.group)
            and self._has_resource(asked)
            and (not self.names or asked.name in self.names)
        )

    def _has_resource(self, asked: Attributes) -> bool:
        below = asked.subresource
        whole = f"{asked.resource}/{below}" if below else asked.resource
        return _has(self.resources, whole) or (bool(below) and f"*/{below}" in self.resources)


def _has(allowed: tuple[str, ...], asked: str) -> bool:
    return asked in allowed or ALL in allowed


def _covers(pattern: str, path: str) -> bool:
    """A star stands only at the end."""
    return pattern == path or (pattern.endswith(ALL) and path.startswith(pattern.rstrip(ALL)))


def rule_of(rule: Object) -> Rule:
    members = ("verbs", "apiGroups", "resources", "resourceNames", "nonResourceURLs")
    return Rule(*(tuple(rule.get(member) or ()) for member in members))


def rules_of(role: Object) -> tuple[Rule, ...]:
    return tuple(rule_of(rule) for rule in role.get("rules") or ())


class RoleRef(NamedTuple):
    namespace: str  # "": a ClusterRole
    name: str

    def __str__(self) -> str:
        kind = "role" if self.namespace else "clusterrole"
        return f'{kind}.{GROUP} "{self.name}"'


@dataclass
class Bound:
    """The roles bound in one namespace, or everywhere, by whom they are bound to."""

    roles: dict[str, list[RoleRef]] = field(default_factory=dict)

    def add(self, binding: Object) -> None:
        namespace = binding["metadata"].get("namespace", "")
        ref = binding["roleRef"]
        role = RoleRef(namespace if ref["kind"] == "Role" else "", ref["name"])
        for subject in binding.get("subjects") or ():
            self.roles.setdefault(_principal(subject, namespace), []).append(role)

    def of(self, user: User) -> Iterator[RoleRef]:
        for principal in (f"u {user.name}", *(f"g {group}" for group in user.groups)):
            yield from self.roles.get(principal, ())


def _principal(subject: Object, namespace: str) -> str:
    name = subject["name"]
    if subject["kind"] == "Group":
        return f"g {name}"
    if subject["kind"] == "ServiceAccount":
        return f"u system:serviceaccount:{subject.get('namespace') or namespace}:{name}"
    return f"u {name}"


class Decision(NamedTuple):
    allowed: bool
    reason: str = ""  # beside a denial: roles that were bound but are not there


class Policy:
    """All roles and bindings at one moment."""

    def __init__(self, roles: Iterable[Object], bindings: Iterable[Object]) -> None:
        self._roles: Mapping[RoleRef, tuple[Rule, ...]] = {
            RoleRef(role["metadata"].get("namespace", ""), role["metadata"]["name"]): rules_of(role)
            for role in roles
        }
        self._bound: dict[str, Bound] = {}  # by namespace; "": everywhere
        for binding in bindings:
            namespace = binding["metadata"].get("namespace", "")
            self._bound.setdefault(namespace, Bound()).add(binding)

    def decide(self, asked: Attributes) -> Decision:
        if MASTERS in asked.user.groups:
            return Decision(True)
        missing: list[str] = []
        for ref in self._refs(asked.user, asked.namespace):
            rules = self._roles.get(ref)
            if rules is None:
                missing.append(f"{ref} not found")
            elif any(rule.allows(asked) for rule in rules):
                return Decision(True)
        return Decision(False, _told(missing))

    def rules(self, user: User, namespace: str) -> list[Rule]:
        """All that a user has in a namespace, cluster-wide ones included."""
        if MASTERS in user.groups:
            every = (ALL,)
            return [Rule(every, every, every), Rule(every, paths=every)]
        found = (self._roles.get(ref, ()) for ref in self._refs(user, namespace))
        return [rule for rules in found for rule in rules]

    def _refs(self, user: User, namespace: str) -> Iterator[RoleRef]:
        for where in dict.fromkeys(("", namespace)):
            if where in self._bound:
                yield from self._bound[where].of(user)


def _told(missing: list[str]) -> str:
    if not missing:
        return ""
    return "RBAC: " + (missing[0] if len(missing) == 1 else f"[{', '.join(missing)}]")


def denial(asked: Attributes, reason: str = "") -> ApiError:
    """403 in upstream's words."""
    what = f'User "{asked.user.name}" cannot {asked.verb}'
    if asked.path:
        text = f'{what} path "{asked.path}"'
    else:
        below = f"/{asked.subresource}" if asked.subresource else ""
        where = f'in the namespace "{asked.namespace}"' if asked.namespace else _CLUSTER
        resource = f'resource "{asked.resource}{below}" in API group "{asked.group}"'
        text = f"{what} {resource} {where}"
    return forbidden(
        asked.group, asked.resource, asked.name, f"{text}: {reason}" if reason else text
    )


_CLUSTER = "at the cluster scope"
