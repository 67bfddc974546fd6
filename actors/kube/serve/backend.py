"""A ReadBackend over plain watch caches: the embedded server's, and that of tests."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from actors.kube.resource import Resource
from actors.kube.watchcache import WatchCache


async def reach_version(cache: WatchCache, version: int, timeout: float) -> bool:
    """Wait until the cache holds `version`; False when `timeout` seconds passed first."""
    token = object()
    try:
        async with asyncio.timeout(timeout):
            while cache.version < version:
                moved = asyncio.Event()
                cache.on_version(token, moved.set)
                await moved.wait()
    except TimeoutError:
        return False
    finally:
        cache.forget(token)
    return True


class CacheBackend:
    """Serves the caches it is given; `add` and `remove` as custom resources come and go."""

    def __init__(self, caches: Iterable[WatchCache] = ()) -> None:
        self._caches = {cache.resource.name: cache for cache in caches}
        self._resources = tuple(cache.resource for cache in self._caches.values())

    def add(self, cache: WatchCache) -> None:
        """Serve this resource; one of the same name is replaced."""
        self._caches[cache.resource.name] = cache
        self._resources = tuple(c.resource for c in self._caches.values())

    def remove(self, resource: Resource) -> None:
        """No longer serve it; its watchers end and are told to list anew."""
        cache = self._caches.pop(resource.name, None)
        self._resources = tuple(c.resource for c in self._caches.values())
        if cache is not None:
            cache.close()

    def resources(self) -> tuple[Resource, ...]:
        return self._resources

    def resources_known(self) -> bool:
        return True

    def cache(self, resource: Resource) -> WatchCache | None:
        return self._caches.get(resource.name)

    async def wait_version(self, resource: Resource, version: int | None, timeout: float) -> bool:
        cache = self._caches.get(resource.name)
        if cache is None or version is None:
            return cache is not None
        return await reach_version(cache, version, timeout)

    def warning(self, resource: Resource) -> str | None:
        return None

    def health(self) -> Mapping[str, str]:
        return {}
