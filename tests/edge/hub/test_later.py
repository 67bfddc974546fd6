"""Writes of a node's components through a hub, while the API server cannot be asked, and after."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.actors.until import until
from tests.edge.gateways import DEADLINE, NODE, World, world
from tests.edge.hub.test_requests import PODS, Json, a_pod, create, cut, kubelet, names

MINE = "/api/v1/namespaces/default/pods/mine"
MERGE = {"Content-Type": "application/strategic-merge-patch+json"}
EVENTS = "/api/v1/namespaces/default/events"


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as made, made.gate():
        await create(made, a_pod("mine"))
        yield made


def ready(reason: str) -> Json:
    condition = {"type": "Ready", "status": "True", "reason": reason}
    return {"status": {"phase": "Running", "conditions": [condition]}}


def an_event(name: str) -> Json:
    involved = {"kind": "Pod", "namespace": "default", "name": "mine"}
    return {
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": name, "namespace": "default"},
        "involvedObject": involved, "reason": "Started", "message": name, "type": "Normal",
    }  # fmt: skip


async def patch(client: aiohttp.ClientSession, reason: str) -> Json:
    body = json.dumps(ready(reason))
    async with client.patch(f"{MINE}/status", data=body, headers=MERGE) as answer:
        assert answer.status == 200, await answer.text()
        found: Json = await answer.json()
    return found


async def back(w: World) -> None:
    await w.server.start()
    await until(lambda: w.context.buses["cloud"].is_up, "the link is back", DEADLINE)


async def replayed(w: World) -> None:
    def is_empty() -> bool:
        waiting = w.hub._queue.pending
        return not (waiting["objects"] or waiting["events"])

    await until(is_empty, "all is replayed", DEADLINE)


async def at_the_server(w: World, path: str) -> Json:
    async with aiohttp.ClientSession(w.api.url) as direct, direct.get(path) as answer:
        assert answer.status == 200, await answer.text()
        found: Json = await answer.json()
    return found


async def test_status_written_offline_is_read_back_and_replayed(w: World) -> None:
    """OpenYurt #2137: it answered 200 with the object unchanged, and forgot it."""
    async with kubelet(w) as client:
        assert await names(client, PODS) == ["mine"]
        await cut(w)
        patched = await patch(client, "Offline")
        assert patched["status"]["conditions"][0]["reason"] == "Offline"
        async with client.get(MINE) as answer:
            assert (await answer.json())["status"] == patched["status"]
        async with client.get(f"{PODS}&resourceVersion=0") as answer:
            (listed,) = (await answer.json())["items"]
            assert listed["status"] == patched["status"]
        await patch(client, "Newest")
        await back(w)
        await replayed(w)
        found = await at_the_server(w, MINE)
        assert found["status"]["conditions"][0]["reason"] == "Newest"


async def test_a_live_watch_tells_local_changes_and_goes_on(w: World) -> None:
    async with kubelet(w) as client:
        assert await names(client, PODS) == ["mine"]
        query = "&watch=true&resourceVersion=0&allowWatchBookmarks=true"
        async with client.get(f"{PODS}{query}") as watch, asyncio.timeout(30):
            first = json.loads(await watch.content.readline())
            await cut(w)
            await patch(client, "Offline")
            event = json.loads(await watch.content.readline())
            assert event["type"] == "MODIFIED"
            assert event["object"]["status"]["conditions"][0]["reason"] == "Offline"
            was = first["object"]["metadata"]["resourceVersion"]
            assert event["object"]["metadata"]["resourceVersion"] == was
            bookmark = json.loads(await watch.content.readline())
            assert bookmark["type"] == "BOOKMARK"
            await back(w)
            await replayed(w)
            await create(w, a_pod("next"))
            seen: list[str] = []
            while "next" not in seen:
                event = json.loads(await watch.content.readline())
                seen.append(event["object"]["metadata"].get("name", ""))
                if event["type"] == "MODIFIED":  # never the state from before the cut
                    assert event["object"]["status"]["conditions"][0]["reason"] == "Offline"


async def test_events_are_replayed_once_and_in_order(w: World) -> None:
    """OpenYurt wrote them to disk and left them there."""
    wanted = [f"mine.{n:02}" for n in range(20)]
    async with kubelet(w) as client:
        await cut(w)
        for name in wanted:
            async with client.post(EVENTS, json=an_event(name)) as answer:
                assert answer.status == 201, await answer.text()
    await w.restart_hub()
    await back(w)
    await replayed(w)
    found = (await at_the_server(w, EVENTS))["items"]
    found.sort(key=lambda each: int(each["metadata"]["resourceVersion"]))
    assert [each["metadata"]["name"] for each in found] == wanted


async def test_after_a_restart_without_a_link_clients_read_what_they_wrote(w: World) -> None:
    async with kubelet(w) as client:
        assert await names(client, PODS) == ["mine"]
        await w.hub._disk.flush()
        await cut(w)
        await patch(client, "Offline")
    await w.restart_hub()
    async with kubelet(w) as client:
        async with client.get(f"{PODS}&resourceVersion=0") as answer:
            (listed,) = (await answer.json())["items"]
        assert listed["status"]["conditions"][0]["reason"] == "Offline"
        async with client.get(MINE) as answer:
            assert (await answer.json())["status"] == listed["status"]
    await back(w)
    await replayed(w)
    assert (await at_the_server(w, MINE))["status"]["phase"] == "Running"


async def test_what_cannot_be_done_later_is_refused(w: World) -> None:
    async with kubelet(w) as client:
        assert await names(client, PODS) == ["mine"]
        await cut(w)
        async with client.post("/api/v1/namespaces/default/pods", json=a_pod("new")) as answer:
            assert (answer.status, (await answer.json())["kind"]) == (503, "Status")
        async with client.delete("/api/v1/namespaces/default/configmaps/a") as answer:
            assert answer.status == 503
    async with (
        aiohttp.ClientSession(w.hub.url) as anybody,
        anybody.patch(f"{MINE}/status", data=json.dumps(ready("x")), headers=MERGE) as answer,
    ):
        assert answer.status == 503


async def test_without_its_api_server_writes_wait_as_well(w: World) -> None:
    async with kubelet(w) as client:
        assert await names(client, PODS) == ["mine"]
        await w.api.stop()
        patched = await patch(client, "Offline")
        assert patched["status"]["phase"] == "Running"
        assert w.hub._queue.pending["objects"] == 1


async def test_a_node_name_is_in_the_lease_that_it_renews_offline(w: World) -> None:
    path = f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{NODE}"
    lease: Json = {
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": NODE, "namespace": "kube-node-lease"},
        "spec": {"holderIdentity": NODE, "leaseDurationSeconds": 40},
    }  # fmt: skip
    async with kubelet(w) as client:
        async with client.post(path.rpartition("/")[0], json=lease) as answer:
            held: Json = await answer.json()
            assert answer.status == 201, held
        async with client.get(path) as answer:
            assert answer.status == 200
        await w.hub._disk.flush()
        await cut(w)
        for second in range(3):
            held["spec"]["renewTime"] = f"2026-11-25T00:00:0{second}.000000Z"
            async with client.put(path, json=held) as answer:
                held = await answer.json()
                assert answer.status == 200, held
        async with client.get(path) as answer:
            assert (await answer.json())["spec"]["renewTime"].startswith("2026-11-25T00:00:02")
