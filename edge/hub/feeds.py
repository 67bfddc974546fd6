"""A hub's feeds: one follower and one watch cache per resource that the catalog names."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from actors.kube.resource import Resource
from actors.kube.watchcache import WatchCache
from bus.api import Bus
from bus.feed import Batch, FeedFollower, FeedSettings, FeedSubjects, Item
from bus.feed.ticks import Ticks
from bus.subjects import CATALOG
from edge.hub.keeping import FeedDisk, FeedKeeper, contents_of
from edge.hub.progress import Progress

if TYPE_CHECKING:
    from loguru import Logger


@dataclass(frozen=True)
class Upstream:
    """Where feeds are followed from at the moment."""

    bus: Bus
    subjects: FeedSubjects


class FollowedResource:
    """One resource as served: the follower's objects and the watch cache share the same bytes."""

    def __init__(self, resource: Resource, cache: WatchCache) -> None:
        self.resource = resource
        self.cache = cache
        self.progress = Progress()
        self.follower: FeedFollower | None = None

    @property
    def age(self) -> float:
        """Seconds since the contents were known to be current; inf before the first sync."""
        return self.follower.age() if self.follower is not None else float("inf")

    async def apply(self, batch: Batch) -> None:
        """After a rollback of the source clients list anew (410); else they just go on.

        The first fill is no history: who comes with an older version must list (410), because what
        was deleted meanwhile is not known here.
        """
        version = batch.position.version
        if batch.reset:
            self.cache.reset(batch.changes, version)
        elif self.cache.filled:
            self.cache.apply(batch.changes, version, batch.exact)
        elif self.follower is not None:
            self.cache.replace(self.follower.items, version)
        self.progress.moved()

    @property
    def is_catching_up(self) -> bool:
        """Whether a sync is under way that may soon make it current."""
        if self.follower is None:
            return False
        # A publisher that is behind us makes us no fresher, and that may last.
        return not (self.follower.core.is_live or self.follower.core.is_behind)


@dataclass(frozen=True)
class Making:
    """How followers and caches are made."""

    feed: FeedSettings
    cache: Callable[[Resource], WatchCache]
    spawn: Callable[[str, Coroutine[Any, Any, None]], asyncio.Task[None]]
    log: Logger
    disk: FeedDisk | None = None  # where they are kept across restarts


