"""Filters at work in a hub: what a component sees, and that watchers are told when that changes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from loguru import logger
from prometheus_client import CollectorRegistry

from actors.actor import Context
from actors.kube import builtin
from bus import subjects
from bus.memory import MemoryBroker, MemoryBus
from bus.subjects import CATALOG
from configs.schema import FilterRule, HubFilters, RuleMatch
from edge.hub.actor import Hub, HubActorSettings
from tests.actors.until import until
from tests.edge.worlds import CloudFeed, owned_tasks

SERVICES = builtin.SERVICES
SETTINGS = HubActorSettings(
    "127.0.0.1", 0, fallback_after=-1.0, components={"*": ("*",)}, members=("node-1",)
)
PROXY = {"User-Agent": "kube-proxy/v1.36.2 (linux/amd64) kubernetes/98b3519"}
PATH = "/api/v1/services"
Json = dict[str, Any]
NO_SECRETS = FilterRule(
    name="hide", match=RuleMatch(components=("kube-proxy",), labels="hidden"), action="drop"
)


def a_service(name: str, version: int, **meta: Any) -> bytes:
    meta |= {"name": name, "namespace": "default", "resourceVersion": str(version)}
    return msgspec.json.encode(
        {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"type": "ClusterIP"}}
    )


class World:
    def __init__(self, hub: Hub, feed: CloudFeed) -> None:
        self.hub = hub
        self.feed = feed

    async def put(self, name: str, version: int, **meta: Any) -> None:
        await self.feed.put(f"default/{name}", version, a_service(name, version, **meta))


@asynccontextmanager
async def a_world(path: Path) -> AsyncIterator[World]:
    broker = MemoryBroker()
    site = MemoryBus(broker, "cloud")
    buses = {"cloud": MemoryBus(broker, "cloud"), "pool": MemoryBus(MemoryBroker(), "pool")}
    async with (
        owned_tasks() as tasks,
        CloudFeed(site, CATALOG, subjects.CLOUD_FEEDS) as catalog,
        CloudFeed(site, SERVICES.feed) as feed,
    ):
        await catalog.put(SERVICES.feed, 1, msgspec.json.encode(SERVICES))
        registry = CollectorRegistry()
        context = Context("pool-a", "node-1", "hub", buses, logger, registry, tasks, path)
        hub = Hub(context, SETTINGS)
        world = World(hub, feed)
        await world.put("plain", 10)
        await world.put("secret", 11, labels={"hidden": "yes"})
        await hub.on_start()
        await until(lambda: hub._backend.feed(SERVICES) is not None, "it has synced")
        yield world
        await hub.on_stop()


async def listed(client: aiohttp.ClientSession) -> list[str]:
    async with client.get(PATH) as answer:
        assert answer.status == 200, await answer.text()
        return [each["metadata"]["name"] for each in (await answer.json())["items"]]


async def told(watch: aiohttp.ClientResponse) -> tuple[str, str]:
    async with asyncio.timeout(5):
        event = json.loads(await watch.content.readline())
    return event["type"], event["object"]["metadata"]["name"]


async def test_a_component_does_not_see_what_is_hidden_from_it(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        await world.hub.on_config(replace(SETTINGS, filters=HubFilters(rules=(NO_SECRETS,))))
        async with aiohttp.ClientSession(world.hub.url, headers=PROXY) as proxy:
            assert await listed(proxy) == ["plain"]
            async with proxy.get("/api/v1/namespaces/default/services/secret") as answer:
                assert answer.status == 404
        async with aiohttp.ClientSession(world.hub.url) as anybody:
            assert await listed(anybody) == ["plain", "secret"]


async def test_objects_that_come_to_be_hidden_are_deleted_for_watchers(tmp_path: Path) -> None:
    """OpenYurt #1995: it said nothing, and kube-proxy kept them."""
    async with a_world(tmp_path) as world:
        await world.hub.on_config(replace(SETTINGS, filters=HubFilters(rules=(NO_SECRETS,))))
        async with (
            aiohttp.ClientSession(world.hub.url, headers=PROXY) as proxy,
            proxy.get(f"{PATH}?watch=true&resourceVersion=0") as watch,
        ):
            assert await told(watch) == ("ADDED", "plain")
            await world.put("plain", 12, labels={"hidden": "now"})
            assert await told(watch) == ("DELETED", "plain")
            await world.put("secret", 13)
            assert await told(watch) == ("ADDED", "secret")


async def test_filters_that_are_edited_are_seen_by_who_watches(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        await world.hub.on_config(replace(SETTINGS, filters=HubFilters(rules=(NO_SECRETS,))))
        async with (
            aiohttp.ClientSession(world.hub.url, headers=PROXY) as proxy,
            proxy.get(f"{PATH}?watch=true&resourceVersion=0") as watch,
        ):
            assert await told(watch) == ("ADDED", "plain")
            await world.hub.on_config(SETTINGS)
            assert await told(watch) == ("ADDED", "secret")
            await world.hub.on_config(replace(SETTINGS, filters=HubFilters(rules=(NO_SECRETS,))))
            assert await told(watch) == ("DELETED", "secret")


async def test_a_first_filter_reaches_who_has_watched_without(tmp_path: Path) -> None:
    """He is sent away with a clean end, and told the difference when he comes again."""
    disabled = replace(SETTINGS, filters=HubFilters(disabled=("*",)))
    async with a_world(tmp_path) as world:
        await world.hub.on_config(disabled)
        async with aiohttp.ClientSession(world.hub.url, headers=PROXY) as proxy:
            async with proxy.get(f"{PATH}?watch=true&resourceVersion=0") as watch:
                assert await told(watch) == ("ADDED", "plain")
                assert await told(watch) == ("ADDED", "secret")
                rules = HubFilters(disabled=("*",), rules=(NO_SECRETS,))
                await world.hub.on_config(replace(SETTINGS, filters=rules))
                async with asyncio.timeout(5):
                    assert await watch.content.read() == b""
            async with proxy.get(f"{PATH}?watch=true&resourceVersion=11") as watch:
                assert await told(watch) == ("DELETED", "secret")
