"""A table in memory, for tests: the same contract as `bus/table.py`, held to it by one suite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bus.errors import Conflict, StorageFull
from bus.feed.types import Change, Item, Position
from bus.table import TableState
from bus.table_format import stored_size


@dataclass
class MemoryStorage:
    """What writers of `MemoryTable` share: states by feed with their revisions."""

    limit: int = 1 << 30  # bytes
    feeds: dict[str, tuple[int, TableState]] = field(default_factory=dict)
    revision: int = 0

    def used(self, but: str = "") -> int:
        states = (state for feed, (_, state) in self.feeds.items() if feed != but)
        return sum(_bytes(state.items) for state in states)


class MemoryTable:
    """The same contract in memory; writers that share `storage` fence each other off."""

    def __init__(self, storage: MemoryStorage | None = None) -> None:
        self._storage = storage or MemoryStorage()
        self._revisions: dict[str, int] = {}

    async def load(self, feed: str) -> TableState:
        self._revisions[feed], state = self._storage.feeds.get(feed, (0, TableState()))
        return TableState(dict(state.items), state.position, state.upstream)

    async def commit(
        self, feed: str, changes: Sequence[Change], position: Position, upstream: bytes
    ) -> None:
        before = self._checked(feed).items
        items = dict(before)
        for change in changes:
            if change.data is None:
                items.pop(change.key, None)
            else:
                items[change.key] = Item(change.version, change.data)
        storage, size = self._storage, _bytes(items)
        if size > _bytes(before) and storage.used(but=feed) + size > storage.limit:
            raise StorageFull(f"table {feed}: more than {storage.limit} bytes wanted")
        self._put(feed, TableState(items, position, upstream))

    async def drop(self, feed: str) -> None:
        self._checked(feed)
        self._put(feed, TableState())
        del self._revisions[feed]

    def may_hold(self, feed: str, key: str) -> bool:
        return key in self._checked(feed).items

    def _checked(self, feed: str) -> TableState:
        if feed not in self._revisions:
            raise ValueError(f"table {feed}: not loaded")
        revision, state = self._storage.feeds.get(feed, (0, TableState()))
        if revision != self._revisions[feed]:
            raise Conflict(f"table {feed}: another writer committed")
        return state

    def _put(self, feed: str, state: TableState) -> None:
        self._storage.revision += 1
        self._revisions[feed] = self._storage.revision
        self._storage.feeds[feed] = self._storage.revision, state


def _bytes(items: Mapping[str, Item]) -> int:
    return sum(stored_size(key, item.data) for key, item in items.items())
