"""What ApiGate and those as whom it acts must be allowed, as questions for the API server. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from cloud.apigate.identity import NODE, groups_of, service_account
from cloud.apigate.rbac import group_and_plural, needed_groups

Object = dict[str, Any]
SAMPLE = "atoll-review"  # as good a node as any: the rights of all are the same
KUBE_PROXY = "system:kube-proxy"
COREDNS = "system:serviceaccount:kube-system:coredns"
_AUTHORIZATION = "authorization.k8s.io"
_SLICES = ("discovery.k8s.io", "endpointslices")
_MANIFEST = "apply `atoll manifests rbac FILE`"
_PROXIER = 'bind it to upstream\'s ClusterRole "system:node-proxier"'
_DNS = 'apply CoreDNS\'s own manifests (their ClusterRole is "system:coredns")'
_KUBELET = 'it is upstream\'s for every node (node authorizer, or ClusterRole "system:node")'


class Question(NamedTuple):
    """May `user` ("": ApiGate itself) do this? `remedy` says what to do where not."""

    verb: str
    group: str
    resource: str
    name: str = ""
    namespace: str = ""
    user: str = ""
    remedy: str = _MANIFEST

    @property
    def path(self) -> str:
        kind = "subjectaccessreviews" if self.user else "selfsubjectaccessreviews"
        return f"/apis/{_AUTHORIZATION}/v1/{kind}"

    def review(self) -> Object:
        """The object to be created."""
        asked = {
            "verb": self.verb,
            "group": self.group,
            "resource": self.resource,
            "name": self.name,
            "namespace": self.namespace,
        }
        spec: Object = {"resourceAttributes": {k: v for k, v in asked.items() if v}}
        if self.user:
            spec |= {"user": self.user, "groups": list(groups_of(self.user))}
        kind = "SubjectAccessReview" if self.user else "SelfSubjectAccessReview"
        return {"apiVersion": f"{_AUTHORIZATION}/v1", "kind": kind, "spec": spec}

    def problem(self) -> str:
        """What is told where the answer is no."""
        who = f'"{self.user}"' if self.user else "ApiGate"
        if self.user.startswith(NODE):
            who = "a node"
        return f"{who} may not {self._what()}: {self.remedy}"

    def _what(self) -> str:
        if self.verb == "impersonate":
            place = f" in the namespace {self.namespace}" if self.namespace else ""
            what = {"users": "user", "groups": "group", "serviceaccounts": "service account"}
            if self.name.startswith(NODE):
                return "impersonate users that are nodes"
            return f'impersonate {what[self.resource]} "{self.name}"{place}'
        return f"{self.verb} {self.resource}"


def questions(identities: Iterable[str], resources: Iterable[str]) -> list[Question]:
    """All that matters for these identities and feeds (as in the site file)."""
    identities = tuple(identities)
    return [*_ours(identities), *_of_nodes(resources), *_of(identities)]


def _ours(identities: Iterable[str]) -> Iterator[Question]:
    yield Question("create", _AUTHORIZATION, "subjectaccessreviews")
    yield Question("impersonate", "", "users", f"{NODE}{SAMPLE}")
    for group in needed_groups(identities):
        yield Question("impersonate", "", "groups", group)
    for user in identities:
        account = service_account(user)
        if account is None:
            yield Question("impersonate", "", "users", user)
        else:
            yield Question("impersonate", "", "serviceaccounts", account[1], account[0])


def _of_nodes(resources: Iterable[str]) -> Iterator[Question]:
    node = f"{NODE}{SAMPLE}"
    yield Question("get", "", "nodes", SAMPLE, user=node, remedy=_KUBELET)
    yield Question("create", "", "events", namespace="default", user=node, remedy=_KUBELET)
    for name in resources:
        group, plural = group_and_plural(name)
        if group != "*":
            for verb in ("list", "watch"):
                yield Question(verb, group, plural, user=node)


def _of(identities: Iterable[str]) -> Iterator[Question]:
    """Of others nobody knows here what they need."""
    if KUBE_PROXY in identities:
        for group, plural in (("", "services"), _SLICES, ("", "nodes")):
            yield Question("list", group, plural, user=KUBE_PROXY, remedy=_PROXIER)
    if COREDNS in identities:
        for group, plural in (("", "services"), _SLICES, ("", "namespaces")):
            yield Question("list", group, plural, user=COREDNS, remedy=_DNS)
