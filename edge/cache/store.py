"""`DiskCache`: what the node's components have read, and the pool's feeds, across restarts."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from bus.feed.types import Batch, Change, Item, Position
from edge.cache.disk import Disk
from edge.cache.ops import (
    Apply,
    Drop,
    DropComponent,
    DropDocument,
    Op,
    PutDocument,
    Replace,
    Touch,
)
from edge.cache.pending import Pending
from edge.cache.plan import ListQuery, name_query
from edge.cache.reading import (
    NOBODY,
    FeedState,
    Found,
    Missing,
    View,
    encode_query,
    feed_id,
    feed_resource,
    find_object,
    find_view,
    read_components,
    read_feed,
    read_feeds,
)
from edge.cache.rows import ViewRow, identity
from edge.cache.settings import CacheSettings
from edge.cache.tables import Document, Tables

if TYPE_CHECKING:
    from loguru import Logger

_T = TypeVar("_T")
Spawn = Callable[[str, Coroutine[Any, Any, None]], asyncio.Task[None]]
_MOST_TOUCHED = 10_000  # noted in memory; then forgotten, at the cost of another note on disk


class DiskCache:
    """Writes are queued at once and never fail; reads see what is committed (`flush` to wait).

    A *view* is what one component has read by one query. It follows its source by `apply`; where a
    write was lost (disk full, queue full, damage, eviction) it *freezes*: it stays as it was, with
    its old age, and `apply` returns False until `replace` gives it all anew.
    """

    def __init__(
        self,
        path: Path,
        settings: CacheSettings,
        clock: Callable[[], float] = time.time,
        *,
        log: Logger,
    ) -> None:
        self._settings = settings
        self._clock = clock  # seconds since 1970: ages outlive restarts
        self._disk = Disk(path, settings, log)
        self._pending = Pending(settings.queue)
        self._threads = (
            ThreadPoolExecutor(1, "cache-writer"),
            ThreadPoolExecutor(1, "cache-reader"),
        )
        self._touched: dict[int, float] = {}
        self._work = asyncio.Event()  # something waits
        self._hurry = asyncio.Event()  # and somebody for it
        self._is_closing = False
        self._settled = time.monotonic()  # since then something may not be on the medium
        self._task: asyncio.Task[None] | None = None

    async def start(self, spawn: Spawn) -> None:
        """Opens the file; one that is damaged or cannot be used is told of, not raised."""
        await self._in_thread(0, self._disk.open)
        self._task = spawn("disk-cache", self._write_forever())

    async def close(self) -> None:
        """Writes what waits. Idempotent."""
        self._is_closing = True
        self._work.set()
        self._hurry.set()
        if self._task is not None:
            task, self._task = self._task, None
            await asyncio.wait([task])
            await self._in_thread(0, self._disk.close)
        for thread in self._threads:
            thread.shutdown(wait=False)

    # Lists

    def replace(
        self,
        component: str,
        query: ListQuery,
        version: int,
        items: Mapping[str, Item],
        *,
        went_back: bool = False,
    ) -> None:
        """A complete list as read (all its pages), by key. An object held newer stays.

        `went_back`: the history of the cluster did, older objects replace newer ones.
        """
        row = ViewRow(component, encode_query(query), 0, version, self._now())
        self._put(Replace(row, query.kept_as, dict(items), went_back))

    def apply(
        self, component: str, query: ListQuery, changes: Sequence[Change], version: int
    ) -> bool:
        """Events of its watch, in order; none of them, as a bookmark, says it is current.

        False: the view is frozen.
        """
        view = identity(component, encode_query(query))
        now = self._now()
        return self._put(Apply(view, query.kept_as, tuple(changes), 0, version, now, False))

    def forget(self, component: str, query: ListQuery | None = None) -> None:
        """One view, or all of a component that is not cached any more."""
        if query is None:
            self._put(DropComponent(component))
        else:
            self._put(Drop(identity(component, encode_query(query))))

    async def list(self, component: str, query: ListQuery) -> View | None:
        """None: it is unknown what this would be; never an empty list instead."""
        now = self._clock()
        view = await self._read(lambda tables: find_view(tables, component, query, now))
        return self._noted("views", view, view.id if view else 0)

    # Single objects. `representation` as in ListQuery.

    def put(
        self,
        component: str,
        resource: str,
        namespace: str,
        name: str,
        item: Item | None,
        *,
        representation: str = "",
    ) -> None:
        """What was read (or written) by name; None is a 404."""
        query = name_query(resource, namespace, name, representation)
        key = f"{namespace}/{name}" if namespace else name
        items = {} if item is None else {key: item}
        self.replace(component, query, item.version if item else 0, items)

    async def get(
        self, component: str, resource: str, namespace: str, name: str, *, representation: str = ""
    ) -> Found | Missing | None:
        """From single reads and lists of this component; None is "unknown"."""
        query = name_query(resource, namespace, name, representation)
        now, most = self._clock(), self._settings.missing_age
        found = await self._read(lambda tables: find_object(tables, component, query, now, most))
        return self._noted("views", found, found.id if found else 0)

    # Documents. `variant` tells apart what one path answers, e.g. the canonical Accept header.

    def put_document(self, path: str, media: str, body: bytes, *, variant: str = "") -> None:
        self._put(PutDocument(path, variant, Document(media, body, self._clock())))

    def drop_document(self, path: str, *, variant: str = "") -> None:
        self._put(DropDocument(path, variant))

    async def document(self, path: str, *, variant: str = "") -> Document | None:
        found = await self._read(lambda tables: tables.document(path, variant))
        return self._noted("documents", found, identity(path, variant))

    # Whole feeds

    def save_feed(self, feed: str, batch: Batch) -> bool:
        """What a follower just applied; without changes, that it is still current.

        False: it is frozen, or was never there; `replace_feed` begins it anew.
        """
        place, reset = batch.position, batch.reset
        resource, now = feed_resource(feed), self._now()
        view, changes = feed_id(feed), batch.changes
        return self._put(
            Apply(view, resource, changes, place.lineage, place.version, now, force=reset)
        )

    def replace_feed(self, feed: str, items: Mapping[str, Item], position: Position) -> None:
        resource = feed_resource(feed)
        row = ViewRow(NOBODY, resource, position.lineage, position.version, self._now())
        self._put(Replace(row, resource, dict(items), True))

    def drop_feed(self, feed: str) -> None:
        self._put(Drop(feed_id(feed)))

    async def load_feed(self, feed: str) -> FeedState | None:
        now = self._clock()
        return await self._read(lambda tables: read_feed(tables, feed, now))

    # All

    async def components(self) -> frozenset[str]:
        """Of whom anything is kept: after a restart, some may not be cached any more (`forget`)."""
        return await self._read(read_components) or frozenset()

    async def feeds(self) -> frozenset[str]:
        """Those kept; they stay until `drop_feed`, whatever they take."""
        return await self._read(read_feeds) or frozenset()

    async def flush(self) -> bool:
        """Until all that was queued so far is committed; False if any of it could not be."""
        if self._task is None or self._task.done():
            return self._pending.is_empty
        done = self._pending.wait()
        self._hurry.set()
        self._work.set()
        return await done

    def used(self) -> int:
        """Bytes of the database in use, as of the last batch."""
        return self._disk.used

    @property
    def counts(self) -> Counter[str]:
        """rows.damaged, files.damaged, writes.failed, writes.dropped, evicted, ..."""
        return self._disk.counts + self._pending.counts

    @property
    def frozen(self) -> int:
        return len(self._pending.frozen)

    @property
    def waiting(self) -> int:
        """Bytes to be written."""
        return self._pending.weight

    def _now(self) -> int:
        return round(self._clock() * 1000)

    def _put(self, op: Op) -> bool:
        if self._is_closing:
            return False
        is_kept = self._pending.add(op)
        self._work.set()
        return is_kept

    def _noted(self, table: str, result: _T, thing: int) -> _T:
        """Remembers that it was read, on disk only now and then."""
        now = self._clock()
        last = self._touched.get(thing, float("-inf"))
        if result is not None and thing and not 0 <= now - last < self._settings.touch_every:
            if len(self._touched) >= _MOST_TOUCHED:
                self._touched.clear()
            self._touched[thing] = now
            self._put(Touch(table, thing, round(now * 1000)))
        return result

    async def _read(self, act: Callable[[Tables], _T]) -> _T | None:
        result, broken = await self._in_thread(1, lambda: self._disk.read(act))
        for view in broken:
            self._pending.freeze(view)
        if self._disk.needs_care:
            self._work.set()
        return result

    async def _write_forever(self) -> None:
        while not (self._is_closing and self._pending.is_empty):
            await self._wait_for_work()
            await self._write(*self._pending.take())
            if time.monotonic() - self._settled > self._settings.settle_latest:
                await self._settle()

    async def _write(self, ops: Sequence[Op], waiters: Sequence[asyncio.Future[bool]]) -> None:
        is_kept = False
        try:
            written = await self._in_thread(0, lambda: self._disk.write(ops))
            is_kept = written.is_kept
            for view in written.frozen:
                self._pending.freeze(view)
        finally:
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(is_kept)

    async def _wait_for_work(self) -> None:
        """Then a little for company, unless somebody is waiting."""
        if not await _within(self._settings.settle, self._work):
            await self._settle()
            await self._work.wait()
            self._settled = time.monotonic()
        await _within(self._settings.linger, self._hurry)
        self._work.clear()
        if not self._is_closing:
            self._hurry.clear()

    async def _settle(self) -> None:
        await self._in_thread(0, self._disk.settle)
        self._settled = time.monotonic()

    async def _in_thread(self, index: int, act: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._threads[index], act)


async def _within(seconds: float, event: asyncio.Event) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
