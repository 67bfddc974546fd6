"""Pods at the TLS port: real tokens, RBAC, a cut."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from cloud.apiserver import ApiServerSettings
from edge.hub.secure.port import SecureSettings
from tests.actors.until import until
from tests.cloud.apiserver.test_kubectl import Kubectl
from tests.edge.gateways import NODE, World, world

PODS = "/api/v1/namespaces/default/pods"
AGENT = {"User-Agent": "kubelet/pod"}  # a component whose reads are kept


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[World]:
    settings = ApiServerSettings(authorization="rbac", own_tls=True)
    async with world(tmp_path, settings) as made, made.gate():
        made.more["secure"] = SecureSettings("127.0.0.1", 0)
        await restart(made)
        yield made


async def restart(w: World) -> None:
    await w.restart_hub()
    await until(lambda: w.hub._secure is not None and bool(w.hub._secure.url), "its port is open")
    await until(w.hub.knows_its_resources, "it knows what it serves itself: nothing")


async def cut(w: World) -> None:
    await w.server.stop()
    await until(lambda: not w.context.buses["cloud"].is_up, "the link is down")


async def a_token(w: World, *commands: str) -> str:
    admin = Kubectl(w.api.kubeconfig, w.path)
    for command in ("create serviceaccount robot", *commands):
        await admin(*command.split())
    return (await admin("create", "token", "robot")).strip()


ROBOT = "system:serviceaccount:default:robot"
VIEW = "create clusterrolebinding robot --clusterrole=view --serviceaccount=default:robot"


@asynccontextmanager
async def pod(w: World, token: str) -> AsyncIterator[aiohttp.ClientSession]:
    """It trusts the hub's certificate alone."""
    assert w.hub._secure is not None
    trust = ssl.create_default_context(cafile=str(w.hub._secure.ca))
    headers = AGENT | ({"Authorization": f"Bearer {token}"} if token else {})
    connector = aiohttp.TCPConnector(ssl=trust)
    url = w.hub._secure.url
    async with aiohttp.ClientSession(url, headers=headers, connector=connector) as client:
        yield client


async def status_of(client: aiohttp.ClientSession, path: str) -> int:
    async with client.get(path) as answer:
        await answer.read()
        return answer.status


async def test_who_has_no_good_token_is_nobody(w: World) -> None:
    token = await a_token(w, VIEW)
    for bad in ("", "nonsense", f"{token[:-8]}AAAAAAAA"):
        async with pod(w, bad) as client:
            assert await status_of(client, PODS) == 401
            assert await status_of(client, "/healthz") == 200


async def test_a_pod_reads_what_its_account_may_and_no_more(w: World) -> None:
    async with pod(w, await a_token(w, VIEW)) as client:
        assert await status_of(client, PODS) == 200
        assert await status_of(client, "/api/v1/namespaces/default/secrets") == 403
        path = "/api/v1/namespaces/default/configmaps"
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
        async with client.post(path, json=body) as answer:  # the API server itself decides
            assert (answer.status, "cannot create" in (await answer.json())["message"]) == (
                403,
                True,
            )


async def test_cut_off_a_pod_goes_on_by_what_was_last_known(w: World) -> None:
    async with pod(w, await a_token(w, VIEW)) as client:
        assert await status_of(client, PODS) == 200
        await cut(w)
        assert await status_of(client, PODS) == 200
        assert await status_of(client, "/api/v1/namespaces/kube-system/pods") == 503
    async with pod(w, "an.other.token") as client:
        assert await status_of(client, PODS) == 503


async def test_filters_know_where_pods_reach_the_hub(w: World) -> None:
    hub = w.hub._views.inputs.hub
    assert hub is not None
    assert w.hub._secure is not None
    assert f"https://{hub.host}:{hub.port}" == w.hub._secure.url


async def test_after_a_restart_without_a_link_what_was_last_known_still_holds(w: World) -> None:
    token = await a_token(w, VIEW)
    async with pod(w, token) as client:
        assert await status_of(client, PODS) == 200
        assert await status_of(client, "/api/v1/namespaces/default/secrets") == 403
    await w.hub._disk.flush()
    await cut(w)
    await restart(w)
    async with pod(w, token) as client:
        assert await status_of(client, PODS) == 200
        assert await status_of(client, "/api/v1/namespaces/default/secrets") == 403
        assert await status_of(client, "/api/v1/namespaces/default/configmaps") == 503
    async with pod(w, "an.other.token") as client:
        assert await status_of(client, PODS) == 503
    assert token not in (w.path / "reviews.json").read_text()


