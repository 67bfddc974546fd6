"""What rules allow, as upstream's documentation and tests have it."""

from __future__ import annotations

from typing import Any

import pytest
from multidict import MultiDict

from actors.kube.serve.api import User
from actors.kube.serve.routes import parse_request
from cloud.apiserver.access.defaults import objects
from cloud.apiserver.access.policy import Attributes, Policy, attributes_of, denial, rule_of

ALICE = User("alice", ("developers", "system:authenticated"))
BOT = User("system:serviceaccount:ns:bot", ("system:serviceaccounts",))


def rule(**members: Any) -> dict[str, Any]:
    return {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]} | members


def asked(resource: str = "pods", verb: str = "get", **more: Any) -> Attributes:
    plural, _, below = resource.partition("/")
    return Attributes(ALICE, verb, more.pop("group", ""), plural, below, **more)


@pytest.mark.parametrize(
    ("members", "question", "allowed"),
    [
        ({}, asked(), True),
        ({}, asked(verb="list"), False),
        ({}, asked(group="apps"), False),
        ({}, asked("pods/log"), False),
        ({}, asked("secrets"), False),
        ({"verbs": ["*"]}, asked(verb="anything"), True),
        ({"apiGroups": ["*"]}, asked(group="apps"), True),
        ({"resources": ["*"]}, asked("secrets"), True),
        ({"resources": ["*"]}, asked("pods/log"), True),
        ({"resources": ["pods/log"]}, asked("pods/log"), True),
        ({"resources": ["pods/log"]}, asked("pods"), False),
        ({"resources": ["*/scale"]}, asked("deployments/scale"), True),
        ({"resources": ["*/scale"]}, asked("deployments/status"), False),
        ({"resources": ["*/scale"]}, asked("deployments"), False),
        ({"resourceNames": ["a", "b"]}, asked(name="b"), True),
        ({"resourceNames": ["a", "b"]}, asked(name="c"), False),
        ({"resourceNames": ["a"]}, asked(), False),
        ({"resourceNames": []}, asked(name="c"), True),
        ({"resourceNames": None}, asked(name="c"), True),
        ({}, Attributes(ALICE, "get", path="/healthz"), False),
        ({"resources": ["*"], "apiGroups": ["*"]}, Attributes(ALICE, "get", path="/x"), False),
        ({"nonResourceURLs": ["/healthz"]}, Attributes(ALICE, "get", path="/healthz"), True),
        ({"nonResourceURLs": ["/healthz"]}, Attributes(ALICE, "post", path="/healthz"), False),
        ({"nonResourceURLs": ["/healthz"]}, Attributes(ALICE, "get", path="/healthz/x"), False),
        ({"nonResourceURLs": ["/api/*"]}, Attributes(ALICE, "get", path="/api/v1"), True),
        ({"nonResourceURLs": ["/api/*"]}, Attributes(ALICE, "get", path="/apis"), False),
        ({"nonResourceURLs": ["*"]}, Attributes(ALICE, "get", path="/whatever"), True),
    ],
)
def test_rules(members: dict[str, Any], question: Attributes, allowed: bool) -> None:
    assert rule_of(rule(**members)).allows(question) is allowed


def role(name: str, namespace: str = "", **members: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace}, "rules": [rule(**members)]}


def binding(to: str, *subjects: dict[str, str], namespace: str = "") -> dict[str, Any]:
    kind, _, name = to.rpartition("/")
    return {
        "metadata": {"name": "b", "namespace": namespace},
        "roleRef": {"kind": kind, "name": name},
        "subjects": list(subjects),
    }


def test_bindings_reach_as_far_as_they_stand() -> None:
    roles = [role("reader"), role("reader", "ns", resources=["secrets"])]
    alice = {"kind": "User", "name": "alice"}
    cluster = Policy(roles, [binding("ClusterRole/reader", alice)])
    assert cluster.decide(asked(namespace="any")).allowed
    assert cluster.decide(asked()).allowed
    local = Policy(roles, [binding("ClusterRole/reader", alice, namespace="ns")])
    assert local.decide(asked(namespace="ns")).allowed
    assert not local.decide(asked(namespace="other")).allowed
    assert not local.decide(asked()).allowed
    own = Policy(roles, [binding("Role/reader", alice, namespace="ns")])
    assert own.decide(asked("secrets", namespace="ns")).allowed
    assert not own.decide(asked("pods", namespace="ns")).allowed


@pytest.mark.parametrize(
    ("subject", "user", "allowed"),
    [
        ({"kind": "Group", "name": "developers"}, ALICE, True),
        ({"kind": "Group", "name": "alice"}, ALICE, False),
        ({"kind": "User", "name": "developers"}, ALICE, False),
        ({"kind": "ServiceAccount", "name": "bot", "namespace": "ns"}, BOT, True),
        ({"kind": "ServiceAccount", "name": "bot"}, BOT, True),  # that of the binding's namespace
        ({"kind": "ServiceAccount", "name": "bot", "namespace": "other"}, BOT, False),
        ({"kind": "User", "name": "system:serviceaccount:ns:bot"}, BOT, True),
    ],
)
def test_subjects(subject: dict[str, str], user: User, allowed: bool) -> None:
    policy = Policy([role("r")], [binding("ClusterRole/r", subject, namespace="ns")])
    assert policy.decide(asked(namespace="ns")._replace(user=user)).allowed is allowed


