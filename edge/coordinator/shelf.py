"""One feed of the coordinator: from the leader, into the table, out to the hubs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bus import subjects
from bus.api import Bus
from bus.errors import BusError, Conflict, StorageFull
from bus.feed import Batch, Change, FeedFollower, FeedPublisher, FeedSettings
from bus.feed.ticks import Ticks
from bus.table import ObjectTable

if TYPE_CHECKING:
    from loguru import Logger

OnChanges = Callable[[Batch], Awaitable[None]]


@dataclass(frozen=True)
class Ends:
    """What a term lends its shelves."""

    upstream: Bus  # the pool bus, guarded by the leader's token
    downstream: Bus  # the pool bus, fenced with our own
    table: ObjectTable
    token: Callable[[], int]  # our own; raises LeaseLost
    ticks: Ticks  # the leader's, heard once for all shelves
    settings: FeedSettings
    spawn: Callable[[str, Coroutine[Any, Any, None]], asyncio.Task[None]]
    log: Logger


class Shelf:
    """Commit first, then publish: no hub ever knows more than a successor can load.

    With the table's disk full the pool is served all the same; what could not be written is
    remembered by key and goes with the next commit that succeeds.
    """

    def __init__(self, name: str, ends: Ends, after: OnChanges | None = None) -> None:
        self.name = name
        self._ends = ends
        self._after = after
        self._is_begun = False  # whether there is anything to be published at all
        self._unwritten: set[str] = set()  # of objects that are here, or that the table has
        self.follower = FeedFollower(
            ends.upstream,
            subjects.POOL_UP_FEEDS,
            name,
            ends.settings,
            self._on_batch,
            ticks=ends.ticks,
        )
        self.publisher = FeedPublisher(
            ends.downstream, subjects.POOL_FEEDS, name, ends.settings, age=self.follower.age
        )

    async def open(self) -> None:
        """Goes on from what the last coordinator committed."""
        state = await self._ends.table.load(self.name)
        if state.position.lineage and state.is_exact:
            self._is_begun = True
            self.publisher.restore(state.items, state.position)
            self.follower.restore(state.items, state.position, state.upstream)
        elif state.position.lineage:  # else nothing was ever committed
            # Compared by content, not gone on from: and hubs that know better keep what they have.
            self.follower.restore(state.items, state.position)
        self.publisher.start(self._ends.spawn)
        self.follower.start(self._ends.spawn)

    async def close(self) -> None:
        await self.follower.stop()
        await self.publisher.stop()

    async def clear(self) -> None:
        """Closes it for good: there is no such feed any more. Raises Conflict."""
        await self.close()
        try:
            await self._ends.table.drop(self.name)
        except Conflict:
            raise
        except BusError as error:
            self._ends.log.warning("feed {} has ended but keeps its place: {}", self.name, error)

    async def _on_batch(self, batch: Batch) -> None:
        await self._commit(batch)
        await self.publisher.publish(self._to_publish(batch), batch.position, batch.exact)
        if self._after is not None:
            await self._after(batch)

    def _to_publish(self, batch: Batch) -> Sequence[Change]:
        """The first step is the whole: the follower may have begun with what was not published."""
        if self._is_begun:
            return batch.changes
        self._is_begun = True
        return [Change(key, *item) for key, item in self.follower.items.items()]

    async def _commit(self, batch: Batch) -> None:
        """Raises LeaseLost, or Conflict where somebody else has written: this term is over."""
        self._ends.token()  # a paused process must not write first and find out later
        changes = [*self._left_over(batch), *batch.changes]
        try:
            await self._ends.table.commit(
                self.name, changes, batch.position, self.follower.upstream
            )
        except StorageFull as error:
            self._note_unwritten(batch, error)
        else:
            self._unwritten.clear()

    def _left_over(self, batch: Batch) -> list[Change]:
        """What earlier commits could not write, as it is now."""
        again = self._unwritten - {change.key for change in batch.changes}
        return [self._as_change(key, batch.position.version) for key in sorted(again)]

    def _as_change(self, key: str, version: int) -> Change:
        item = self.follower.items.get(key)
        return Change(key, version, None) if item is None else Change(key, *item)

    def _note_unwritten(self, batch: Batch, error: StorageFull) -> None:
        if not self._unwritten:
            self._ends.log.error(
                "feed {}: the pool's table takes no writes, a takeover would go on from older data "
                "(free or raise bus.storage): {}",
                self.name,
                error,
            )
        for change in batch.changes:
            if change.data is None and not self._ends.table.may_hold(self.name, change.key):
                self._unwritten.discard(change.key)  # it came and went: nobody need know
            else:
                self._unwritten.add(change.key)

    @property
    def unwritten(self) -> int:
        return len(self._unwritten)
