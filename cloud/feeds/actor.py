"""The Feeds actor: keeps one feed per configured resource, and the catalog of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from actors.actor import Actor, Context
from actors.backoff import Backoff, RestartPolicy
from actors.kube.builtin import CRDS
from actors.kube.client import ApiAccess, ClusterClient
from actors.kube.client_errors import KubeError
from actors.kube.discovery import discover, resolve
from actors.kube.reflector import (
    METADATA_ONLY,
    Reflector,
    ReflectorSettings,
    ResourceGone,
    SourceBatch,
)
from actors.kube.resource import Resource
from bus import subjects
from bus.feed.publishing import FeedPublisher, Ticker
from bus.feed.settings import FeedSettings
from bus.feed.types import Position
from cloud.feeds.memory import SourceMemory
from cloud.feeds.metrics import feed_figures
from cloud.feeds.plan import catalog_changes, pick_all, step
from cloud.feeds.source import Making, SourceFeed

MEMORY = "feeds.json"
GATHER = 0.05  # seconds; CRDs come in bursts, one look will do
LOOKS = RestartPolicy(first=1.0, factor=1.5, ceiling=10.0)


@dataclass(frozen=True)
class FeedsSettings:
    """See configs.schema.Feeds for units and reasons. `resources` may change while we run."""

    resources: tuple[str, ...]
    access: ApiAccess = field(default_factory=ApiAccess)
    feed: FeedSettings = field(default_factory=FeedSettings)
    tick: float = 1.0
    reflector: ReflectorSettings = field(default_factory=ReflectorSettings)
    retry: RestartPolicy = LOOKS
    """Pauses between looks for a resource that is not there (its CRD may come)."""
    refresh: float = 300.0
    """Seconds after which discovery is read again: a CRD's columns or versions may have changed."""


