"""The pool's feeds on the node's disk, for a restart with nobody to follow."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from actors.kube.watchcache import WatchCache
from bus.feed import Batch, Item, Position

if TYPE_CHECKING:
    from loguru import Logger

    from edge.cache import FeedState

CARE_SECONDS = 30.0  # how old a quiet feed looks at most after a restart, and how often it wears
# the flash


class FeedDisk(Protocol):
    """What is needed of `edge.cache.DiskCache`."""

    async def load_feed(self, feed: str) -> FeedState | None: ...
    def save_feed(self, feed: str, batch: Batch) -> bool: ...
    def replace_feed(self, feed: str, items: Mapping[str, Item], position: Position) -> None: ...
    def drop_feed(self, feed: str) -> None: ...


@dataclass
class _Kept:
    position: Position
    contents: Callable[[], Mapping[str, Item]]
    age: Callable[[], float]
    is_saved: bool  # the disk has it, maybe older
    is_frozen: bool = False  # the disk missed something: it gets all anew, at leisure


class FeedKeeper:
    """Writes what followers apply; reads it back when a follower begins. Never raises.

    What the disk missed (it was full, say) is written anew as a whole, at most once in
    `CARE_SECONDS`: till then the disk has the older state, and says how old.
    """

    def __init__(self, disk: FeedDisk | None, log: Logger, fresh: float = CARE_SECONDS) -> None:
        self._disk = disk
        self._log = log
        self._fresh = fresh
        self._kept: dict[str, _Kept] = {}

    async def load(self, feed: str) -> FeedState | None:
        """None as well for what is damaged: of an object that is missing it would read as gone."""
        state = await self._disk.load_feed(feed) if self._disk is not None else None
        if state is None or not state.whole:
            if state is not None:
                self._log.warning("feed {} on disk is damaged and not used", feed)
            return None
        return state

    def follow(
        self,
        feed: str,
        held: FeedState | None,
        contents: Callable[[], Mapping[str, Item]],
        age: Callable[[], float],
    ) -> None:
        """From now on `note` tells of it; `contents` must be those of the newest batch noted."""
        position = held.position if held is not None else Position()
        self._kept[feed] = _Kept(position, contents, age, is_saved=held is not None)

    def note(self, feed: str, batch: Batch) -> None:
        """A batch was applied."""
        kept = self._kept.get(feed)
        if self._disk is None or kept is None:
            return
        kept.position = batch.position
        if not kept.is_saved:
            kept.is_saved = True
            self._write_anew(feed, kept)
        elif not self._disk.save_feed(feed, batch):
            kept.is_frozen = True

    def drop(self, feed: str) -> None:
        """The resource is served no more."""
        if self._kept.pop(feed, None) is not None and self._disk is not None:
            self._disk.drop_feed(feed)

    async def run(self) -> None:
        while self._disk is not None:
            await asyncio.sleep(self._fresh)
            self.care()

    def care(self) -> None:
        """Says on disk which feeds are still current, and mends what it missed."""
        for feed, kept in self._kept.items():
            if self._disk is None or not kept.is_saved:
                continue
            if kept.is_frozen:
                self._write_anew(feed, kept)
            elif kept.age() < self._fresh:
                kept.is_frozen = not self._disk.save_feed(feed, Batch((), kept.position))

    def _write_anew(self, feed: str, kept: _Kept) -> None:
        assert self._disk is not None
        kept.is_frozen = False
        self._disk.replace_feed(feed, kept.contents(), kept.position)


def contents_of(cache: WatchCache) -> dict[str, Item]:
    """What the feed told a cache, not how it was revised here; the bytes are shared."""
    return {entry.key: Item(entry.version, entry.raw) for entry in cache.unrevised()}
