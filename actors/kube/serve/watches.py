"""watch: a stream of events, one JSON object a line.

Each watcher is a task that takes what the window of its cache holds behind its cursor, writes it at
one go, and sleeps until there is more. What one watcher encoded its equals reuse (`Batches`).
"""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from aiohttp import web

from actors.kube.filters import Filter
from actors.kube.serve.api import RequestInfo, ServeSettings
from actors.kube.serve.bodies import GROUP, Breather
from actors.kube.serve.negotiate import View
from actors.kube.serve.options import ListOptions, parse_options
from actors.kube.serve.reads import Reader
from actors.kube.serve.views import EVENT_END, EVENT_START, Presenter, event_line
from actors.kube.status_errors import expired
from actors.kube.watchcache import Entry, Overflow, Taken, TooOld, WatchCache, Watcher, see


class Batches:
    """Recently encoded runs of events: watchers that want the same get the same bytes."""

    def __init__(self, keep: int = 64) -> None:
        self._keep = keep
        self._held: OrderedDict[tuple[object, ...], bytes] = OrderedDict()

    def encode(self, cache: WatchCache, taken: Taken, filter_: Filter, shown: Presenter) -> bytes:
        key = (id(cache), cache.generation, taken.start, taken.end, filter_, shown[1:])
        body = self._held.get(key)
        if body is None:
            body = self._held[key] = encode_events(cache, taken, filter_, shown)
            if len(self._held) > self._keep:
                self._held.popitem(last=False)
        return body

    def clear(self) -> None:
        self._held.clear()


def encode_events(cache: WatchCache, taken: Taken, filter_: Filter, shown: Presenter) -> bytes:
    parts: list[bytes] = []
    as_is = shown.wanted.view is View.OBJECT
    for event in taken.events:
        seen = see(event, filter_, cache.reader)
        if seen is not None:
            raw = seen.raw if as_is else shown.one(seen.raw)
            parts += (EVENT_START[seen.type], raw, EVENT_END)
    return b"".join(parts)


class Start(NamedTuple):
    """How a watch begins."""

    initial: Sequence[Entry]
    watcher: Watcher
    mark_end: bool  # a bookmark says where the initial events end
    version: int


def begin(cache: WatchCache, filter_: Filter, options: ListOptions) -> Start:
    """Raises TooOld."""
    from_now = options.initial_events is False and not options.version
    wants_all = options.initial_events or (options.initial_events is None and not options.version)
    if wants_all:
        snapshot = cache.snapshot()
        low, high = snapshot.within(filter_.namespace)
        watcher = cache.watch(None, filter_)
        return Start(
            snapshot.entries[low:high], watcher, bool(options.initial_events), snapshot.version
        )
    watcher = cache.watch(None if from_now else options.version, filter_)
    return Start((), watcher, False, watcher.version)


class Stream:
    """One client's response. `open` is cheap; nothing is held but the cursor."""

    def __init__(
        self, cache: WatchCache, start: Start, shown: Presenter, bookmark_every: float | None
    ) -> None:
        self.cache = cache
        self.start = start
        self.shown = shown
        self.bookmark_every = bookmark_every


