"""A ReadBackend over plain watch caches: the embedded server's, and that of tests."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from actors.kube.resource import Resource
from actors.kube.serve.api import RequestInfo
from actors.kube.status_errors import ApiError, service_unavailable
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


def not_filled(resource: Resource) -> ApiError:
    """503: clients try again."""
    return service_unavailable(f"{resource.name} are not known here yet")


class CacheSource:
    """Reads of one cache that is always current."""

    def __init__(self, cache: WatchCache) -> None:
        self.cache = cache

    async def wait_version(self, version: int | None, timeout: float) -> bool:
        return version is None or await reach_version(self.cache, version, timeout)

    def warning(self) -> str | None:
        return None


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

    async def source(self, info: RequestInfo) -> CacheSource:
        assert info.resource is not None
        cache = self._caches.get(info.resource.name)
        if cache is None or not cache.filled:
            raise not_filled(info.resource)
        return CacheSource(cache)

    def health(self) -> Mapping[str, str]:
        return {}
