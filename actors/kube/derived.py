"""A watch cache that shows another's objects in another way, and follows it in step.

What is not changed is shared, entry by entry. The list version, what is known of the past, resets
and the end are those of the source; when the way itself changes, so do contents at an unmoved
version (`WatchCache.revise` says what that means for clients).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import islice

from loguru import logger

from actors.kube.watchcache import Entry, Event, Move, WatchCache

Transform = Callable[[str, bytes], bytes | None]
"""(key, object) -> the object to show; None: hidden; the same bytes object: unchanged."""

_AT_ONCE = 64  # objects; some milliseconds where each is decoded and encoded again


class DerivedCache:
    """`cache` shows `source` through `transform`. Nobody else feeds that cache.

    Its past begins now: who comes with an older version must list. A client that was shown the
    source itself until now goes on without a list if the first transform is the identity, and the
    one that is wanted comes by `retransform`.

    An object whose transform raises is shown as it is: components that miss objects do more harm
    than those that see too much. `failures` counts them.
    """

    def __init__(self, source: WatchCache, transform: Transform) -> None:
        self.cache = WatchCache(source.resource, source.settings)
        self.failures = 0
        self._source = source
        self._transform = transform
        self._failed: set[str] = set()
        source.follow(self)
        if source.filled:
            self.restarted()
        if source.is_closed:
            self.closed()

    def close(self) -> None:
        """Its watches end (410); the source goes on."""
        self.closed()

    # -- what the source tells --------------------------------------------------------------------

    def stepped(self, events: Sequence[Event], version: int, exact: bool) -> None:
        if not events and exact:
            self.cache.advance(version)
            return
        moves = ((e.version, e.key, self._shown(e.new), e.is_revision) for e in events)
        self.cache.step(moves, version, exact)

    def restarted(self) -> None:
        entries = {}
        for entry in self._source.entries():
            shown = self._shown(entry)
            if shown is not None:
                entries[entry.key] = shown
        self.cache.refill(entries, self._source.version)

    def closed(self) -> None:
        self._source.unfollow(self)
        if not self.cache.is_closed:
            self.cache.close()

    # -- another way ------------------------------------------------------------------------------

    def retransform(self, transform: Transform, keys: Collection[str] | None = None) -> None:
        """Show objects this way from now on; differences are revisions.

        `keys`: for all others both ways are known to be the same (only an input has changed). All
        is done when it returns: for thousands of objects see `retransform_gently`.
        """
        self._transform = transform
        self._renew(self._keys() if keys is None else keys)

    async def retransform_gently(
        self, transform: Transform, keys: Collection[str] | None = None
    ) -> None:
        """The same with pauses, so that others run meanwhile.

        What comes in the pauses is shown the new way at once, and what is still the old way will be
        told. After a cancellation some of it stays the old way until it changes.
        """
        self._transform = transform
        waiting = iter(self._keys() if keys is None else list(keys))
        while (some := list(islice(waiting, _AT_ONCE))) and not self.cache.is_closed:
            self._renew(some)
            await asyncio.sleep(0)

    def _keys(self) -> list[str]:
        return [entry.key for entry in self._source.entries()]

    def _renew(self, keys: Iterable[str]) -> None:
        self.cache.step(self._differences(keys), self.cache.version)

    def _differences(self, keys: Iterable[str]) -> Iterator[Move]:
        version = self.cache.version
        for key in keys:
            old, new = self.cache.get(key), self._shown(self._source.get(key))
            if (old.raw if old is not None else None) != (new.raw if new is not None else None):
                yield version, key, new, True

    def _shown(self, entry: Entry | None) -> Entry | None:
        if entry is None:
            return None
        try:
            raw = self._transform(entry.key, entry.raw)
        except Exception as error:
            self._note_failure(entry.key, error)
            return entry
        self._failed.discard(entry.key)
        if raw is None:
            return None
        return entry if raw == entry.raw else Entry(entry.key, entry.version, raw)

    def _note_failure(self, key: str, error: Exception) -> None:
        """Once a key is enough, until it goes well again."""
        self.failures += 1
        if key not in self._failed:
            self._failed.add(key)
            name = self._source.resource.name
            logger.warning("{} {} is shown unfiltered: {!r}", name, key, error)
