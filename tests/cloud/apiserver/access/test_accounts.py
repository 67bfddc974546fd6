"""Service accounts: the one of every namespace, tokens on request, and when those end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cloud.apiserver import ApiServerSettings, EmbeddedApiServer
from cloud.apiserver.access.tokens import ISSUER
from tests.cloud.apiserver.access.serving import ACCOUNTS, Cluster, cluster, rule
from tests.cloud.apiserver.api import PODS, Api, pod

WHO = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
DEADLINE = 5.0


@pytest.fixture
async def c(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with cluster(tmp_path) as made:
        yield made


async def made(api: Api, namespace: str) -> str:
    """The uid of its account `default`, once there is one."""
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    async with asyncio.timeout(DEADLINE), api.watch(path) as events:
        async for event in events:
            if event["type"] == "ADDED" and event["object"]["metadata"]["name"] == "default":
                return str(event["object"]["metadata"]["uid"])
    raise AssertionError("the watch ended")


async def test_every_namespace_has_one(api: Api) -> None:
    for namespace in ("default", "kube-node-lease", "kube-public", "kube-system"):
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/default"
        assert (await api.get(path)).code == 200
    await api.post("/api/v1/namespaces", {"metadata": {"name": "new"}})
    first = await made(api, "new")
    await api.delete("/api/v1/namespaces/new/serviceaccounts/default")
    assert await made(api, "new") != first
    await api.delete("/api/v1/namespaces/new")
    await api.until_gone("/api/v1/namespaces/new")


async def test_a_token_is_its_account(c: Cluster) -> None:
    bot = c.user(await c.token())
    answer = await bot.post(WHO, {})
    info = answer.body["status"]["userInfo"]
    assert info["username"] == "system:serviceaccount:default:default"
    assert info["groups"] == [
        "system:serviceaccounts",
        "system:serviceaccounts:default",
        "system:authenticated",
    ]
    assert (await bot.get(PODS)).code == 403
    account = {"kind": "ServiceAccount", "name": "default", "namespace": "default"}
    await c.grant("bots", account, rule("list", "pods"))
    assert (await bot.get(PODS)).code == 200


async def test_it_outlives_a_restart(tmp_path: Path) -> None:
    async with cluster(tmp_path) as first:
        token = await first.token()
    async with cluster(tmp_path) as second:
        assert (await second.user(token).post(WHO, {})).code == 201


async def test_an_answer_says_what_was_issued(c: Cluster) -> None:
    body = {"spec": {"audiences": ["vault"], "expirationSeconds": 1200}}
    answer = await c.admin.post(f"{ACCOUNTS}/default/token", body)
    assert answer.code == 201
    assert answer.body["kind"] == "TokenRequest"
    assert answer.body["metadata"]["name"] == "default"
    assert answer.body["spec"] == body["spec"] | {"boundObjectRef": None}
    assert answer.body["status"]["expirationTimestamp"].endswith("Z")
    # It is good for others, not for us.
    assert (await c.user(answer.body["status"]["token"]).post(WHO, {})).code == 401
    assert (await c.admin.get(f"{ACCOUNTS}/default/token")).code == 405
    body["spec"] = {"expirationSeconds": 599}
    answer = await c.admin.post(f"{ACCOUNTS}/default/token", body)
    assert (answer.code, answer.fields) == (422, ["spec.expirationSeconds"])
    assert (await c.admin.post(f"{ACCOUNTS}/absent/token", {"spec": {}})).code == 404
    denied = await c.user("alice-token").post(f"{ACCOUNTS}/default/token", {"spec": {}})
    assert 'cannot create resource "serviceaccounts/token"' in denied.body["message"]


async def test_it_ends_with_its_account(c: Cluster) -> None:
    await c.admin.post(ACCOUNTS, {"metadata": {"name": "bot"}})
    bot = c.user(await c.token("bot"))
    assert (await bot.post(WHO, {})).code == 201
    await c.admin.delete(f"{ACCOUNTS}/bot")
    assert (await bot.post(WHO, {})).code == 401
    await c.admin.post(ACCOUNTS, {"metadata": {"name": "bot"}})  # another of the same name
    assert (await bot.post(WHO, {})).code == 401


async def test_it_ends_with_its_pod(c: Cluster) -> None:
    await c.admin.post("/api/v1/nodes", {"metadata": {"name": "n1"}})
    running = await c.admin.post(PODS, pod(nodeName="n1"))
    assert running.code == 201, running.body
    ref = {"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": running.body["metadata"]["uid"]}
    bot = c.user(await c.token(boundObjectRef=ref))
    extra = (await bot.post(WHO, {})).body["status"]["userInfo"]["extra"]
    assert extra["authentication.kubernetes.io/pod-name"] == ["p"]
    assert extra["authentication.kubernetes.io/node-name"] == ["n1"]
    await c.admin.delete(PODS + "/p", {"gracePeriodSeconds": 0})
    assert (await bot.post(WHO, {})).code == 401


async def test_it_ends_with_its_secret(c: Cluster) -> None:
    secrets = "/api/v1/namespaces/default/secrets"
    await c.admin.post(secrets, {"metadata": {"name": "s"}})
    bot = c.user(await c.token(boundObjectRef={"kind": "Secret", "name": "s"}))
    assert (await bot.post(WHO, {})).code == 201
    await c.admin.delete(f"{secrets}/s")
    assert (await bot.post(WHO, {})).code == 401


@pytest.mark.parametrize(
    ("ref", "code"),
    [
        ({"kind": "Pod", "name": "absent"}, 404),
        ({"kind": "Pod", "name": "p", "uid": "another"}, 409),
        ({"kind": "ConfigMap", "name": "c"}, 400),
        ({"kind": "Pod", "name": "other"}, 400),
    ],
)
async def test_what_it_cannot_be_bound_to(c: Cluster, ref: dict[str, str], code: int) -> None:
    await c.admin.post(PODS, pod())
    other = pod("other", serviceAccountName="someone")
    assert (await c.admin.post(PODS, other)).code == 201
    answer = await c.admin.post(f"{ACCOUNTS}/default/token", {"spec": {"boundObjectRef": ref}})
    assert answer.code == code


async def test_an_open_server_knows_its_own_tokens(tmp_path: Path) -> None:
    """Anything else that is sent there is as good as nothing, as ever."""
    async with EmbeddedApiServer(tmp_path, ApiServerSettings()) as server:
        admin = Api(server.url)
        answer = await admin.post(f"{ACCOUNTS}/default/token", {"spec": {}})
        headers = {"Authorization": f"Bearer {answer.body['status']['token']}"}
        bot = Api(server.url, headers)
        info = (await bot.post(WHO, {})).body["status"]["userInfo"]
        assert info["username"] == "system:serviceaccount:default:default"
        await admin.delete(f"{ACCOUNTS}/default")
        assert (await bot.post(WHO, {})).code == 401
        stale = Api(server.url, {"Authorization": "Bearer of-another-cluster"})
        info = (await stale.post(WHO, {})).body["status"]["userInfo"]
        assert info["username"] == "system:admin"
        for each in (admin, bot, stale):
            await each.close()


def test_the_issuer_is_upstream_s() -> None:
    assert ISSUER == "https://kubernetes.default.svc.cluster.local"
