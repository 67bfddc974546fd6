"""What components read through a hub, with the API server there and gone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bus.stream import Request
from edge.hub import gets
from edge.hub.uplink import Uplink, Whole
from tests.actors.until import until
from tests.edge.gateways import DEADLINE, NODE, World, world

KUBELET = {"User-Agent": "kubelet/v1.36.2 (linux/amd64) kubernetes/98b3519"}
PODS = f"/api/v1/pods?fieldSelector=spec.nodeName%3D{NODE}"
Json = dict[str, Any]


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as made, made.gate():
        yield made


@asynccontextmanager
async def kubelet(w: World) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(w.hub.url, headers=KUBELET) as client:
        yield client


def named(kind: str, name: str) -> Json:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}}


def a_pod(name: str, node: str = NODE) -> Json:
    pod = named("Pod", name)
    pod["spec"] = {"nodeName": node, "containers": [{"name": "a", "image": "b"}]}
    return pod


async def create(w: World, *objects: Json) -> None:
    """At the API server itself."""
    async with aiohttp.ClientSession(w.api.url) as direct:
        for each in objects:
            plural = f"{each['kind'].lower()}s"
            path = f"/api/v1/{'' if plural == 'nodes' else 'namespaces/default/'}{plural}"
            async with direct.post(path, json=each) as answer:
                assert answer.status == 201, await answer.text()


async def names(client: aiohttp.ClientSession, path: str) -> list[str]:
    async with client.get(path) as answer:
        assert answer.status == 200, await answer.text()
        return [each["metadata"]["name"] for each in (await answer.json())["items"]]


async def cut(w: World) -> None:
    await w.server.stop()
    await until(lambda: not w.context.buses["cloud"].is_up, "the link is down")


async def test_one_upstream_watch_whatever_the_number_of_clients(w: World) -> None:
    await create(w, a_pod("mine"), a_pod("other", "node-2"))
    async with kubelet(w) as client:
        for _ in range(3):
            assert await names(client, PODS) == ["mine"]
        watches = [await client.get(f"{PODS}&watch=true&resourceVersion=0") for _ in range(5)]
        for watch in watches:
            assert json.loads(await watch.content.readline())["object"]["spec"]["nodeName"] == NODE
        await create(w, a_pod("next"))
        for watch in watches:
            async with asyncio.timeout(DEADLINE):
                event = json.loads(await watch.content.readline())
            assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", "next")
            watch.close()
    (mirror,) = w.hub._mirrors.all.values()
    assert (mirror.counts["lists"], mirror.counts["resumes"]) == (1, 0)


async def test_what_others_read_is_not_kept(w: World) -> None:
    async with aiohttp.ClientSession(w.hub.url, headers={"User-Agent": "kubectl/v1"}) as client:
        assert await names(client, "/api/v1/pods") == []
        await cut(w)
        async with client.get("/api/v1/pods") as answer:
            assert answer.status == 503


async def test_cut_off_a_restarted_hub_serves_what_was_read(w: World) -> None:
    await create(w, a_pod("mine"), named("ConfigMap", "settings"))
    one = "/api/v1/namespaces/default/configmaps/settings"
    async with kubelet(w) as client:
        assert await names(client, PODS) == ["mine"]
        async with client.get(one) as answer:
            assert answer.status == 200
    await w.hub._disk.flush()
    await cut(w)
    await w.restart_hub()
    async with kubelet(w) as client:
        assert await names(client, PODS) == ["mine"]
        async with client.get(one) as answer:
            assert (await answer.json())["metadata"]["name"] == "settings"
            assert "served from the edge cache" in answer.headers["Warning"]
        async with client.get("/api/v1/namespaces/default/pods/mine") as answer:
            assert (await answer.json())["spec"]["nodeName"] == NODE


async def test_an_empty_pod_list_is_never_served_for_an_unknown_one(w: World) -> None:
    """A kubelet that believed it would kill all of its pods."""
    await cut(w)
    await w.restart_hub()
    async with kubelet(w) as client, client.get(PODS) as answer:
        assert (answer.status, (await answer.json())["reason"]) == (503, "ServiceUnavailable")


async def test_the_node_s_pods_are_told_on_one_path(w: World) -> None:
    await create(w, a_pod("mine"), a_pod("other", "node-2"))
    async with kubelet(w) as client:
        async with client.get("/pods") as answer:
            assert answer.status == 503
        assert await names(client, PODS) == ["mine"]
        assert await names(client, "/pods") == ["mine"]
        await cut(w)
        assert await names(client, "/pods") == ["mine"]


async def test_the_node_s_condition_says_that_it_can_do_without_the_cloud(w: World) -> None:
    await create(w, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}})
    async with aiohttp.ClientSession(w.api.url) as direct:
        found: list[Json] = []
        async with asyncio.timeout(15):
            while not found:
                async with direct.get(f"/api/v1/nodes/{NODE}") as answer:
                    found = (await answer.json()).get("status", {}).get("conditions", [])
                await asyncio.sleep(0.05)
    assert (found[0]["type"], found[0]["status"]) == ("Autonomy", "True")


async def test_a_known_absence_is_told_as_one(w: World) -> None:
    async with kubelet(w) as client:
        for _ in ("there", "gone"):
            async with client.get("/api/v1/namespaces/default/secrets/none") as answer:
                assert answer.status == 404
            await w.hub._disk.flush()
            if w.context.buses["cloud"].is_up:
                await cut(w)


async def test_selectors_are_applied_to_what_is_kept(w: World) -> None:
    """OpenYurt answered with everything under the directory."""
    red, blue = a_pod("red"), a_pod("blue")
    red["metadata"]["labels"], blue["metadata"]["labels"] = {"c": "red"}, {"c": "blue"}
    await create(w, red, blue)
    async with kubelet(w) as client:
        assert await names(client, PODS) == ["blue", "red"]
        assert await names(client, f"{PODS}&labelSelector=c%3Dred") == ["red"]
        await w.hub._disk.flush()
        await cut(w)
        assert await names(client, f"{PODS}&labelSelector=c%3Dred") == ["red"]
        assert await names(client, PODS) == ["blue", "red"]


async def test_nobody_impersonates(w: World) -> None:
    headers = {"Impersonate-User": "root"}
    async with kubelet(w) as client, client.get(PODS, headers=headers) as answer:
        assert answer.status == 403


async def test_what_a_mirror_has_does_not_cross_the_wan_again(
    w: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But whether it is so still is asked each time: a GET is never older than the API server."""
    bodies: list[bytes] = []
    told = Uplink._whole

    async def noted(self: Uplink, asked: Request, body: bytes) -> Whole:
        bodies.append((found := await told(self, asked, body)).body)
        return found

    monkeypatch.setattr(Uplink, "_whole", noted)
    pod = a_pod("mine") | {"metadata": {"name": "mine", "labels": {"long": "x" * 60}}}
    pod["metadata"]["annotations"] = {"long": "x" * 2000}
    await create(w, pod)
    one = "/api/v1/namespaces/default/pods/mine"
    async with kubelet(w) as client, aiohttp.ClientSession(w.api.url) as direct:
        assert await names(client, PODS) == ["mine"]
        for number in range(3):
            patch = {"metadata": {"labels": {"turn": str(number)}}}
            kind = {"Content-Type": "application/merge-patch+json"}
            async with direct.patch(one, json=patch, headers=kind) as answer:
                expected = await answer.json()
            bodies.clear()
            async with client.get(one) as answer:
                found = await answer.json()
                assert "Atoll-Brief" not in answer.headers
            del expected["metadata"]["managedFields"]
            assert found == expected
            assert [len(body) < 300 for body in bodies] == [True]
        async with direct.delete(f"{one}?gracePeriodSeconds=0") as answer:
            assert answer.status == 200
        async with client.get(one) as answer:
            assert answer.status == 404


async def test_what_a_mirror_lags_behind_is_had_from_the_api_server(
    w: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await create(w, a_pod("mine"))

    async def never(*_: object) -> None:
        return None

    monkeypatch.setattr(gets, "whole_of", never)
    async with kubelet(w) as client:
        assert await names(client, PODS) == ["mine"]
        async with client.get("/api/v1/namespaces/default/pods/mine") as answer:
            assert (await answer.json())["spec"]["nodeName"] == NODE
