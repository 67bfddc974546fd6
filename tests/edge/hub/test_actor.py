"""The Hub actor: what it takes while it runs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import aiohttp
import msgspec
from loguru import logger
from prometheus_client import CollectorRegistry

from actors.actor import Context
from actors.kube import builtin
from bus.feed import Item
from bus.memory import MemoryBroker, MemoryBus
from bus.subjects import CATALOG
from edge.cache import CacheSettings
from edge.hub.actor import Hub, HubActorSettings
from edge.mirror import Scope
from tests.actors.until import until
from tests.edge.worlds import CloudFeed, owned_tasks

CM = builtin.CONFIGMAPS
SETTINGS = HubActorSettings("127.0.0.1", 0, fallback_after=-1.0)  # to the cloud at once


@asynccontextmanager
async def a_hub(path: Path, settings: HubActorSettings = SETTINGS) -> AsyncIterator[Hub]:
    """One that follows the cloud, where there is one object."""
    broker = MemoryBroker()
    site = MemoryBus(broker, "cloud")
    buses = {"cloud": MemoryBus(broker, "cloud"), "pool": MemoryBus(MemoryBroker(), "pool")}
    async with (
        owned_tasks() as tasks,
        CloudFeed(site, CATALOG) as catalog,
        CloudFeed(site, CM.feed) as objects,
    ):
        await catalog.put(CM.feed, 1, msgspec.json.encode(CM))
        await objects.put("default/a", 10, b'{"metadata":{"name":"a"}}')
        registry = CollectorRegistry()
        context = Context("pool-a", "node-1", "hub", buses, logger, registry, tasks, path)
        hub = Hub(context, settings)
        await hub.on_start()
        await until(lambda: hub._backend.feed(CM) is not None, "it has synced")
        yield hub
        await hub.on_stop()


async def test_bookmarks_come_as_often_as_the_newest_settings_say(tmp_path: Path) -> None:
    async with a_hub(tmp_path) as hub, aiohttp.ClientSession(hub.url) as client:
        await hub.on_config(replace(SETTINGS, serve=replace(SETTINGS.serve, bookmark=0.01)))
        query = "?watch=true&allowWatchBookmarks=true&resourceVersion=10"
        async with client.get(f"/api/v1/configmaps{query}") as watch, asyncio.timeout(3):
            assert b'"BOOKMARK"' in await watch.content.readline()


async def test_cut_off_it_tells_what_it_serves_itself(tmp_path: Path) -> None:
    async with a_hub(tmp_path) as hub, aiohttp.ClientSession(hub.url) as client:
        cloud = hub.context.buses["cloud"]
        assert isinstance(cloud, MemoryBus)
        cloud.set_link(False)
        async with client.get("/api/v1") as answer:
            assert [each["name"] for each in (await answer.json())["resources"]] == [CM.plural]
        async with client.get("/api/v1/pods") as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
        async with client.get("/api/v1/configmaps") as answer:
            assert answer.status == 200


async def test_it_can_be_stopped_before_it_has_started(tmp_path: Path) -> None:
    buses = {name: MemoryBus(MemoryBroker(), name) for name in ("cloud", "pool")}
    async with owned_tasks() as tasks:
        registry = CollectorRegistry()
        context = Context("pool-a", "node-1", "hub", buses, logger, registry, tasks, tmp_path)
        await Hub(context, SETTINGS).on_stop()


async def test_restarted_with_nobody_to_follow_it_serves_what_it_knew(tmp_path: Path) -> None:
    async with a_hub(tmp_path):
        pass
    buses = {name: MemoryBus(MemoryBroker(), name) for name in ("cloud", "pool")}
    async with owned_tasks() as tasks:
        registry = CollectorRegistry()
        context = Context("pool-a", "node-1", "hub", buses, logger, registry, tasks, tmp_path)
        hub = Hub(context, SETTINGS)
        await hub.on_start()
        async with aiohttp.ClientSession(hub.url) as client:
            async with client.get("/api/v1/configmaps?resourceVersion=0") as answer:
                found = await answer.json()
            assert [each["metadata"]["name"] for each in found["items"]] == ["a"]
            assert found["metadata"]["resourceVersion"] == "10"
        await hub.on_stop()


async def test_a_full_disk_keeps_longest_what_the_node_cannot_do_without(tmp_path: Path) -> None:
    """Though it was read longest ago."""
    disk = CacheSettings(linger=0.0, limit=400_000, touch_every=0.0)
    settings = replace(SETTINGS, disk=disk, identities={"kube-proxy": "system:kube-proxy"})
    users = ("", "system:kube-proxy", "token:a", "token:b", "token:c", "token:d")
    scopes = {user: Scope.of(user, builtin.PODS) for user in users}
    async with a_hub(tmp_path, settings) as hub:
        cache = hub._disk
        for user, scope in scopes.items():
            items = {f"n/{user}": Item(1, os.urandom(90_000))}
            cache.replace(scope.component, scope.query, 1, items)
            await cache.flush()
        held = {
            user
            for user, scope in scopes.items()
            if await cache.list(scope.component, scope.query) is not None
        }
    assert held >= {"", "system:kube-proxy", "token:d"}
    assert not held & {"token:a", "token:b"}