def test_masters_may_do_all() -> None:
    root = User("root", ("system:masters",))
    assert Policy((), ()).decide(asked("secrets", "delete")._replace(user=root)).allowed


def test_a_role_that_is_not_there_is_told() -> None:
    policy = Policy((), [binding("ClusterRole/lost", {"kind": "User", "name": "alice"})])
    decision = policy.decide(asked())
    assert not decision.allowed
    why = 'RBAC: clusterrole.rbac.authorization.k8s.io "lost" not found'
    assert decision.reason == why
    assert str(denial(asked(), why)).endswith(f"at the cluster scope: {why}")


def test_denials_are_worded_as_upstream() -> None:
    said = denial(asked(verb="list", namespace="default"))
    assert said.message == (
        'pods is forbidden: User "alice" cannot list resource "pods" in API group "" in the'
        ' namespace "default"'
    )
    said = denial(asked("deployments/scale", "patch", group="apps", namespace="a", name="x"))
    assert said.message == (
        'deployments.apps "x" is forbidden: User "alice" cannot patch resource'
        ' "deployments/scale" in API group "apps" in the namespace "a"'
    )
    assert said.details == {"name": "x", "group": "apps", "kind": "deployments"}
    said = denial(Attributes(ALICE, "get", path="/metrics"))
    assert (said.code, said.reason) == (403, "Forbidden")
    assert said.message == 'forbidden: User "alice" cannot get path "/metrics"'


@pytest.mark.parametrize(
    ("method", "path", "query", "expected"),
    [
        ("GET", "/api/v1/namespaces/a/pods/x/proxy/metrics", {}, "get pods proxy a x"),
        ("GET", "/api/v1/namespaces/a", {}, "get namespaces  a a"),
        ("GET", "/api/v1/namespaces", {}, "list namespaces   "),
        ("GET", "/api/v1/pods", {"fieldSelector": "metadata.name=x"}, "list pods   x"),
        ("GET", "/api/v1/pods", {"fieldSelector": "a=b,metadata.name==x"}, "list pods   x"),
        ("GET", "/api/v1/pods", {"fieldSelector": "metadata.name!=x"}, "list pods   "),
        (
            "POST",
            "/api/v1/namespaces/a/pods",
            {"fieldSelector": "metadata.name=x"},
            "create pods  a ",
        ),
    ],
)
def test_attributes(method: str, path: str, query: dict[str, str], expected: str) -> None:
    found = attributes_of(parse_request(method, path, MultiDict(query)), ALICE)
    parts = (found.verb, found.resource, found.subresource, found.namespace, found.name)
    assert " ".join(parts) == expected


# -- what is there from the start -----------------------------------------------------------------

_ALL = list(objects())
DEFAULTS = Policy(
    [each for each in _ALL if each["kind"] == "ClusterRole"],
    [each for each in _ALL if each["kind"] == "ClusterRoleBinding"],
)
NODE = User("system:node:n1", ("system:nodes", "system:authenticated"))
PROXY = User("system:kube-proxy", ("system:authenticated",))
DNS = User("system:serviceaccount:kube-system:coredns", ("system:authenticated",))
NOBODY = User("system:anonymous", ("system:unauthenticated",))
SLICES = {"group": "discovery.k8s.io"}


@pytest.mark.parametrize(
    ("user", "question", "allowed"),
    [
        (NODE, asked("pods", "list"), True),
        (NODE, asked("pods/status", "patch"), True),
        (NODE, asked("serviceaccounts/token", "create"), True),
        (NODE, asked("services", "watch"), True),
        (NODE, asked("tokenreviews", "create", group="authentication.k8s.io"), True),
        (NODE, asked("nodes", "delete"), False),
        (NODE, asked("secrets", "create"), False),
        (NODE, asked("deployments", "list", group="apps"), False),
        (PROXY, asked("endpointslices", "watch", **SLICES), True),
        (PROXY, asked("services", "list"), True),
        (PROXY, asked("pods", "list"), False),
        (DNS, asked("endpointslices", "list", **SLICES), True),
        (DNS, asked("secrets", "list"), False),
        (ALICE, asked("selfsubjectreviews", "create", group="authentication.k8s.io"), True),
        (ALICE, asked(), False),
        (ALICE, Attributes(ALICE, "get", path="/apis/apps/v1"), True),
        (NOBODY, Attributes(ALICE, "get", path="/version"), True),
        (NOBODY, Attributes(ALICE, "get", path="/apis"), False),
    ],
)
def test_defaults(user: User, question: Attributes, allowed: bool) -> None:
    assert DEFAULTS.decide(question._replace(user=user)).allowed is allowed
