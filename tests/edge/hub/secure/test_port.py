"""Pods at the TLS port: real tokens, RBAC, a cut."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from cloud.apiserver import ApiServerSettings
from tests.actors.until import until
from tests.cloud.apiserver.test_kubectl import Kubectl
from tests.edge.gateways import World, world

PODS = "/api/v1/namespaces/default/pods"
AGENT = {"User-Agent": "kubelet/pod"}  # a component whose reads are kept


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[World]:
    settings = ApiServerSettings(authorization="rbac", own_tls=True)
    async with world(tmp_path, settings) as made, made.gate():
        made.more["secure"] = ("127.0.0.1", 0)
        await made.restart_hub()
        yield made


async def a_token(w: World, *commands: str) -> str:
    admin = Kubectl(w.api.kubeconfig, w.path)
    for command in ("create serviceaccount robot", *commands):
        await admin(*command.split())
    return (await admin("create", "token", "robot")).strip()


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
        await w.server.stop()
        await until(lambda: not w.context.buses["cloud"].is_up, "the link is down")
        assert await status_of(client, PODS) == 200
        assert await status_of(client, "/api/v1/namespaces/kube-system/pods") == 503
    async with pod(w, "an.other.token") as client:
        assert await status_of(client, PODS) == 503


async def test_filters_know_where_pods_reach_the_hub(w: World) -> None:
    hub = w.hub._views.inputs.hub
    assert hub is not None
    assert w.hub._secure is not None
    assert f"https://{hub.host}:{hub.port}" == w.hub._secure.url
