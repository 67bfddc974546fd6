from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from actors.kube import builtin
from actors.kube import client as client_module
from actors.kube.client import ApiAccess, ClusterClient
from actors.kube.client_errors import KubeError, Misconfigured, Refused, Unreachable
from actors.kube.resource import path_of


class Echo:
    """Answers with what was asked; knows one token."""

    def __init__(self) -> None:
        self.token = ""
        self.seen: list[str] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.Response:
        said = request.headers.get("Authorization", "")
        self.seen.append(said)
        if self.token and said != f"Bearer {self.token}":
            return web.json_response({"code": 401, "reason": "Unauthorized"}, status=401)
        body = (await request.read()).decode()
        about = {"method": request.method, "path": request.path_qs, "body": body}
        return web.json_response({**about, "type": request.headers.get("Content-Type", "")})


@asynccontextmanager
async def serving(handler: Any, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def kubeconfig(path: Path, url: str, token: str = "", context: str = "here") -> Path:
    text = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {"token": token} if token else {}}],
        "contexts": [{"name": context, "context": {"cluster": "c", "user": "u"}}],
        "current-context": context,
    }
    new = path.with_suffix(".new")
    new.write_text(json.dumps(text))
    new.replace(path)
    return path


def test_paths() -> None:
    assert path_of(builtin.SERVICES) == "/api/v1/services"
    assert path_of(builtin.SERVICES, "a", "b", "status") == "/api/v1/namespaces/a/services/b/status"
    slices = "/apis/discovery.k8s.io/v1/endpointslices"
    assert path_of(builtin.ENDPOINT_SLICES) == slices
    assert path_of(builtin.NODES, name="n") == "/api/v1/nodes/n"


async def test_bodies_go_and_come_as_they_are() -> None:
    echo = Echo()
    async with serving(echo.handle) as url, ClusterClient(ApiAccess(url=url)) as client:
        raw = b'{ "spaces" :  1 }'
        said = json.loads(await client.patch(builtin.SERVICES, "a", "b", raw))
        assert said == {
            "method": "PATCH",
            "path": "/api/v1/namespaces/a/services/b",
            "body": raw.decode(),
            "type": "application/merge-patch+json",
        }
        query = (("labelSelector", "a in (b,c),!d"), ("limit", "1"))
        said = json.loads(await client.get("/api/v1/pods", query))
        assert said["path"].startswith("/api/v1/pods?labelSelector=a")
        assert json.loads(await client.create(builtin.PODS, "a", raw))["method"] == "POST"
        assert json.loads(await client.replace(builtin.PODS, "a", "b", raw))["method"] == "PUT"
        assert json.loads(await client.delete(builtin.PODS, "a", "b"))["method"] == "DELETE"


async def test_a_kubeconfig_is_read_again_when_it_changes(tmp_path: Path) -> None:
    first, second = Echo(), Echo()
    first.token, second.token = "one", "two"
    path = tmp_path / "kubeconfig"
    async with serving(first.handle) as one, serving(second.handle) as two:
        kubeconfig(path, one, "one")
        async with ClusterClient(ApiAccess(kubeconfig=path)) as client:
            await client.get("/version")
            kubeconfig(path, two, "two")
            await client.get("/version")
    assert first.seen == ["Bearer one"]
    assert second.seen == ["Bearer two"]


async def test_a_refused_token_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "RELOAD_SECONDS", 0.0)
    echo, token = Echo(), tmp_path / "token"
    token.write_text("old")
    async with serving(echo.handle) as url:
        path = kubeconfig(tmp_path / "kubeconfig", url)
        text = json.loads(path.read_text())
        text["users"][0]["user"] = {"tokenFile": str(token)}
        path.write_text(json.dumps(text))
        async with ClusterClient(ApiAccess(kubeconfig=path)) as client:
            await client.get("/version")
            echo.token = "new"
            token.write_text("new")
            with pytest.raises(Refused, match="401"):
                await client.get("/version")
            await client.get("/version")
    assert echo.seen == ["Bearer old", "Bearer old", "Bearer new"]


@pytest.mark.parametrize("text", [None, "", "nonsense: [", "{}", "clusters: 3"])
async def test_a_kubeconfig_that_cannot_be_used_is_named(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "kubeconfig"
    if text is not None:
        path.write_text(text)
    async with ClusterClient(ApiAccess(kubeconfig=path)) as client:
        with pytest.raises(Misconfigured, match="kubeconfig"):
            await client.get("/version")
        async with serving(Echo().handle) as url:
            kubeconfig(path, url)
            await client.get("/version")


async def test_an_unknown_context_is_named(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path / "kubeconfig", "http://127.0.0.1:1")
    async with ClusterClient(ApiAccess(kubeconfig=path, context="there")) as client:
        with pytest.raises(Misconfigured, match="there"):
            await client.get("/version")


async def test_outside_of_a_pod_there_is_no_service_account(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    async with ClusterClient(ApiAccess(in_cluster=True)) as client:
        with pytest.raises(Misconfigured, match="service account"):
            await client.get("/version")


async def test_nobody_there_is_unreachable() -> None:
    async with ClusterClient(ApiAccess(url="http://127.0.0.1:1")) as client:
        with pytest.raises(Unreachable):
            await client.get("/version")


async def test_a_server_that_says_nothing_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "HEADER_SECONDS", 0.05)
    over = asyncio.Event()

    async def silent(_: web.Request) -> web.Response:
        await over.wait()
        return web.Response()

    async with serving(silent) as url, ClusterClient(ApiAccess(url=url)) as client:
        with pytest.raises(Unreachable, match="in time"):
            await client.get("/version")
        over.set()


async def test_a_status_becomes_its_reason_and_pause() -> None:
    async def busy(_: web.Request) -> web.Response:
        status = {"code": 429, "reason": "TooManyRequests", "message": "slow down"}
        return web.json_response(status, status=429, headers={"Retry-After": "3"})

    async with serving(busy) as url, ClusterClient(ApiAccess(url=url)) as client:
        with pytest.raises(Refused) as caught:
            await client.get("/api")
    error = caught.value
    assert (error.code, error.reason, error.retry_after) == (429, "TooManyRequests", 3.0)


async def test_a_gateways_page_is_shown_in_part() -> None:
    async def broken(_: web.Request) -> web.Response:
        return web.Response(text="<html>" + "x" * 10_000, status=502)

    async with serving(broken) as url, ClusterClient(ApiAccess(url=url)) as client:
        with pytest.raises(Refused, match="502") as caught:
            await client.get("/api")
    assert len(str(caught.value)) < 300


async def test_a_redirect_is_not_followed_with_our_token() -> None:
    async def away(_: web.Request) -> web.Response:
        raise web.HTTPFound("http://127.0.0.1:1/")

    async with serving(away) as url, ClusterClient(ApiAccess(url=url, token="t")) as client:
        with pytest.raises(Refused, match="302"):
            await client.get("/api")


async def test_a_closed_client_is_closed() -> None:
    client = ClusterClient(ApiAccess(url="http://127.0.0.1:1"))
    await client.close()
    await client.close()
    with pytest.raises(KubeError, match="closed"):
        await client.get("/api")