class Watches:
    """Serves all watches, and ends them cleanly at stop."""

    def __init__(self, reader: Reader, settings: ServeSettings) -> None:
        self._reader = reader
        self._settings = settings
        self._batches = Batches()
        self._stopping = asyncio.Event()
        self._wakes: set[asyncio.Future[None]] = set()
        self.count = 0
        self._none_left = asyncio.Event()

    async def stop(self) -> None:
        """Every watch gets its clean end; those that do not take it in time are cut off."""
        self._stopping.set()
        for wake in list(self._wakes):
            _set(wake)
        if self.count:
            try:
                async with asyncio.timeout(self._settings.stop):
                    await self._none_left.wait()
            except TimeoutError:
                pass

    async def serve(self, request: web.Request, info: RequestInfo) -> web.StreamResponse:
        shown = self._reader.presenter_of(info, is_list=False)
        options = parse_options(info.query, is_watch=True)
        resource, cache = self._reader.cache_of(info)
        filter_ = self._reader.filter_of(info, cache, options)
        if options.initial_events or options.version is None:
            await self._reader.wait(resource, cache, options.version)
        headers = self._reader.headers_of(resource, shown.wanted.content_type)
        response = web.StreamResponse(headers=headers)
        response.enable_chunked_encoding()
        self.count += 1
        self._none_left.clear()
        try:
            await response.prepare(request)
            await self._run(request, response, cache, filter_, options, shown)
            await response.write_eof()
        except ConnectionError:
            pass  # the client went
        finally:
            self.count -= 1
            if not self.count:
                self._none_left.set()
        return response

    async def _run(
        self,
        request: web.Request,
        response: web.StreamResponse,
        cache: WatchCache,
        filter_: Filter,
        options: ListOptions,
        shown: Presenter,
    ) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + (options.timeout or self._long())
        every = self._settings.bookmark if options.bookmarks else None
        try:
            start = begin(cache, filter_, options)
            await self._send_initial(response, start, cache, filter_, shown)
            await self._follow(request, response, start.watcher, cache, shown, end, every)
        except TooOld as error:
            await response.write(event_line("ERROR", expired(str(error)).body()))
        except Overflow:
            _abort(request)

    def _long(self) -> float:
        return random.uniform(self._settings.watch_min, 2 * self._settings.watch_min)

    async def _send_initial(
        self,
        response: web.StreamResponse,
        start: Start,
        cache: WatchCache,
        filter_: Filter,
        shown: Presenter,
    ) -> None:
        breather = Breather()
        parts: list[bytes] = []
        size = 0
        for entry in start.initial:
            if filter_.matches(entry, cache.reader):
                parts += (EVENT_START["ADDED"], shown.one(entry.raw), EVENT_END)
                size += len(parts[-2])
            if size >= GROUP:
                await response.write(b"".join(parts))
                parts, size = [], 0
            if breather.is_due:
                await breather.pause()
        if start.mark_end:
            parts.append(event_line("BOOKMARK", shown.bookmark(start.version, True)))
        if parts:
            await response.write(b"".join(parts))

    async def _follow(
        self,
        request: web.Request,
        response: web.StreamResponse,
        watcher: Watcher,
        cache: WatchCache,
        shown: Presenter,
        end: float,
        every: float | None,
    ) -> None:
        loop = asyncio.get_running_loop()
        next_bookmark = loop.time() + every if every else end
        while not self._stopping.is_set():
            taken = watcher.take()
            if taken is not None:
                if body := self._batches.encode(cache, taken, watcher.filter, shown):
                    await response.write(body)
                continue
            if loop.time() >= end:
                break
            if every and loop.time() >= next_bookmark:
                await response.write(event_line("BOOKMARK", shown.bookmark(watcher.version, False)))
                next_bookmark = loop.time() + every
            await self._sleep(cache, min(end, next_bookmark))
        if every:
            await response.write(event_line("BOOKMARK", shown.bookmark(watcher.version, False)))

    async def _sleep(self, cache: WatchCache, until: float) -> None:
        """Until the next event, the given loop time, or stop."""
        loop = asyncio.get_running_loop()
        wake: asyncio.Future[None] = loop.create_future()
        timer = loop.call_at(until, _set, wake)
        cache.on_event(wake, lambda: _set(wake))
        self._wakes.add(wake)
        try:
            await wake
        finally:
            timer.cancel()
            cache.forget(wake)
            self._wakes.discard(wake)


def _set(wake: asyncio.Future[None]) -> None:
    if not wake.done():
        wake.set_result(None)


def _abort(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


__all__ = ["Batches", "Iterable", "Watches", "begin", "encode_events"]