class HubFeeds:
    """Follows the catalog and all that it names from one upstream at a time.

    A change of upstream keeps all objects: a follower syncs by difference and never goes back.
    It begins with what the disk holds, whoever can be reached.
    """

    def __init__(self, upstream: Upstream, making: Making) -> None:
        self._upstream = upstream
        self._making = making
        self._followed: dict[str, FollowedResource] = {}
        self._served: tuple[Resource, ...] = ()
        self._catalog_known = False
        self._catalog_changed = asyncio.Event()
        self._ticks = Ticks()  # one subscription for all: a tick crosses the link once
        self._keeper = FeedKeeper(making.disk, making.log)
        self._catalog = self._follower(CATALOG, self._on_catalog)

    async def start(self) -> None:
        held = await self._keeper.load(CATALOG)
        self._keeper.follow(CATALOG, held, lambda: self._catalog.items, self._catalog.age)
        if held is not None:
            self._catalog.restore(held.items, held.position, age=held.age)
            await self._follow_wanted()
        self._catalog.start(self._making.spawn)
        self._making.spawn("catalog", self._keep_followers())
        self._making.spawn("feeds-on-disk", self._keeper.run())

    async def stop(self) -> None:
        await self._catalog.stop()
        while self._followed:
            await self._drop(next(iter(self._followed)))

    async def move(self, upstream: Upstream) -> None:
        self._upstream = upstream
        for follower in self.followers.values():
            await follower.move(upstream.bus, upstream.subjects)

    def resources(self) -> tuple[Resource, ...]:
        """The same tuple until it changes."""
        return self._served

    def get(self, resource: Resource) -> FollowedResource | None:
        return self._followed.get(resource.feed)

    @property
    def followed(self) -> Mapping[str, FollowedResource]:
        return self._followed

    @property
    def followers(self) -> Mapping[str, FeedFollower]:
        """By feed, the catalog's included."""
        found = {CATALOG: self._catalog}
        for name, followed in self._followed.items():
            if followed.follower is not None:
                found[name] = followed.follower
        return found

    @property
    def catalog_known(self) -> bool:
        """Whether `resources` are all that there are; before that nothing is known of others."""
        return self._catalog_known

    async def _on_catalog(self, batch: Batch) -> None:
        self._keeper.note(CATALOG, batch)
        self._catalog_changed.set()

    async def _keep_followers(self) -> None:
        while True:
            await self._catalog_changed.wait()
            self._catalog_changed.clear()
            await self._follow_wanted()

    async def _follow_wanted(self) -> None:
        wanted = read_catalog(self._catalog.items, self._making.log)
        for feed in [feed for feed in self._followed if self._is_outdated(feed, wanted)]:
            await self._drop(feed)
            self._keeper.drop(feed)
        for feed in sorted(wanted.keys() - self._followed.keys()):
            await self._follow(feed, wanted[feed])
        for feed, followed in self._followed.items():
            followed.resource = wanted[feed]
        self._serve_what_is_followed()
        self._catalog_known = True

    def _is_outdated(self, feed: str, wanted: Mapping[str, Resource]) -> bool:
        """What only looks otherwise (columns, short names) goes on, and so do its watches."""
        old, new = self._followed[feed].resource, wanted.get(feed)
        return new is None or _reading(old) != _reading(new)

    async def _follow(self, feed: str, resource: Resource) -> None:
        followed = FollowedResource(resource, self._making.cache(resource))
        followed.follower = self._follower(
            feed, partial(self._on_batch, feed, followed), followed.progress.moved
        )
        held = await self._keeper.load(feed)
        contents = partial(contents_of, followed.cache)
        self._keeper.follow(feed, held, contents, followed.follower.age)
        if held is not None:
            followed.follower.restore(held.items, held.position, age=held.age)
            followed.cache.replace(held.items, held.position.version)
        self._followed[feed] = followed
        self._serve_what_is_followed()
        followed.follower.start(self._making.spawn)

    async def _on_batch(self, feed: str, followed: FollowedResource, batch: Batch) -> None:
        await followed.apply(batch)
        self._keeper.note(feed, batch)

    async def _drop(self, feed: str) -> None:
        followed = self._followed.pop(feed)
        self._serve_what_is_followed()
        if followed.follower is not None:
            await followed.follower.stop()
        followed.cache.close()  # ends its watches

    def _serve_what_is_followed(self) -> None:
        served = tuple(followed.resource for followed in self._followed.values())
        if served != self._served:
            self._served = served

    def _follower(
        self,
        feed: str,
        on_batch: Callable[[Batch], Awaitable[None]],
        on_live: Callable[[], None] = lambda: None,
    ) -> FeedFollower:
        up, settings = self._upstream, self._making.feed
        return FeedFollower(
            up.bus, up.subjects, feed, settings, on_batch, ticks=self._ticks, on_live=on_live
        )


def _reading(resource: Resource) -> tuple[object, ...]:
    """What a cache's contents and its selectors depend on."""
    return resource.kind, resource.namespaced, resource.selectable_fields


def read_catalog(items: Mapping[str, Item], log: Logger) -> dict[str, Resource]:
    """The resources by feed name; an entry that cannot be read is left out and named."""
    resources: dict[str, Resource] = {}
    for feed, item in items.items():
        try:
            resources[feed] = msgspec.json.decode(item.data, type=Resource)
        except msgspec.DecodeError as error:
            log.error("catalog entry {} cannot be read and is left out: {}", feed, error)
    return resources
