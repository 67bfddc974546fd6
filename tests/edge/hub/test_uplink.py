"""kubectl and others through a hub: over NATS, ApiGate and the embedded API server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import yaml

from tests.actors.until import until
from tests.cloud.apiserver.test_kubectl import Kubectl
from tests.edge.gateways import DEADLINE, NODE, World, world


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as made, made.gate():
        yield made


@pytest.fixture
def kubectl(w: World, tmp_path: Path) -> Kubectl:
    config = {
        "clusters": [{"name": "hub", "cluster": {"server": w.hub.url}}],
        "contexts": [{"name": "hub", "context": {"cluster": "hub", "user": ""}}],
        "current-context": "hub",
    }
    file = tmp_path / "hub.kubeconfig"
    file.write_text(yaml.safe_dump(config))
    return Kubectl(file, tmp_path)


def pod(name: str = "p") -> dict[str, object]:
    containers = [{"name": "c", "image": "i"}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": containers},
    }


def named(kind: str, name: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}}


async def test_kubectl_reads_and_writes_what_the_hub_does_not_serve(kubectl: Kubectl) -> None:
    assert "No resources found" in (await kubectl.run("get", "pods"))[2]
    assert "created" in await kubectl("apply", "-f", "-", stdin=pod())
    assert "p " in await kubectl("get", "pods")
    await kubectl("patch", "pod/p", "--type=merge", "-p", '{"metadata":{"labels":{"a":"b"}}}')
    assert "a=b" in await kubectl("describe", "pod", "p")
    assert "deleted" in await kubectl("delete", "pod", "p", "--now")
    assert (await kubectl.run("get", "pod", "p"))[0] == 1


async def test_all_kinds_of_writes(kubectl: Kubectl) -> None:
    await kubectl("create", "-f", "-", stdin=named("Namespace", "demo"))
    data = {"data": {"a": "b"}}
    await kubectl("create", "-n", "demo", "-f", "-", stdin=named("ConfigMap", "c") | data)
    await kubectl("annotate", "configmap/c", "-n", "demo", "x=y")
    assert "a:" in await kubectl("describe", "configmap", "c", "-n", "demo")
    assert "deleted" in await kubectl("delete", "namespace", "demo")
    assert (await kubectl.run("get", "namespace", "demo"))[0] == 1
    assert "FIELD: containers" in await kubectl("explain", "pod.spec.containers")


async def test_a_large_object_goes_both_ways(w: World) -> None:
    """Larger than a window and than what is sent compressed."""
    text = "".join(map(str, range(150_000)))
    body = named("ConfigMap", "big")
    path = f"{w.hub.url}/api/v1/namespaces/default/configmaps"
    async with aiohttp.ClientSession() as client:
        async with client.post(path, json=body | {"data": {"text": text}}) as made:
            assert made.status == 201, await made.text()
        for headers in ({}, {"Accept-Encoding": "gzip"}, {"Accept-Encoding": "identity"}):
            async with client.get(f"{path}/big", headers=headers) as got:
                assert "Content-Encoding" not in got.headers  # it was compressed on the bus alone
                assert (await got.json())["data"]["text"] == text


async def test_who_acts(w: World) -> None:
    """The audit log of the API server says so."""
    path = "/api/v1/namespaces/default/configmaps"
    async with aiohttp.ClientSession(w.hub.url) as client:
        for name, agent in (("a", "kubelet/v1.32"), ("b", "kube-proxy/v1.32")):
            body, headers = named("ConfigMap", name), {"User-Agent": agent}
            async with client.post(path, json=body, headers=headers) as answer:
                assert answer.status == 201
        for headers in ({"User-Agent": "stranger/1"}, {"Impersonate-User": "root"}):
            async with client.post(path, json=named("ConfigMap", "c"), headers=headers) as answer:
                assert answer.status == 403
                assert (await answer.json())["reason"] == "Forbidden"
    await w.api.stop()  # writes the rest of its log
    seen = [line for line in (await w.audit()).splitlines() if "configmaps" in line]
    assert len(seen) == 2
    assert f"system:node:{NODE}" in seen[0]
    assert "system:kube-proxy" in seen[1]


async def test_errors_come_as_they_are(w: World) -> None:
    async with aiohttp.ClientSession(w.hub.url) as client:
        async with client.get("/api/v1/namespaces/default/pods/none") as answer:
            assert (answer.status, (await answer.json())["reason"]) == (404, "NotFound")
        async with client.get("/api/v1/pods?watch=1&resourceVersion=x") as answer:
            assert answer.status == 400
        async with client.get("/api/v1/pods", headers={"Upgrade": "SPDY/3.1"}) as answer:
            assert answer.status == 501


async def test_without_a_link_it_says_why(w: World) -> None:
    await w.server.stop()
    await until(lambda: not w.hub._cloud.is_up, "the link is down")
    async with aiohttp.ClientSession(w.hub.url) as client, client.get("/api/v1/pods") as answer:
        assert answer.status == 503
        assert answer.headers["Retry-After"] == "1"
        assert "no link to the cloud" in (await answer.json())["message"]


async def test_without_its_api_server_the_gate_says_so(w: World) -> None:
    await w.api.stop()
    async with aiohttp.ClientSession(w.hub.url) as client, client.get("/api/v1/pods") as answer:
        assert answer.status == 503
        assert "cannot reach the API server" in (await answer.json())["message"]


async def test_get_w_goes_on_when_its_gate_is_gone(kubectl: Kubectl, w: World) -> None:
    """The first replica takes the watch and dies without a word; the second one goes on."""
    first = w.buses[0]
    watch = await kubectl.start("get", "configmaps", "-w", "-o", "name")
    assert watch.stdout is not None
    async with asyncio.timeout(DEADLINE), w.gate("second"):
        await kubectl("create", "-f", "-", stdin=named("ConfigMap", "one"))
        assert await watch.stdout.readline() == b"configmap/one\n"
        await first.close()
        await kubectl("create", "-f", "-", stdin=named("ConfigMap", "two"))
        assert await watch.stdout.readline() == b"configmap/two\n"
        await kubectl("create", "-f", "-", stdin=named("ConfigMap", "three"))
        assert await watch.stdout.readline() == b"configmap/three\n"
        watch.kill()
        await watch.communicate()


async def test_a_watch_goes_on_when_its_gate_is_killed(tmp_path: Path) -> None:
    """kill -9 of one of two replicas: every event comes, once, and soon."""
    async with (
        world(tmp_path) as w,
        aiohttp.ClientSession() as direct,
        aiohttp.ClientSession(w.hub.url) as client,
        asyncio.timeout(2 * DEADLINE),
    ):
        async with w.gate_process() as first:
            version = await newest(client)
            query = f"?watch=true&resourceVersion={version}"
            watch = await client.get(f"/api/v1/configmaps{query}")
            await create(direct, w.api.url, "before")
            names = [json.loads(await watch.content.readline())["object"]["metadata"]["name"]]
            async with w.gate("second"):
                first.kill()
                await first.wait()
                for name in ("after", "last"):
                    await create(direct, w.api.url, name)
                async with asyncio.timeout(5.0):
                    for _ in range(2):
                        event = json.loads(await watch.content.readline())
                        names.append(event["object"]["metadata"]["name"])
                watch.close()
        assert names == ["before", "after", "last"]


async def test_a_gate_that_stops_hands_its_watches_over(w: World) -> None:
    async with aiohttp.ClientSession() as direct, aiohttp.ClientSession(w.hub.url) as client:
        async with w.gate("second"):
            query = f"?watch=true&resourceVersion={await newest(client)}"
            watches = [await client.get(f"/api/v1/configmaps{query}") for _ in range(4)]
        await create(direct, w.api.url, "after")
        async with asyncio.timeout(DEADLINE):
            for watch in watches:
                event = json.loads(await watch.content.readline())
                assert event["object"]["metadata"]["name"] == "after"
                watch.close()


async def test_discovery_is_the_api_servers_while_there_is_a_link(w: World) -> None:
    async with aiohttp.ClientSession(w.hub.url) as client:
        async with client.get("/api/v1") as answer:
            kinds = {each["kind"] for each in (await answer.json())["resources"]}
        assert {"Pod", "ConfigMap", "Namespace"} <= kinds
        await w.hub._disk.flush()
        await w.server.stop()
        await until(lambda: not w.hub._cloud.is_up, "the link is down")
        async with client.get("/api/v1") as answer:  # what it was told before
            assert "kept at the edge" in answer.headers["Warning"]
            assert kinds == {each["kind"] for each in (await answer.json())["resources"]}
        async with client.get("/apis/apps/v1") as answer:  # never asked for: its own, which is none
            assert answer.status == 503


async def test_a_watch_whose_client_leaves_while_the_link_is_down_is_forgotten(w: World) -> None:
    async with aiohttp.ClientSession(w.hub.url) as client:
        query = f"?watch=true&resourceVersion={await newest(client)}"
        watch = await client.get(f"/api/v1/configmaps{query}")
        await w.server.stop()
        await until(lambda: w.hub.status()["streams"] == 0, "the stream is broken")
        watch.close()
        await until(lambda: w.hub.status()["resuming"] == 0, "the watch is forgotten")


async def test_a_watch_goes_on_when_the_link_was_down(w: World) -> None:
    async with aiohttp.ClientSession() as direct, aiohttp.ClientSession(w.hub.url) as client:
        version = await newest(client)
        query = f"?watch=true&resourceVersion={version}&allowWatchBookmarks=true"
        async with client.get(f"/api/v1/configmaps{query}") as watch, asyncio.timeout(DEADLINE):
            await w.server.stop()
            await create(direct, w.api.url, "while-down")
            await w.server.start()
            event = json.loads(await watch.content.readline())
            assert event["object"]["metadata"]["name"] == "while-down"


async def test_a_watch_whose_history_is_gone_ends_with_410(w: World) -> None:
    async with aiohttp.ClientSession() as direct, aiohttp.ClientSession(w.hub.url) as client:
        version = await newest(client)
        query = f"?watch=true&resourceVersion={version}"
        async with client.get(f"/api/v1/configmaps{query}") as watch, asyncio.timeout(DEADLINE):
            await w.server.stop()
            await create(direct, w.api.url, "lost")
            w.api.forget_history()
            await w.server.start()
            event = json.loads(await watch.content.readline())
            assert (event["type"], event["object"]["code"]) == ("ERROR", 410)
            assert await watch.content.read() == b""


async def test_a_client_that_leaves_frees_the_api_server(w: World) -> None:
    async with aiohttp.ClientSession(w.hub.url) as client:
        async with client.get("/api/v1/configmaps?watch=true") as watch:
            assert watch.status == 200
            assert w.hub.status()["streams"] == 1
            watch.close()
        await until(lambda: w.hub.status()["streams"] == 0, "the hub let go")


async def test_a_hub_that_stops_ends_its_watches(w: World) -> None:
    async with (
        aiohttp.ClientSession(w.hub.url) as client,
        client.get("/api/v1/configmaps?watch=true") as watch,
        asyncio.timeout(2.0),
    ):
        await w.hub.on_stop()
        assert await watch.content.read() == b""


async def newest(client: aiohttp.ClientSession) -> str:
    async with client.get("/api/v1/configmaps") as listed:
        return str((await listed.json())["metadata"]["resourceVersion"])


async def create(client: aiohttp.ClientSession, url: str, name: str) -> None:
    body = named("ConfigMap", name)
    async with client.post(f"{url}/api/v1/namespaces/default/configmaps", json=body) as made:
        assert made.status == 201
