"""The Hub actor: follows the feeds, serves them on the node's loopback port."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from actors.actor import Actor, Context
from actors.figures import Figure, Figures, one
from actors.kube.resource import Resource
from actors.kube.serve.api import Hooks, RequestInfo, ServeSettings
from actors.kube.serve.app import WATCHES, build_app
from actors.kube.serve.server import Server, start_server
from actors.kube.watchcache import CacheSettings, WatchCache
from bus import subjects
from bus.api import Message, Subscription
from bus.feed import FeedSettings
from bus.fence import Guard, Guarded
from bus.keys import NodeKey
from bus.stream import StreamClient, StreamSettings
from configs.schema import HubFilters
from edge.cache import CacheSettings as DiskSettings
from edge.cache import DiskCache
from edge.filters import HubAddress, KnownInputs
from edge.hub.asked import Policy, is_critical
from edge.hub.backend import HubBackend
from edge.hub.borrowed import Borrowed, Borrower
from edge.hub.components import component_of
from edge.hub.condition import Autonomy
from edge.hub.documents import Documents
from edge.hub.feeds import HubFeeds, Making, Upstream
from edge.hub.gets import Gets
from edge.hub.kinds import Kinds
from edge.hub.later import Later, NodeObjects
from edge.hub.local import LocalObjects
from edge.hub.requests import NodeRequests
from edge.hub.seats import Level, Seats, SeatSettings
from edge.hub.secure.port import SecurePort, SecureSettings, by_token_or_nobody
from edge.hub.secure.remembered import ReviewFile
from edge.hub.secure.reviews import Reviews
from edge.hub.sitekey import SiteKey
from edge.hub.sources import Source, choose
from edge.hub.traffic import Traffic
from edge.hub.uplink import Uplink
from edge.hub.views import Views
from edge.hub.way import Way, Ways, WaySettings
from edge.hub.writes import Writes
from edge.metrics import follower_figures
from edge.mirror import Mirrors, MirrorSettings
from edge.offline import Offline, OfflineSettings

SITE_KEY = "cloud.pub"
if TYPE_CHECKING:
    from aiohttp import web

DISK = "cache.db"  # in the node's state directory
QUEUE = "writes.db"
REVIEWS = "reviews.json"
SHOWN_REPORTS = 20  # in the status; the log and the queue's file have the rest
LOOK = 0.25  # seconds between looks at the sources; well below every bound that depends on it


@dataclass(frozen=True)
class HubActorSettings:
    """See configs.schema.HubSettings for units and reasons."""

    host: str
    port: int
    stale_after: float = 5.0
    fallback_after: float = 3.0
    cache: CacheSettings = field(default_factory=CacheSettings)
    serve: ServeSettings = field(default_factory=ServeSettings)
    feed: FeedSettings = field(default_factory=FeedSettings)
    identities: Mapping[str, str] = field(default_factory=dict)
    stream: StreamSettings = field(default_factory=StreamSettings)
    seed_file: Path | None = None  # the node's; None: it borrows no link
    way: WaySettings = field(default_factory=WaySettings)
    disk: DiskSettings = field(default_factory=DiskSettings)
    components: Mapping[str, Sequence[str]] = field(default_factory=dict)  # whose reads are kept
    filters: HubFilters = field(default_factory=HubFilters)
    seats: SeatSettings = field(default_factory=SeatSettings)
    secure: SecureSettings | None = None  # the TLS port for pods
    members: Sequence[str] = ()  # the pool's nodes, as the site file has them


class Hub(Actor[HubActorSettings]):
    def __init__(self, context: Context, settings: HubActorSettings) -> None:
        super().__init__(context, settings)
        self._cloud = context.buses["cloud"]
        self._pool = context.buses["pool"]
        self._guard = Guard()
        self._source = Source.POOL
        self._heard_pool = context.clock.monotonic()
        # Each hub its own hold-back: a pool without coordinator does not ask the cloud in step.
        self._jitter = random.uniform(0.0, 1.0)
        self._ticks: Subscription | None = None
        disk = replace(
            settings.disk, critical=lambda owner: is_critical(owner, self.settings.identities)
        )
        self._disk = DiskCache(context.state / DISK, disk, log=context.log)
        inputs = KnownInputs(context.node, context.site, settings.members)
        self._views = Views(settings.filters, inputs, self._has_feed, context.log)
        self._feeds = HubFeeds(self._upstream(Source.POOL), self._making())
        self._backend = HubBackend(
            self._feeds, self._is_cut_off, lambda: self.settings.stale_after, self._views.shown,
            self._may_read, self._trouble,
        )  # fmt: skip
        queue_settings = OfflineSettings(node=context.node)
        self._objects = NodeObjects(lambda: self._mirrors)
        self._queue = Offline(
            context.state / QUEUE, queue_settings, self._objects, context.clock.wall,
            log=context.log,
        )  # fmt: skip
        self._later = Later(self._queue, self._objects)
        self._site_key = SiteKey(context.state / SITE_KEY, context.log)
        own = StreamClient(self._cloud, context.site, context.node, settings.stream)
        self._ways = Ways(own, self._borrowed(), context.log, settings.way, context.clock.monotonic)
        self._uplink = Uplink(
            self._ways, lambda: self.settings.identities, self._backend.wait_version
        )
        self._mirrors = Mirrors(
            self._ways, self._disk, self._mirror_settings(), spawn=context.tasks.spawn,
            log=context.log, clock=context.clock.monotonic, writes=self._later,
        )  # fmt: skip
        clock = context.clock
        self._reviews = Reviews(self._uplink, clock.monotonic, clock.wall)
        self._review_file = ReviewFile(context.state / REVIEWS, self._reviews, context.log)
        self._seats = Seats(settings.seats)
        self._traffic = Traffic({*settings.components, *settings.identities})
        hooks = Hooks(
            passthrough=self._requests(),
            passes_discovery=lambda: True,
            authenticate=partial(by_token_or_nobody, self._reviews),
            admits_nobody=True,
            admit=self._admit,
            begin=self._traffic.begin,
        )
        self._app = build_app(self._backend, hooks, settings.serve)
        self._secure: SecurePort | None = None
        if settings.secure is not None:
            self._secure = SecurePort(
                settings.secure, self._backend, hooks, settings.serve, self._reviews,
                context.state, context.node, clock.wall, context.log,
            )  # fmt: skip
        self._server: Server | None = None
        self._moves = 0
        context.metrics.register(Figures(*self._figures()))

    def _figures(self) -> tuple[Figure, ...]:
        return (
            *follower_figures("atoll_hub_feed", lambda: self._feeds.followers),
            Figure(
                "atoll_hub_source",
                "Whom the hub follows (1: this one)",
                lambda: {source.value: float(source is self._source) for source in Source},
                "source",
            ),
            Figure(
                "atoll_hub_source_changes",
                "Changes of whom the hub follows",
                one(lambda: self._moves),
                is_counter=True,
            ),
            Figure(
                "atoll_hub_way",
                "Which way requests go to the API server (1: this one)",
                lambda: {way.value: float(way is self._ways.way) for way in Way},
                "way",
            ),
            Figure(
                "atoll_hub_way_changes",
                "Changes of the way",
                one(lambda: self._ways.changes),
                is_counter=True,
            ),
            Figure(
                "atoll_hub_watches_resumed",
                "Watches of the API server that went on after a break, unseen by their clients",
                one(lambda: self._uplink.resumed),
                is_counter=True,
            ),
            Figure(
                "atoll_hub_writes_waiting",
                "Writes that wait for the API server",
                lambda: {what: float(count) for what, count in self._queue.pending.items()},
                "what",
            ),
            Figure(
                "atoll_hub_offline_writes",
                "What became of writes that came while the API server could not be asked",
                lambda: {what: float(count) for what, count in self._queue.counts.items()},
                "what",
                is_counter=True,
            ),
            Figure(
                "atoll_hub_unfiltered",
                "Objects shown as they are because a filter failed",
                lambda: {name: float(count) for name, count in self._views.troubles.items()},
                "filter",
                is_counter=True,
            ),
            *self._traffic.figures(),
            Figure(
                "atoll_hub_in_flight",
                "Requests that are worked on, by level",
                lambda: {level: float(count) for level, count in self._seats.taken.items()},
                "level",
            ),
            Figure(
                "atoll_hub_waiting",
                "Requests that wait for a seat, by level",
                lambda: {level: float(count) for level, count in self._seats.waiting.items()},
                "level",
            ),
            Figure(
                "atoll_hub_mirror_age_seconds",
                "Age of the oldest of what is mirrored and read, by resource",
                self._mirror_ages,
                "resource",
            ),
            Figure(
                "atoll_hub_refused",
                "Requests that found no seat (429), by level",
                lambda: {level: float(count) for level, count in self._seats.refused.items()},
                "level",
                is_counter=True,
            ),
            Figure(
                "atoll_hub_fenced_messages",
                "Messages of a replaced coordinator, refused",
                one(lambda: self._guard.refused),
                is_counter=True,
            ),
        )

    async def on_start(self) -> None:
        await self._disk.start(self.context.tasks.spawn)
        await self._queue.start()
        self._ticks = await self._guarded().subscribe(subjects.POOL_FEEDS.tick, self._on_pool_tick)
        await self._feeds.start()
        await self._ways.start(self.context.tasks.spawn, self._site_key)
        self._mirrors.start()
        self.context.tasks.spawn("replay", self._later.run(self._ways, self._uplink))
        clock = self.context.clock.wall
        autonomy = Autonomy(self.context.node, self._trouble, self._uplink, clock, self.context.log)
        self.context.tasks.spawn("autonomy", autonomy.run())
        self.context.tasks.spawn("sources", self._follow_best_source())
        self._review_file.load()
        self.context.tasks.spawn("reviews", self._review_file.run())
        self._server = await start_server(self._app, self.settings.host, self.settings.port)
        self.context.log.info("serves the Kubernetes API on {}", self.url)
        if self._secure is not None:
            self.context.tasks.spawn("secure port", self._secure.run(self._on_secure))

    def _on_secure(self, host: str, port: int) -> None:
        change = self._views.inputs.set_hub(HubAddress(host, port))
        if change is not None:
            self._views.tell(change)

    async def on_config(self, settings: HubActorSettings) -> None:
        await super().on_config(settings)
        self._app[WATCHES].configure(settings.serve)
        await self._views.configure(settings.filters)
        self._app[WATCHES].dismiss(self._is_outsider)
        if self._secure is not None:
            self._secure.app[WATCHES].configure(settings.serve)
            self._secure.app[WATCHES].dismiss(self._is_outsider)

    async def on_stop(self) -> None:
        self._uplink.close()
        if self._secure is not None:
            await self._secure.stop()
        server, self._server = self._server, None
        if server is not None:
            await server.stop()
        if self._ticks is not None:
            await self._ticks.unsubscribe()
        await self._mirrors.close()
        await self._ways.stop()
        await self._feeds.stop()
        await self._queue.stop()
        await self._review_file.save()
        await self._disk.close()

    @property
    def url(self) -> str:
        """Where it serves, "" while it does not; a port of 0 was chosen by the system."""
        if self._server is None:
            return ""
        return f"http://{self._server.host}:{self._server.port}"

    def _borrowed(self) -> Borrowed | None:
        """None without a key: nobody would believe us."""
        if self.settings.seed_file is None:
            return None
        context = self.context
        key = NodeKey.load_or_create(self.settings.seed_file)
        borrower = Borrower(context.site, context.node, key, self._site_key)
        clock = context.clock.monotonic
        return Borrowed(self._pool, borrower, context.log, self.settings.stream, clock)

    def _mirror_settings(self) -> MirrorSettings:
        return MirrorSettings(stale_after=self.settings.stale_after, cache=self.settings.cache)

    def _requests(self) -> NodeRequests:
        serve = self.settings.serve
        documents = Documents(self._uplink, self._disk, serve, self.context.clock.wall)
        local = LocalObjects(self._mirrors, self._backend.feed, self._disk, self._queue)
        return NodeRequests(
            self.context.node,
            lambda: Policy(self.settings.identities, self.settings.components),
            Kinds(documents.ask, self.context.clock.monotonic, self.context.log),
            self._mirrors,
            documents,
            Gets(self._uplink, local, serve, self._views, self._may_read),
            Writes(self._uplink, local, self._later, serve),
            self._uplink,
            self._views,
            self._may_read,
        )

    async def _may_read(self, info: RequestInfo) -> None:
        await self._reviews.authorize(info)

    def knows_its_resources(self) -> bool:
        """Whether the catalog has come; until then reads wait (503)."""
        return self._feeds.catalog_known

    def _is_outsider(self, request: web.Request, cache: WatchCache) -> bool:
        component = component_of(request.headers.get("User-Agent", ""))
        return self._views.is_outsider(component, cache.resource)

    def _trouble(self) -> str:
        """Why what is read would not be there without the cloud; "" if it would."""
        frozen = self._disk.frozen
        return f"the disk cache misses the newest of {frozen} lists" if frozen else ""

    def _mirror_ages(self) -> dict[str, float]:
        ages: dict[str, float] = {}
        for mirror in self._mirrors.all.values():
            if mirror.is_following:
                name = mirror.scope.resource.name
                ages[name] = max(ages.get(name, 0.0), mirror.age())
        return ages

    def _admit(self, info: RequestInfo) -> AbstractAsyncContextManager[None]:
        component = component_of(info.headers.get("User-Agent", ""))
        return self._seats.of(self._level(info, component), f"{component} {info.plural}")

    def _level(self, info: RequestInfo, component: str) -> Level:
        if info.user is not None or "Authorization" in info.headers:
            return Level.WORKLOAD
        if component == "kubelet":
            return Level.KUBELET
        return Level.NODE if component in self.settings.components else Level.OTHER

    def _making(self) -> Making:
        return Making(
            feed=self.settings.feed,
            cache=self._make_cache,
            spawn=self.context.tasks.spawn,
            log=self.context.log,
            disk=self._disk,
        )

    def _make_cache(self, resource: Resource) -> WatchCache:
        cache = WatchCache(resource, self.settings.cache)
        self._views.follow(resource, cache)
        return cache

    def _has_feed(self, resource: Resource) -> bool:
        return not self._feeds.catalog_known or resource.name in {
            each.name for each in self._feeds.resources()
        }

    def _guarded(self) -> Guarded:
        return Guarded(self._pool, self._guard)

    def _upstream(self, source: Source) -> Upstream:
        if source is Source.CLOUD:
            return Upstream(self._cloud, subjects.CLOUD_FEEDS)
        return Upstream(self._guarded(), subjects.POOL_FEEDS)

    def _on_pool_tick(self, _message: Message) -> None:
        if self._pool.is_up:  # on a busy machine a tick may be handled long after its bus has died
            self._heard_pool = self.context.clock.monotonic()

    def _is_cut_off(self) -> bool:
        return self._source is Source.NONE or not (self._pool.is_up or self._cloud.is_up)

    async def _follow_best_source(self) -> None:
        while True:
            await asyncio.sleep(LOOK)
            silence = self.context.clock.monotonic() - self._heard_pool
            bound = self.settings.fallback_after + self._jitter
            source = choose(silence, self._cloud.is_up, bound)
            if source is not self._source:
                await self._change_source(source)

    async def _change_source(self, source: Source) -> None:
        self.context.log.info("follows {} (was: {})", source.value, self._source.value)
        self._source = source
        self._moves += 1
        if source is not Source.NONE:
            await self._feeds.move(self._upstream(source))

    def status(self) -> dict[str, Any]:
        return {
            "listen": self.url,
            "secure": self._secure.url if self._secure is not None else "",
            "secure_ca": str((self._secure and self._secure.ca) or ""),
            "source": self._source.value,
            "feeds": {
                name: {
                    "source": self._source.value,
                    "age": followed.age,
                    "objects": len(followed.cache),
                    "version": followed.cache.version,
                }
                for name, followed in self._feeds.followed.items()
            },
            "refused": self._guard.refused,
            "way": self._ways.way.value,
            "lender": self._ways.lender,
            "streams": self._ways.open_streams,
            "mirrors": self._mirrors.status(),
            "writes": dict(self._queue.pending),
            "not_replayed": msgspec.to_builtins(self._queue.reports()[-SHOWN_REPORTS:]),
            "resuming": self._uplink.resuming,
            "problems": {
                name: dict(follower.core.problems)
                for name, follower in self._feeds.followers.items()
                if follower.core.problems
            },
        }
