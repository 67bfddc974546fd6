"""Keeps `KnownInputs` in step with the caches of Services and Nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from actors.kube.watchcache import Event, WatchCache
from edge.filters.inputs import Change, Held

One = Callable[[str, bytes | None], Change | None]
All = Callable[[Iterable[Held]], Change | None]


class Following:
    """Tells what a cache holds, now and from now on: `Following(cache, inputs.service,
    inputs.services, tell)` or `(cache, inputs.node_is, inputs.nodes, tell)`.

    `tell` is called for each change that filters may see, before any watcher of the cache is woken.
    A cache that closes leaves what it told last: that is what was last known.
    """

    def __init__(
        self, cache: WatchCache, one: One, all_: All, tell: Callable[[Change], None]
    ) -> None:
        self._cache = cache
        self._one = one
        self._all = all_
        self._tell = tell
        cache.follow(self)
        if cache.filled:
            self.restarted()

    def close(self) -> None:
        self._cache.unfollow(self)

    def stepped(self, events: Sequence[Event], version: int, exact: bool) -> None:
        for event in events:
            self._told(self._one(event.key, event.new.raw if event.new is not None else None))

    def restarted(self) -> None:
        self._told(self._all(self._cache.entries()))

    def closed(self) -> None:
        self.close()

    def _told(self, change: Change | None) -> None:
        if change is not None:
            self._tell(change)
