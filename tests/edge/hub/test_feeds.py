"""A hub's feeds: which caches there are, and what becomes of their watchers."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
from loguru import logger

from actors.kube import builtin
from actors.kube.resource import Column, Resource
from actors.kube.watchcache import TooOld, WatchCache
from bus import subjects
from bus.feed import Change, FeedSettings, Position
from bus.memory import MemoryBroker, MemoryBus
from bus.subjects import CATALOG
from edge.hub.backend import HubBackend
from edge.hub.feeds import FollowedResource, HubFeeds, Making, Upstream
from tests.actors.until import until
from tests.edge.worlds import CloudFeed, owned_tasks

CM = builtin.CONFIGMAPS
OBJECT = b'{"metadata":{"name":"%s"}}'


class World:
    """A hub that follows one resource from the cloud."""

    def __init__(self, broker: MemoryBroker, feeds: HubFeeds) -> None:
        self.broker = broker
        self.node = MemoryBus(broker, "cloud")
        self.feeds = feeds
        site = MemoryBus(broker, "cloud")
        self.catalog, self.objects = CloudFeed(site, CATALOG), CloudFeed(site, CM.feed)
        self.backend = HubBackend(feeds, lambda: False, lambda: 5.0)
        self.versions = 0

    async def offer(self, resource: Resource) -> None:
        self.versions += 1
        await self.catalog.put(resource.feed, self.versions, msgspec.json.encode(resource))

    async def withdraw(self, resource: Resource) -> None:
        self.versions += 1
        await self.catalog.delete(resource.feed, self.versions)

    async def followed(self, objects: int = 1) -> FollowedResource:
        def is_there() -> bool:
            found = self.feeds.get(CM)
            return found is not None and found.cache.filled and len(found.cache) == objects

        await until(is_there, f"{objects} objects")
        found = self.feeds.get(CM)
        assert found is not None
        return found


@asynccontextmanager
async def a_hub() -> AsyncIterator[World]:
    broker = MemoryBroker()
    node = MemoryBus(broker, "cloud")
    async with owned_tasks() as tasks:
        making = Making(FeedSettings(), WatchCache, tasks.spawn, logger)
        world = World(broker, HubFeeds(Upstream(node, subjects.CLOUD_FEEDS), making))
        world.node = node
        async with world.catalog, world.objects:
            await world.feeds.start()
            await world.offer(CM)
            await world.objects.put("default/a", 10, OBJECT % b"a")
            yield world
            await world.feeds.stop()


async def test_what_only_looks_otherwise_ends_no_watch() -> None:
    async with a_hub() as world:
        followed = await world.followed()
        watcher = followed.cache.watch(10)
        shown = msgspec.structs.replace(CM, columns=(Column(name="Age"),), short_names=("c",))
        await world.offer(shown)
        await until(lambda: world.backend.resources() == (shown,), "it is shown anew")
        assert world.backend.resources() is world.backend.resources()
        await world.objects.put("default/b", 11, OBJECT % b"b")
        assert await world.followed(2) is followed
        taken = watcher.take()
        assert taken is not None
        assert [event.key for event in taken.events] == ["default/b"]


async def test_another_resource_of_the_same_name_starts_from_nothing() -> None:
    async with a_hub() as world:
        followed = await world.followed()
        watcher = followed.cache.watch(10)
        await world.offer(msgspec.structs.replace(CM, kind="Other"))
        await until(lambda: world.feeds.get(CM) is not followed, "it is made anew")
        with pytest.raises(TooOld):
            watcher.take()
        await world.followed()


async def test_a_resource_that_goes_ends_its_watches_and_comes_back_unknown() -> None:
    async with a_hub() as world:
        followed = await world.followed()
        watcher = followed.cache.watch(10)
        await world.withdraw(CM)
        await until(lambda: world.backend.resources() == (), "it is gone")
        with pytest.raises(TooOld):
            await until(lambda: watcher.take() is not None, "its end")
        assert world.backend.feed(CM) is None
        with pytest.raises(TooOld):  # one whose request was under way
            followed.cache.watch(None)
        await world.objects.delete("default/a", 12)
        await world.offer(CM)
        await until(lambda: world.feeds.get(CM) is not None, "it is back")
        assert await world.followed(0) is not followed
        with pytest.raises(TooOld):  # what was deleted meanwhile is not known here
            (await world.followed(0)).cache.watch(11)


async def test_who_was_ahead_of_a_step_that_is_not_exact_must_list_anew() -> None:
    """What it saw elsewhere may have come and gone within that step: it would keep it for ever."""
    async with a_hub() as world:
        followed = await world.followed()
        ahead = followed.cache.watch(15)
        step = [Change("default/b", 18, OBJECT % b"b")]
        await world.objects.publisher.publish(step, Position(1, 20), exact=False)
        await world.followed(2)
        for attempt in (ahead.take, lambda: followed.cache.watch(15)):
            with pytest.raises(TooOld):
                attempt()
        followed.cache.watch(10)
        again = followed.cache.watch(25)
        await world.objects.put("default/c", 30, OBJECT % b"c")
        await world.followed(3)
        taken = again.take()
        assert taken is not None
        assert [event.key for event in taken.events] == ["default/c"]


async def test_resources_are_known_once_the_catalog_is_followed() -> None:
    """An empty list of resources must not pass for the truth."""
    async with a_hub() as world:
        assert not world.backend.resources_known()
        assert world.backend.health()["catalog"]
        await until(world.backend.resources_known, "the catalog is known")
        assert world.backend.resources() == (CM,)


async def test_who_waits_for_fresh_data_is_told_when_nothing_has_changed() -> None:
    async with a_hub() as world:
        followed = await world.followed()
        assert followed.follower is not None
        followed.follower.core.turn()  # as after a cut: a sync is due
        followed.follower._as_of -= 60
        assert followed.is_catching_up
        source = world.backend.feed(CM)
        assert source is not None
        fresh = source.wait_version(None, 60.0)
        world.broker.cut(world.node)
        world.broker.heal(world.node)
        async with asyncio.timeout(3):
            assert await fresh


async def test_the_warning_says_how_old_or_that_nobody_knows() -> None:
    async with a_hub() as world:
        followed = await world.followed()
        assert followed.follower is not None
        await until(lambda: followed.age < 1, "it is fresh")
        source = world.backend.feed(CM)
        assert source is not None
        assert source.warning() is None
        followed.follower._as_of -= 60
        assert "current 60 s ago" in (source.warning() or "")
        # From a coordinator that has only its table: the cloud is cut off since before it started.
        followed.follower._as_of = -math.inf
        assert source.warning() == "served from the edge cache, nobody knows how old"