async def test_the_node_s_pods_are_not_for_every_pod(w: World) -> None:
    mine = f"/api/v1/pods?fieldSelector=spec.nodeName%3D{NODE}"
    async with aiohttp.ClientSession(w.hub.url, headers=AGENT) as kubelet:
        assert await status_of(kubelet, mine) == 200
        assert await status_of(kubelet, "/pods") == 200
    token = await a_token(w)
    async with pod(w, token) as client:
        assert await status_of(client, "/pods") == 403
    async with aiohttp.ClientSession(w.hub.url, headers={"Authorization": f"Bearer {token}"}) as c:
        assert await status_of(c, "/pods") == 403


async def test_a_right_that_was_taken_back_ends_reads_from_what_is_kept(w: World) -> None:
    async with pod(w, await a_token(w, VIEW)) as client:
        assert await status_of(client, PODS) == 200
        await Kubectl(w.api.kubeconfig, w.path)("delete", "clusterrolebinding", "robot")
        for question, may in w.hub._reviews.rights.answers():  # as after five minutes
            w.hub._reviews.rights.put(question, may, float("-inf"))
        assert await status_of(client, PODS) == 403


async def test_what_the_api_server_decides_is_not_asked_for_before(w: World) -> None:
    token = await a_token(w, VIEW)
    async with pod(w, token) as client:
        async with client.get(PODS, headers={"User-Agent": "stranger/1"}) as answer:
            assert answer.status == 200
        async with client.get(f"{PODS}/none") as answer:
            assert answer.status == 404
    assert len(w.hub._reviews.rights) == 0


async def test_a_token_on_the_loopback_port_is_whose_it_is(w: World) -> None:
    """A kube-proxy that comes as its service account is served offline, too."""
    headers = AGENT | {"Authorization": f"Bearer {await a_token(w, VIEW)}"}
    async with aiohttp.ClientSession(w.hub.url, headers=headers) as client:
        assert await status_of(client, PODS) == 200
        assert await status_of(client, "/api/v1/namespaces/default/secrets") == 403
        await cut(w)
        assert await status_of(client, PODS) == 200
    (mirror,) = (m for m in w.hub._mirrors.all.values() if m.cache.filled)
    assert mirror.scope.identity == "token:system:serviceaccount:default:robot"


async def test_roles_that_name_a_namespace_or_an_object_count(w: World) -> None:
    token = await a_token(
        w,
        "create role own --verb=get --resource=namespaces",
        "create rolebinding own --role=own --serviceaccount=default:robot",
        "create role one --verb=list,watch --resource=configmaps --resource-name=mine",
        "create rolebinding one --role=one --serviceaccount=default:robot",
    )
    maps = "/api/v1/namespaces/default/configmaps"
    async with pod(w, token) as client:
        assert await status_of(client, f"{maps}?fieldSelector=metadata.name%3Dmine") == 200
        assert await status_of(client, maps) == 403
        assert await status_of(client, "/api/v1/namespaces/default") == 200
        await cut(w)
        assert await status_of(client, f"{maps}?fieldSelector=metadata.name%3Dmine") == 200


async def test_kubectl_comes_with_a_token_and_the_hub_s_ca(w: World) -> None:
    token = await a_token(w, VIEW)
    assert w.hub._secure is not None
    config = {
        "clusters": [
            {
                "name": "hub",
                "cluster": {
                    "server": w.hub._secure.url,
                    "certificate-authority": str(w.hub._secure.ca),
                },
            }
        ],
        "users": [{"name": "pod", "user": {"token": token}}],
        "contexts": [{"name": "hub", "context": {"cluster": "hub", "user": "pod"}}],
        "current-context": "hub",
    }
    file = w.path / "pod.kubeconfig"
    file.write_text(json.dumps(config))
    kubectl = Kubectl(file, w.path)
    assert "No resources found" in (await kubectl.run("get", "pods"))[2]
    code, _, err = await kubectl.run("get", "secrets")
    assert (code, f'User "{ROBOT}" cannot list resource "secrets"' in err) == (1, True)
    assert await kubectl("auth", "whoami", "-o", "jsonpath={.status.userInfo.username}") == ROBOT


async def test_the_status_says_where_and_by_which_ca(w: World) -> None:
    status = w.hub.status()
    assert status["secure"].startswith("https://127.0.0.1:")
    assert Path(status["secure_ca"]).read_bytes().startswith(b"-----BEGIN CERTIFICATE-----")
