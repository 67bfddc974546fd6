"""watch: a stream of events, one JSON object a line.

Each watch is a request's task that takes what the window of its cache holds behind its cursor,
writes it at one go, and sleeps until there is more. What one watch encoded its equals reuse
(`Batches`). A client that falls too far behind is told to come back by a clean end, one that takes
nothing any more loses its connection; meanwhile it holds nothing but its cursor and what the socket
has buffered.
"""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import NamedTuple

from aiohttp import web
from loguru import logger

from actors.kube.filters import Filter
from actors.kube.serve.api import RequestInfo, ServeSettings, Source
from actors.kube.serve.bodies import GROUP, Breather
from actors.kube.serve.negotiate import View
from actors.kube.serve.options import ListOptions, parse_options
from actors.kube.serve.reads import Reader
from actors.kube.serve.views import EVENT_END, EVENT_START, Presenter, event_line
from actors.kube.status_errors import expired
from actors.kube.watchcache import Entry, Overflow, Taken, TooOld, WatchCache, Watcher, see

SMALL = 32 * 1024  # bytes that a socket with an empty buffer takes without waiting


class Batches:
    """Recently encoded runs of events: watches that want the same get the same bytes."""

    def __init__(self, keep_bytes: int = 4 * 1024 * 1024) -> None:
        self._keep_bytes = keep_bytes
        self._held: OrderedDict[tuple[object, ...], bytes] = OrderedDict()
        self._size = 0

    def encode(self, cache: WatchCache, taken: Taken, filter_: Filter, shown: Presenter) -> bytes:
        key = (
            cache,
            cache.generation,
            taken.start,
            taken.end,
            filter_,
            shown.wanted,
            shown.include,
        )
        body = self._held.get(key)
        if body is None:
            body = self._held[key] = encode_events(cache, taken, filter_, shown)
            self._size += len(body)
            while self._size > self._keep_bytes:
                self._size -= len(self._held.popitem(last=False)[1])
        return body


def encode_events(cache: WatchCache, taken: Taken, filter_: Filter, shown: Presenter) -> bytes:
    """The lines of a run of events; references are joined, nothing is encoded again."""
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

    initial: Sequence[Entry]  # still to be filtered
    watcher: Watcher
    end_mark: int | None = None  # the version for the bookmark behind the initial events


def begin(cache: WatchCache, filter_: Filter, options: ListOptions) -> Start:
    """Raises TooOld."""
    wants_all = options.initial_events
    if wants_all is None:
        wants_all = not options.version
    if not wants_all:
        return Start((), cache.watch(options.version or None, filter_))
    watcher = cache.watch(None, filter_)
    end_mark = cache.version if options.initial_events else None
    exact = filter_.exact_key(cache.resource.namespaced)
    if exact is not None:
        entry = cache.get(exact)
        return Start([entry] if entry else [], watcher, end_mark)
    snapshot = cache.snapshot()
    low, high = snapshot.within(filter_.namespace)
    return Start(snapshot.entries[low:high], watcher, end_mark)


class Watches:
    """Serves all watches, and ends them cleanly at stop."""

    def __init__(self, reader: Reader, settings: ServeSettings) -> None:
        self._reader = reader
        self._settings = settings
        self._batches = Batches()
        self._open: set[Stream] = set()
        self._none_left = asyncio.Event()
        self._is_stopping = False

    @property
    def count(self) -> int:
        return len(self._open)

    def configure(self, settings: ServeSettings) -> None:
        """For the watches that begin from now on."""
        self._settings = settings

    def dismiss(self, whom: Callable[[web.Request, WatchCache], bool]) -> int:
        """Let these end cleanly: their clients come again from the version they have. How many."""
        found = [stream for stream in self._open if whom(stream.request, stream.cache)]
        for stream in found:
            stream.end()
        return len(found)

    async def stop(self) -> None:
        """Every watch gets its clean end; those that do not take it in time are cut off."""
        self._is_stopping = True
        for stream in self._open:
            stream.end()
        try:
            async with asyncio.timeout(self._settings.stop):
                while self._open:
                    self._none_left.clear()
                    await self._none_left.wait()
        except TimeoutError:
            for stream in list(self._open):
                stream.abort()

    async def serve(
        self, request: web.Request, info: RequestInfo, source: Source
    ) -> web.StreamResponse:
        """Returns at the end of the watch. Raises ApiError before it begins."""
        shown = self._reader.presenter_of(info, is_list=False)
        options = parse_options(info.query, is_watch=True)
        filter_ = self._reader.filter_of(info, source.cache, options)
        if options.initial_events or options.version is None:
            await self._reader.wait(source, options.version)
        headers = self._reader.headers_of(source, shown.wanted.content_type)
        response = web.StreamResponse(headers=headers)
        response.enable_chunked_encoding()
        await response.prepare(request)
        stream = Stream(request, response, source.cache, shown, self._settings, self._batches)
        await self._stream(stream, filter_, options)
        return response

    async def _stream(self, stream: Stream, filter_: Filter, options: ListOptions) -> None:
        self._open.add(stream)
        if self._is_stopping:
            stream.end()
        try:
            await stream.run(filter_, options)
        except ConnectionError:
            pass  # the client went
        except TimeoutError:
            logger.info("a watch of {} is cut off: stalled", stream.cache.resource.name)
            stream.abort()
        finally:
            self._open.discard(stream)
            self._none_left.set()