class Feeds(Actor[FeedsSettings]):
    def __init__(self, context: Context, settings: FeedsSettings) -> None:
        super().__init__(context, settings)
        self._bus = context.buses["cloud"]
        self._memory = SourceMemory(context.state / MEMORY, context.log, context.clock.wall)
        self._client = ClusterClient(settings.access, f"atoll/{context.site}")
        self._feeds: dict[str, SourceFeed] = {}
        self._found: dict[str, Resource] = {}  # by the name in the site file
        self._unknown: dict[str, str] = {}
        self._error = ""  # why discovery fails
        self._look = asyncio.Event()  # something asks for a look at discovery
        self._applying = asyncio.Lock()  # feeds start and end one step after the other
        self._telling = asyncio.Lock()  # so do versions of the catalog
        self._catalog = FeedPublisher(
            self._bus, subjects.CLOUD_FEEDS, subjects.CATALOG, settings.feed
        )
        self._ticker = Ticker(
            self._bus, subjects.CLOUD_FEEDS, self._Publishers(self), settings.tick
        )
        self._making = Making(
            client=self._client,
            bus=self._bus,
            subjects=subjects.CLOUD_FEEDS,
            feed=settings.feed,
            reflector=settings.reflector,
            memory=self._memory,
            spawn=context.tasks.spawn,
            log=context.log,
        )

    class _Publishers:
        """All publishers of the moment, for the ticker."""

        def __init__(self, feeds: Feeds) -> None:
            self._of = feeds

        def __iter__(self) -> Iterator[FeedPublisher]:
            yield self._of._catalog
            yield from [feed.publisher for feed in self._of._feeds.values()]

    # -- life

    async def on_start(self) -> None:
        spawn = self.context.tasks.spawn
        spawn("memory", self._memory.run())
        self._catalog.start(spawn)
        self._ticker.start(spawn)
        self.context.metrics.register(feed_figures(self._feeds, lambda: self._unknown))
        # What was there before is there again at once, even if the API server is not up yet.
        before = self._memory.resources
        self._found = {name: before[name] for name in self.settings.resources if name in before}
        if self._found:
            await self._apply()
        spawn("resources", self._keep_resources())
        spawn("definitions", self._watch_definitions())

    async def on_config(self, settings: FeedsSettings) -> None:
        if replace(settings, resources=()) != replace(self.settings, resources=()):
            raise ValueError("only the list of resources can change while the feeds run")
        await super().on_config(settings)
        self._look.set()

    async def on_stop(self) -> None:
        try:
            await self._ticker.stop()
            for feed in list(self._feeds.values()):
                await feed.stop()
            await self._catalog.stop()
        finally:
            await self._client.close()
            self._memory.save()

    # -- resources

    async def _keep_resources(self) -> None:
        tries = Backoff(self.settings.retry)
        while True:
            self._look.clear()
            whole = await self._discover()
            pause = self.settings.refresh if whole else tries.failed(0)
            if whole:
                tries.failures = 0
            try:
                async with asyncio.timeout(pause):
                    await self._look.wait()
                tries.failures = 0
                await asyncio.sleep(GATHER)
            except TimeoutError:
                continue

    async def _watch_definitions(self) -> None:
        """A CRD that comes, goes or changes is a reason to look. Where they may not be read,
        new resources are found a little later."""
        reflector = Reflector(
            self._client,
            CRDS,
            self._on_definitions,
            self.context.log,
            settings=self.settings.reflector,
            accept=METADATA_ONLY,
        )
        with suppress(ResourceGone):
            await reflector.run()

    async def _on_definitions(self, batch: SourceBatch) -> None:
        if batch.changes:
            self._look.set()

    async def _discover(self) -> bool:
        """One look; True if every resource was found."""
        names = self.settings.resources
        try:
            offered = await discover(self._client)
            picked = pick_all(names, offered)
            found = {
                n: await resolve(self._client, r.name, offered) for n, r in picked.found.items()
            }
        except KubeError as error:
            self._note_error(str(error))
            return False
        self._note_error("")
        self._note_unknown(picked.unknown)
        # One that runs but is not offered may be hidden by a server that starts: its reflector
        # knows better, and tells when it is gone.
        live = {feed for feed, source in self._feeds.items() if not source.is_over}
        kept = {n: r for n, r in self._found.items() if n in picked.unknown and r.feed in live}
        self._found = {name: (found | kept)[name] for name in names if name in found | kept}
        await self._apply()
        return not picked.unknown

    async def _apply(self) -> None:
        async with self._applying:
            # Also where a look that began before its end has found it again.
            for name in [feed for feed, source in self._feeds.items() if source.is_over]:
                await self._end(name)
            running = {feed: source.resource for feed, source in self._feeds.items()}
            todo = step(running, self._found.values())
            for name in todo.stop:
                await self._end(name)
            for resource in todo.start:
                self.context.log.info("feed {} starts", resource.feed)
                self._start(resource)
            self._memory.keep_resources(self._found)
            await self._publish_catalog()

    async def _end(self, name: str) -> None:
        self.context.log.info("feed {} ends", name)
        await self._feeds.pop(name).stop()

    def _start(self, resource: Resource) -> None:
        feed = SourceFeed(resource, self._making, self._on_lineage, self._on_gone)
        self._feeds[resource.feed] = feed
        feed.start()

    async def _publish_catalog(self) -> None:
        async with self._telling:
            await self._catalog.drain()
            changes = catalog_changes(self._catalog.items, self._found.values())
            lineage = self._memory.lineage
            if changes or lineage != self._catalog.position.lineage:
                version = self._memory.next_catalog()
                stamped = [change._replace(version=version) for change in changes]
                await self._catalog.publish(stamped, Position(lineage, version))
        self._ticker.poke()

    def _on_lineage(self) -> None:
        """A feed has entered a lineage: the others and the catalog follow."""
        for feed in self._feeds.values():
            feed.follow_lineage()
        self.context.tasks.spawn("catalog lineage", self._publish_catalog())

    def _on_gone(self, feed: SourceFeed) -> None:
        self._found = {n: r for n, r in self._found.items() if r.feed != feed.resource.feed}
        self.context.tasks.spawn(f"end {feed.resource.feed}", self._end_what_is_gone())

    async def _end_what_is_gone(self) -> None:
        await self._apply()
        self._look.set()

    # -- picture

    def _note_error(self, error: str) -> None:
        if error and not self._error:
            self.context.log.info("the API server cannot be asked for its resources: {}", error)
        self._error = error

    def _note_unknown(self, unknown: dict[str, str]) -> None:
        for name, why in unknown.items():
            if name not in self._unknown:
                self.context.log.error("feeds.resources: {}; the others go on, it may come", why)
        for name in self._unknown.keys() - unknown.keys():
            self.context.log.info("feeds.resources: {} is no longer missing", name)
        self._unknown = unknown

    def status(self) -> dict[str, Any]:
        return {
            "lineage": self._memory.lineage,
            "error": self._error,
            "unknown": dict(self._unknown),
            "feeds": {name: feed.status() for name, feed in self._feeds.items()},
        }
