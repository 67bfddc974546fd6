"""What the hub knows of one object, whoever brought it: written here, mirrored, fed, or once read.

The newest knowledge counts: what was written here and is on its way, then what is followed, then
what was read by name. Each identity has its own: what one may read is not told to another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from actors.kube.resource import Resource
from actors.kube.serve.api import Source
from bus.feed import Item
from edge.cache import DiskCache, Found, Missing
from edge.hub.asked import Asked
from edge.hub.gone import Gone
from edge.hub.resume import version_of
from edge.mirror import Mirror, Mirrors


@dataclass(frozen=True)
class Known:
    """`raw` is None where it is known that there is no such object."""

    raw: bytes | None
    warning: str | None  # what its reader must be told


class Written(Protocol):
    """What is needed of `edge.offline.Offline`."""

    def is_written(self, resource: Resource, key: str) -> bool: ...
    def written(self, resource: Resource, key: str) -> bytes | None: ...


class Followed(Source, Protocol):
    """A source that goes on with the API server."""

    async def wait_gone(self, gone: Gone, timeout: float) -> bool:
        """Whether these went within so many seconds."""


class LocalObjects:
    def __init__(
        self,
        mirrors: Mirrors,
        feed: Callable[[Resource], Followed | None],
        disk: DiskCache,
        written: Written,
    ) -> None:
        self._mirrors = mirrors
        self._feed = feed
        self._disk = disk
        self._written = written

    def is_written(self, asked: Asked) -> bool:
        """Whether what was written here is newer than what the API server may know."""
        return self._written.is_written(asked.resource, asked.key)

    async def find(self, asked: Asked) -> Known | None:
        """None: nothing is known, which is not the same as that there is no such object."""
        if self.is_written(asked):
            raw = self._written.written(asked.resource, asked.key)
            return Known(raw, "written here, not yet at the API server")
        source = self.followed(asked)
        if source is not None:
            entry = source.cache.get(asked.key)
            return Known(entry.raw if entry else None, source.warning())
        mirror = self.holding(asked)
        entry = mirror.cache.get(asked.key) if mirror is not None else None
        if mirror is not None and entry is not None:
            return Known(entry.raw, mirror.warning())
        return await self._read_before(asked)

    def followed(self, asked: Asked) -> Source | None:
        """Where the object is, or surely is not."""
        feed = self._feed(asked.resource)
        return feed or self._mirrors.covering(asked.scope)

    def holding(self, asked: Asked) -> Mirror | None:
        """A mirror that has it, though where there is none it may be elsewhere; live ones first."""
        found = [
            mirror
            for mirror in self._mirrors.all.values()
            if mirror.scope.resource.name == asked.resource.name
            and mirror.scope.identity == asked.identity
            and mirror.cache.get(asked.key) is not None
        ]
        return max(found, key=lambda mirror: (mirror.is_live, -mirror.age()), default=None)

    async def _read_before(self, asked: Asked) -> Known | None:
        info = asked.info
        found = await self._disk.get(
            asked.scope.component, asked.resource.name, info.namespace, info.name
        )
        if found is None:
            return None
        warning = f"served from the edge cache, read {found.age:.0f} s ago"
        if isinstance(found, Missing):
            return Known(None, warning)
        assert isinstance(found, Found)
        return Known(found.item.data, warning)

    async def until_gone(self, asked: Asked, gone: Gone, timeout: float) -> None:
        """Whoever lists next does not find what was deleted. A live mirror will be told; one that
        is not has no say in what there is."""
        live = [mirror for mirror in self._mirrors.of(asked.resource) if mirror.is_live]
        feed = self._feed(asked.resource)
        sources: list[Followed] = [*live, feed] if feed is not None else [*live]
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                for source in sources:
                    await source.wait_gone(gone, timeout)

    def show(self, asked: Asked, raw: bytes) -> None:
        """What the API server has made of a write, which no watch has told yet: the link may go
        before it does, and who wrote it must not read what was before."""
        for mirror in self._mirrors.of(asked.resource):
            held = mirror.cache.get(asked.key)
            if held is not None and held.version < version_of(raw):
                mirror.revise(asked.key, raw)

    def remember(self, asked: Asked, item: Item | None) -> None:
        """What the API server said of an object that is not followed; None is a 404."""
        if asked.is_kept and self.followed(asked) is None:
            info = asked.info
            self._disk.put(
                asked.scope.component, asked.resource.name, info.namespace, info.name, item
            )