class Stream:
    """One watch under way."""

    def __init__(
        self,
        request: web.Request,
        response: web.StreamResponse,
        cache: WatchCache,
        shown: Presenter,
        settings: ServeSettings,
        batches: Batches,
    ) -> None:
        self.cache = cache
        self.request = request
        self._response = response
        self._shown = shown
        self._settings = settings
        self._batches = batches
        self._wake = asyncio.Event()
        self._is_ended = False

    def end(self) -> None:
        """Let it end cleanly, soon."""
        self._is_ended = True
        self._wake.set()

    def abort(self) -> None:
        """Close the connection without a clean end: the client sees that something is missing."""
        if self.request.transport is not None:
            self.request.transport.abort()

    async def run(self, filter_: Filter, options: ListOptions) -> None:
        """Raises TimeoutError when the client takes nothing any more, and ConnectionError."""
        timeout = options.timeout if options.timeout > 0 else self._random_timeout()
        until = asyncio.get_running_loop().time() + timeout
        try:
            start = begin(self.cache, filter_, options)
            await self._send_initial(start, filter_)
            await self._follow(start.watcher, until, options.bookmarks)
        except TooOld as error:
            await self._write(event_line("ERROR", expired(str(error)).body()))
        except Overflow:
            # A clean end lets it resume where it is; an abrupt one would make it list anew.
            logger.info("a watch of {} is ended: too slow", self.cache.resource.name)
        async with asyncio.timeout(self._settings.stall):
            await self._response.write_eof()

    def _random_timeout(self) -> float:
        """Spread, so that the clients of a restarted server do not come back together for ever."""
        return random.uniform(self._settings.watch_min, 2 * self._settings.watch_min)

    async def _write(self, body: bytes) -> None:
        """Returns when the socket has room again. Raises TimeoutError, ConnectionError."""
        transport = self.request.transport
        if len(body) < SMALL and transport is not None and not transport.get_write_buffer_size():
            await self._response.write(body)  # cannot block, so needs no timer: half the cost
            return
        async with asyncio.timeout(self._settings.stall):
            await self._response.write(body)

    async def _send_initial(self, start: Start, filter_: Filter) -> None:
        breather = Breather()
        parts: list[bytes] = []
        size = 0
        for entry in start.initial:
            if filter_.matches(entry, self.cache.reader):
                parts += (EVENT_START["ADDED"], self._shown.one(entry.raw), EVENT_END)
                size += len(entry.raw)
            if size >= GROUP:
                await self._write(b"".join(parts))
                parts, size = [], 0
            if breather.is_due:
                await breather.pause()
        if start.end_mark is not None:
            mark = self._shown.bookmark(start.end_mark, is_initial_end=True)
            parts.append(event_line("BOOKMARK", mark))
        if parts:
            await self._write(b"".join(parts))

    async def _follow(self, watcher: Watcher, until: float, wants_bookmarks: bool) -> None:
        """Events as they come, until the time is over or the server stops."""
        every = self._settings.bookmark if wants_bookmarks else until
        alarm = Alarm(self._wake)
        try:
            while not self._is_ended:
                alarm.at(min(until, alarm.now() + every))
                await self._until_alarm(watcher, alarm, wants_bookmarks)
                if alarm.now() >= until:
                    break
                if wants_bookmarks and alarm.is_due:
                    await self._send_bookmark(watcher)
        finally:
            alarm.cancel()
        if wants_bookmarks:
            await self._send_bookmark(watcher)

    async def _until_alarm(self, watcher: Watcher, alarm: Alarm, wants_bookmarks: bool) -> None:
        try:
            while not (self._is_ended or alarm.is_due):
                self._wake.clear()
                taken = watcher.take()
                if taken is not None:
                    await self._send(taken, watcher.filter)
                    # Clients go on from the last version they saw, and revisions carry older ones.
                    if wants_bookmarks and taken.start <= self.cache.window.last_revision:
                        await self._send_bookmark(watcher)
                else:
                    self.cache.on_event(self, self._wake.set)
                    await self._wake.wait()
        finally:
            self.cache.forget(self)

    async def _send(self, taken: Taken, filter_: Filter) -> None:
        body = self._batches.encode(self.cache, taken, filter_, self._shown)
        if body:
            await self._write(body)
        if taken.end < self.cache.window.end:
            await asyncio.sleep(0)  # one that catches up lets the others run between

    async def _send_bookmark(self, watcher: Watcher) -> None:
        bookmark = self._shown.bookmark(watcher.version, is_initial_end=False)
        await self._write(event_line("BOOKMARK", bookmark))


class Alarm:
    """A time at which to wake; one timer for many waits."""

    def __init__(self, wake: asyncio.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._wake = wake
        self._time = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def now(self) -> float:
        return self._loop.time()

    def at(self, time: float) -> None:
        self.cancel()
        self._time = time
        self._timer = self._loop.call_at(time, self._wake.set)

    @property
    def is_due(self) -> bool:
        return self._loop.time() >= self._time

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
