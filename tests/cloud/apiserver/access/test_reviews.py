"""Questions to the server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cloud.apiserver.access.tokens import ISSUER
from tests.cloud.apiserver.access.serving import (
    AUTHENTICATION,
    AUTHORIZATION,
    Cluster,
    cluster,
    rule,
    user,
)
from tests.cloud.apiserver.api import Api

LIST_PODS = {"verb": "list", "resource": "pods", "namespace": "default"}


@pytest.fixture
async def c(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with cluster(tmp_path) as made:
        yield made


async def ask(api: Api, kind: str, **spec: Any) -> dict[str, Any]:
    plural = f"{kind.lower()}s"
    answer = await api.post(f"{AUTHORIZATION}/{plural}", {"kind": kind, "spec": spec})
    assert answer.code == 201, answer.body
    return dict(answer.body["status"])


async def test_may_he(c: Cluster) -> None:
    await c.grant("reader", user("alice"), rule("list", "pods"))
    for name, allowed in (("alice", True), ("bob", False)):
        status = await ask(c.admin, "SubjectAccessReview", user=name, resourceAttributes=LIST_PODS)
        assert status == {"allowed": allowed}
    path = {"path": "/metrics", "verb": "get"}
    status = await ask(c.admin, "SubjectAccessReview", user="bob", nonResourceAttributes=path)
    assert not status["allowed"]
    nodes = {"user": "x", "groups": ["system:nodes"]}
    status = await ask(c.admin, "SubjectAccessReview", **nodes, resourceAttributes=LIST_PODS)
    assert status["allowed"]


async def test_may_i(c: Cluster) -> None:
    await c.grant("reader", user("alice"), rule("list", "pods"))
    alice = c.user("alice-token")
    assert (await ask(alice, "SelfSubjectAccessReview", resourceAttributes=LIST_PODS))["allowed"]
    secrets = LIST_PODS | {"resource": "secrets"}
    denied = await ask(alice, "SelfSubjectAccessReview", resourceAttributes=secrets)
    assert not denied["allowed"]
    as_alice = c.user("root-token", Impersonate_User="alice")
    denied = await ask(as_alice, "SelfSubjectAccessReview", resourceAttributes=secrets)
    assert not denied["allowed"]


async def test_what_may_i(c: Cluster) -> None:
    await c.grant("reader", user("alice"), rule("list", "pods", resourceNames=["x"]))
    status = await ask(c.user("alice-token"), "SelfSubjectRulesReview", namespace="default")
    mine = {"verbs": ["list"], "apiGroups": [""], "resources": ["pods"], "resourceNames": ["x"]}
    assert mine in status["resourceRules"]
    assert any("/apis/*" in each["nonResourceURLs"] for each in status["nonResourceRules"])
    assert status["incomplete"] is False


async def test_may_he_here(c: Cluster) -> None:
    path = f"{AUTHORIZATION}/namespaces/default/localsubjectaccessreviews"
    await c.grant("reader", user("alice"), rule("list", "pods"))
    asked = {"verb": "list", "resource": "pods"}
    body = {"spec": {"user": "alice", "resourceAttributes": asked}}
    answer = await c.admin.post(path, body)
    assert answer.body["status"]["allowed"]
    body = {"spec": {"user": "alice", "resourceAttributes": asked | {"namespace": "other"}}}
    assert (await c.admin.post(path, body)).code == 400


@pytest.mark.parametrize(
    "spec",
    [
        {"resourceAttributes": LIST_PODS},
        {"user": "alice"},
        {"user": "a", "resourceAttributes": LIST_PODS, "nonResourceAttributes": {"path": "/"}},
    ],
)
async def test_questions_that_make_no_sense(c: Cluster, spec: dict[str, Any]) -> None:
    answer = await c.admin.post(f"{AUTHORIZATION}/subjectaccessreviews", {"spec": spec})
    assert (answer.code, answer.reason) == (422, "Invalid")


async def test_whose_token_is_that(c: Cluster) -> None:
    async def review(token: str, *audiences: str) -> dict[str, Any]:
        spec = {"token": token, "audiences": list(audiences)}
        answer = await c.admin.post(f"{AUTHENTICATION}/tokenreviews", {"spec": spec})
        assert answer.code == 201
        return dict(answer.body["status"])

    found = await review("alice-token")
    assert found["user"]["username"] == "alice"
    assert found["user"]["groups"] == ["developers", "system:authenticated"]
    assert found["audiences"] == [ISSUER]
    found = await review(await c.token())
    assert found["user"]["username"] == "system:serviceaccount:default:default"
    vault = await c.token(audiences=["vault", "x"])
    assert (await review(vault, "y", "vault"))["audiences"] == ["vault"]
    assert not (await review(vault)).get("authenticated")
    assert "invalid bearer token" in (await review("wrong"))["error"]


async def test_they_are_only_created(c: Cluster) -> None:
    path = f"{AUTHENTICATION}/tokenreviews"
    for method, where in (("GET", path), ("DELETE", path), ("GET", f"{path}/x")):
        assert (await c.admin.call(method, where)).code == 405
    listed = (await c.admin.get(AUTHENTICATION)).body["resources"]
    assert {each["name"]: each["verbs"] for each in listed} == {
        "selfsubjectreviews": ["create"],
        "tokenreviews": ["create"],
    }
    core = {each["name"]: each for each in (await c.admin.get("/api/v1")).body["resources"]}
    assert core["serviceaccounts/token"]["kind"] == "TokenRequest"
    assert core["serviceaccounts/token"]["verbs"] == ["create"]
