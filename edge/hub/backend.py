"""What the served API reads: the hub's caches, with an honest word about their age."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isinf

from actors.kube.resource import Resource
from actors.kube.watchcache import WatchCache
from edge.hub.feeds import FollowedResource, HubFeeds


class HubBackend:
    """Implements `actors.kube.serve.api.ReadBackend`."""

    def __init__(
        self, feeds: HubFeeds, is_cut_off: Callable[[], bool], stale_after: Callable[[], float]
    ) -> None:
        self._feeds = feeds
        self._is_cut_off = is_cut_off
        self._stale_after = stale_after

    def resources(self) -> tuple[Resource, ...]:
        return self._feeds.resources()

    def resources_known(self) -> bool:
        return self._feeds.catalog_known

    def cache(self, resource: Resource) -> WatchCache | None:
        """None until the first sync: an empty list would be a wrong answer, not an old one."""
        followed = self._feeds.get(resource)
        return followed.cache if followed is not None and followed.cache.filled else None

    async def wait_version(self, resource: Resource, version: int | None, timeout: float) -> bool:
        followed = self._feeds.get(resource)
        if followed is None:
            return False
        if version is not None:
            return await followed.progress.wait_for(
                lambda: followed.cache.version >= version, timeout
            )
        return self._is_cut_off() or await followed.progress.wait_for(
            lambda: not (followed.is_catching_up and self._is_stale(followed)), timeout
        )

    def warning(self, resource: Resource) -> str | None:
        followed = self._feeds.get(resource)
        if followed is None or not self._is_stale(followed):
            return None
        age = followed.age
        how_old = "nobody knows how old" if isinf(age) else f"last known current {age:.0f} s ago"
        return f"served from the edge cache, {how_old}"

    def health(self) -> Mapping[str, str]:
        checks = {"catalog": "" if self._feeds.catalog_known else "no catalog of feeds yet"}
        for feed, followed in self._feeds.followed.items():
            checks[feed] = "" if followed.cache.filled else "never synced"
        return checks

    def _is_stale(self, followed: FollowedResource) -> bool:
        return followed.age > self._stale_after()
