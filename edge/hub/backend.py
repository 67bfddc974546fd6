"""What the served API reads: the hub's caches, with an honest word about their age."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from math import isinf

from actors.kube.resource import Resource
from actors.kube.serve.api import RequestInfo, Source
from actors.kube.serve.backend import not_filled
from actors.kube.serve.passing import check_unclaimed
from actors.kube.watchcache import WatchCache
from edge.hub.components import component_of
from edge.hub.feeds import FollowedResource, HubFeeds
from edge.hub.gone import Gone, is_gone


class FeedSource:
    """Implements `actors.kube.serve.api.Source` over what a feed brings."""

    def __init__(
        self,
        followed: FollowedResource,
        is_cut_off: Callable[[], bool],
        stale_after: Callable[[], float],
    ) -> None:
        self.cache: WatchCache = followed.cache
        self._followed = followed
        self._is_cut_off = is_cut_off
        self._stale_after = stale_after

    async def wait_version(self, version: int | None, timeout: float) -> bool:
        followed = self._followed
        if version is not None:
            return await followed.progress.wait_for(lambda: self.cache.version >= version, timeout)
        return self._is_cut_off() or await followed.progress.wait_for(
            lambda: not (followed.is_catching_up and self._is_stale), timeout
        )

    async def wait_gone(self, gone: Gone, timeout: float) -> bool:
        return await self._followed.progress.wait_for(lambda: is_gone(self.cache, gone), timeout)

    def warning(self) -> str | None:
        if not self._is_stale:
            return None
        age = self._followed.age
        how_old = "nobody knows how old" if isinf(age) else f"last known current {age:.0f} s ago"
        return f"served from the edge cache, {how_old}"

    @property
    def _is_stale(self) -> bool:
        return self._followed.age > self._stale_after()


Shown = Callable[[str, Resource, str, Source], Source]
"""What a component may see: (component, resource, verb, source). See `edge.hub.views`."""


MayRead = Callable[[RequestInfo], Awaitable[None]]
"""Asked before an answer from what is kept here. Raises ApiError. See `edge.hub.secure.reviews`."""


async def anybody(_info: RequestInfo) -> None:
    pass


def as_it_is(_component: str, _resource: Resource, _verb: str, source: Source) -> Source:
    return source


class HubBackend:
    """Implements `actors.kube.serve.api.ReadBackend`."""

    def __init__(
        self,
        feeds: HubFeeds,
        is_cut_off: Callable[[], bool],
        stale_after: Callable[[], float],
        shown: Shown = as_it_is,
        may_read: MayRead = anybody,
        trouble: Callable[[], str] = str,
    ) -> None:
        """`trouble`: what is wrong with the disk, "" for nothing."""
        self._feeds = feeds
        self._is_cut_off = is_cut_off
        self._stale_after = stale_after
        self._shown = shown
        self._may_read = may_read
        self._trouble = trouble

    def resources(self) -> tuple[Resource, ...]:
        return self._feeds.resources()

    def resources_known(self) -> bool:
        return self._feeds.catalog_known

    async def source(self, info: RequestInfo) -> Source:
        assert info.resource is not None
        check_unclaimed(info.headers)
        await self._may_read(info)
        source = self.feed(info.resource)
        if source is None:
            raise not_filled(info.resource)
        component = component_of(info.headers.get("User-Agent", ""))
        return self._shown(component, info.resource, info.verb, source)

    def feed(self, resource: Resource) -> FeedSource | None:
        """None until the first sync: an empty list would be a wrong answer, not an old one."""
        followed = self._feeds.get(resource)
        if followed is None or not followed.cache.filled:
            return None
        return FeedSource(followed, self._is_cut_off, self._stale_after)

    async def wait_version(self, resource: Resource, version: int, timeout: float) -> bool:
        """Whether the feed has this version, in time."""
        source = self.feed(resource)
        return source is not None and await source.wait_version(version, timeout)

    async def wait_gone(self, resource: Resource, gone: Gone, timeout: float) -> bool:
        """Whether the feed no longer has these, in time."""
        source = self.feed(resource)
        return source is not None and await source.wait_gone(gone, timeout)

    def health(self) -> Mapping[str, str]:
        checks = {"catalog": "" if self._feeds.catalog_known else "no catalog of feeds yet"}
        for feed, followed in self._feeds.followed.items():
            checks[feed] = "" if followed.cache.filled else "never synced"
        return checks | {"disk": self._trouble()}
