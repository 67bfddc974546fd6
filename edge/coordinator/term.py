"""One term of office: all shelves open, from the election to the loss of the lease."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import Any

from bus import subjects
from bus.feed import Batch, FeedPublisher, Ticker
from edge.coordinator.shelf import Ends, OnChanges, Shelf

MakeEnds = Callable[[Callable[[str, Coroutine[Any, Any, None]], asyncio.Task[None]]], Ends]


class Term:
    """The catalog's shelf decides which other shelves there are, while the term runs."""

    def __init__(self, make_ends: MakeEnds, tick: float) -> None:
        self._make_ends = make_ends
        self._tick = tick
        self._shelves: dict[str, Shelf] = {}
        self._catalog_changed = asyncio.Event()

    @property
    def shelves(self) -> Mapping[str, Shelf]:
        return self._shelves

    async def run(self) -> None:
        """Ends only by cancellation or by errors: an ExceptionGroup of what ended its tasks.

        Conflict or LeaseLost among them: somebody else holds the office.
        """
        async with asyncio.TaskGroup() as group:
            ends = self._make_ends(lambda name, work: group.create_task(work, name=name))
            await self._open(subjects.CATALOG, ends, self._on_catalog)
            publishers = _Publishers(self._shelves)
            Ticker(ends.downstream, subjects.POOL_FEEDS, publishers, self._tick).start(ends.spawn)
            await self._keep_shelves(ends)

    async def _on_catalog(self, _batch: Batch) -> None:
        self._catalog_changed.set()

    async def _keep_shelves(self, ends: Ends) -> None:
        self._catalog_changed.set()  # of the last term
        while True:
            await self._catalog_changed.wait()
            self._catalog_changed.clear()
            wanted = set(self._shelves[subjects.CATALOG].follower.items) | {subjects.CATALOG}
            for name in sorted(self._shelves.keys() - wanted):
                await self._shelves.pop(name).clear()
            for name in sorted(wanted - self._shelves.keys()):
                await self._open(name, ends)

    async def _open(self, name: str, ends: Ends, after: OnChanges | None = None) -> None:
        shelf = Shelf(name, ends, after)
        await shelf.open()
        self._shelves[name] = shelf


class _Publishers:
    """The shelves' publishers, as they are when looked at."""

    def __init__(self, shelves: Mapping[str, Shelf]) -> None:
        self._shelves = shelves

    def __iter__(self) -> Iterator[FeedPublisher]:
        return iter([shelf.publisher for shelf in self._shelves.values()])
