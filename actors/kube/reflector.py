"""Keeps one resource of an API server here and hands on what changes; `reflect_plan` decides."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from actors.actor import Clock, SystemClock
from actors.backoff import RestartPolicy
from actors.kube.client import ClusterClient, Stream
from actors.kube.client_errors import KubeError, Refused, Unreachable
from actors.kube.raw_events import Bookmark, Garbled, Lines, Shape, list_version, uid_of
from actors.kube.reflect_plan import PAUSES, Ask, End, Ending, ReflectPlan, Request, difference
from actors.kube.resource import Resource, path_of
from actors.kube.seam import Seam, Torn
from bus.feed.types import Change, Item

if TYPE_CHECKING:
    from loguru import Logger

CLUSTER_IDENTITY = "/api/v1/namespaces/kube-system"  # its uid is the usual id of a cluster
METADATA_ONLY = (
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,"
    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,"
    "application/json"
)


@dataclass(frozen=True, slots=True)
class SourceBatch:
    """What arrived together. Without changes it says that `version` holds now.

    `whole`: it comes from a list, as the difference to what was handed on before.
    `reset`: the source is another one, or an older state of itself. Versions may have gone back;
    `changes` turn the old state into the new one all the same.
    """

    changes: tuple[Change, ...]
    version: int
    whole: bool = False
    reset: bool = False


@dataclass(frozen=True)
class Known:
    """What an earlier life knew of the source."""

    uid: str = ""
    version: int = 0


@dataclass(frozen=True)
class ReflectorSettings:
    policy: RestartPolicy = PAUSES
    mark_seconds: float = 10.0
    """Silence in a watch-list before its end mark that shows a server which knows no marks, or in a
    resumed watch before what we know that shows a server with another past."""
    quiet_seconds: float = 20.0
    """Silence in a watch after which the server is asked whether it lives."""
    answer_seconds: float = 10.0
    """What it gets to answer that."""
    overtime: float = 30.0
    """What a watch may last beyond its timeoutSeconds, which the server should keep."""
    gone_seconds: float = 30.0
    """404 for this long means that the resource is no longer served. A starting API server says so
    as well, until it has read its CRDs."""


@dataclass
class ReflectorStats:
    events: int = 0
    bytes: int = 0
    relists: Counter[str] = field(default_factory=Counter)  # by reason
    endings: Counter[str] = field(default_factory=Counter)  # unhappy ones, by kind
    error: str = ""  # what is wrong now; "" while all is well


class ResourceGone(KubeError):
    """The API server does not serve the resource any more."""


class _Over(Exception):
    """A request is over in a way that the plan must know."""

    def __init__(self, ending: Ending) -> None:
        self.ending = ending


OnBatch = Callable[[SourceBatch], Awaitable[None]]


class Reflector:
    """`run` goes on until cancelled, or raises ResourceGone. `on_batch` is awaited in order.

    `items` is the state that has been handed on; their bytes are shared with the changes. `accept`
    may ask for less than whole objects (METADATA_ONLY).
    """

    def __init__(
        self,
        client: ClusterClient,
        resource: Resource,
        on_batch: OnBatch,
        log: Logger,
        *,
        known: Known = Known(),
        settings: ReflectorSettings | None = None,
        clock: Clock | None = None,
        accept: str = "application/json",
    ) -> None:
        self.resource = resource
        self.items: dict[str, Item] = {}
        self.stats = ReflectorStats()
        self._client = client
        self._path = path_of(resource)
        self._accept = accept
        self._shape = Shape(resource.api_version, resource.kind)
        self._on_batch = on_batch
        self._log = log
        self._settings = settings or ReflectorSettings()
        self._clock = clock or SystemClock()
        self._plan = ReflectPlan(known.version, known.uid, policy=self._settings.policy)
        self._resync = asyncio.Event()
        self._resync_why = ""
        self._handing_on = asyncio.Lock()  # a resync must not come between state and batch
        self._complaint = ""  # the kind of trouble that was logged last
        self._stream: Stream | None = None
        self._began = 0.0  # when the running answer began
        self._heard = -math.inf  # when the state was last known to be current
        self._heard_bytes = 0.0  # when the stream last brought anything
        self._missing_since: float | None = None

    def __repr__(self) -> str:
        return f"<Reflector {self.resource.name} at {self.version}, {len(self.items)} objects>"

    @property
    def version(self) -> int:
        return self._plan.version

    @property
    def uid(self) -> str:
        """The cluster's identity, "" where it is not known."""
        return self._plan.uid

    def age(self) -> float:
        """Seconds since the state was known to be current; inf before the first."""
        now = self._clock.monotonic()
        if self._stream is not None:
            # Where the kernel does not tell, an open watch counts as current. Noted each time we
            # are asked (once a tick): nobody can tell any more once the connection is gone.
            self._heard = max(self._heard, now - (self._stream.silence() or 0.0))
        return max(0.0, now - self._heard)

    def resync(self, reason: str) -> None:
        """Lists all anew; the differences are handed on."""
        self._resync_why = reason
        self._resync.set()

    async def run(self) -> None:
        while True:
            request = self._plan.next()
            ending = await self._perform(request)
            if self._resync.is_set():
                self._resync.clear()
                self._plan.resync(self._resync_why)
            elif ending is not None:
                self._note(request, ending)
                await self._pause(self._plan.ended(request.ask, ending, self._clock.monotonic()))

    async def _perform(self, request: Request) -> Ending | None:
        """None where the plan has been told already, or a resync came in between."""
        self._began = 0.0
        try:
            await self._interruptible(self._act(request))
        except _Over as over:
            return over.ending._replace(lasted=self._lasted())
        except Garbled as error:
            return Ending(End.GARBLED, self._lasted(), text=str(error))
        except Torn as error:
            return Ending(End.TORN, self._lasted(), text=str(error))
        except Refused as error:
            return Ending(End.REFUSED, self._lasted(), error.code, error.retry_after, str(error))
        except KubeError as error:
            return Ending(End.BROKEN, self._lasted(), text=str(error))
        finally:
            self._stream = None
        if request.ask in (Ask.PROBE, Ask.LIST):
            return None
        return Ending(End.CLEAN, self._lasted())

    def _lasted(self) -> float:
        return self._clock.monotonic() - self._began if self._began else 0.0

    async def _act(self, request: Request) -> None:
        if request.ask is Ask.PROBE:
            await self._probe(request)
        elif request.ask is Ask.LIST:
            await self._list(request)
        else:
            await self._watch(request)

    async def _interruptible(self, work: Coroutine[Any, Any, None]) -> None:
        """Does `work` unless `resync` comes first, or the server turns out to be stuck; what is
        being handed on is handed on."""
        name = f"reflect {self.resource.name}"
        doing = asyncio.create_task(work, name=name)
        asked = asyncio.create_task(self._resync.wait(), name=f"{name}: resync")
        stuck = asyncio.create_task(self._until_stuck(), name=f"{name}: silence")
        try:
            await asyncio.wait({doing, asked, stuck}, return_when=asyncio.FIRST_COMPLETED)
            async with self._handing_on:
                doing.cancel()
        finally:
            for task in (doing, asked, stuck):
                task.cancel()
            await asyncio.wait({doing, asked, stuck})
        if not doing.cancelled():
            doing.result()
        elif not stuck.cancelled():
            stuck.result()

    async def _until_stuck(self) -> None:
        """Raises Unreachable when a watch is silent and the server answers nothing else, or when it
        has lasted far too long: the kernel at the other end may well live (see `liveness`) while
        the server hangs. client-go's HTTP/2 pings are for the same.
        """
        quiet, now = self._settings.quiet_seconds, self._clock.monotonic
        asked = now()
        while True:
            wait = max(asked, self._heard_bytes) + quiet - now()
            if wait > 0:
                await asyncio.sleep(wait)
            elif self._stream is None:
                asked = now()
            elif self._lasted() > self._plan.watch_seconds + self._settings.overtime:
                raise Unreachable("the watch did not end when it should have")
            else:
                await self._ask_whether_alive()
                asked = now()

    async def _ask_whether_alive(self) -> None:
        try:
            async with asyncio.timeout(self._settings.answer_seconds):
                await self._client.get("/version")
        except TimeoutError:
            raise Unreachable("the server is silent and answers nothing") from None
        except Refused:
            return  # it lives

    # -- requests

    async def _probe(self, request: Request) -> None:
        uid = await self._read_uid()
        version = None
        if request.query:
            version = list_version(await self._client.get(self._path, request.query))
        self._plan.probed(uid, version, self.items)

    async def _read_uid(self) -> str:
        try:
            return uid_of(await self._client.get(CLUSTER_IDENTITY))
        except Refused as error:
            if error.code in (403, 404):
                return ""  # not ours to read, or no such cluster: the version must do
            raise

    async def _list(self, request: Request) -> None:
        found: dict[str, Item] = {}
        query, version = request.query, 0
        while True:
            body = await self._client.get(self._path, query, self._accept)
            self._began = self._began or self._clock.monotonic()
            self.stats.bytes += len(body)
            page = self._shape.page(body)
            found.update(page.objects)
            version = page.version
            if not page.continue_:
                return await self._take_whole(found, version)
            query = (("limit", dict(request.query)["limit"]), ("continue", page.continue_))

    async def _watch(self, request: Request) -> None:
        async with self._client.stream(self._path, request.query, self._accept) as stream:
            self._began = self._clock.monotonic()
            lines = Lines()
            async with aclosing(stream.chunks()) as chunks:
                if request.ask is Ask.WATCH_LIST:
                    await self._take_initial(chunks, lines)
                elif self._plan.seam is not None:
                    await self._take_proof(chunks, lines, self._plan.seam)
                self._current(stream)
                async for chunk in chunks:
                    self._heard = self._heard_bytes = self._clock.monotonic()
                    await self._take(self._events(lines, chunk))
            if lines.is_cut:
                raise _Over(Ending(End.BROKEN, 0.0, text="ended in the middle of an event"))

    def _current(self, stream: Stream) -> None:
        self._stream = stream
        self._heard = self._clock.monotonic()
        self._missing_since = None
        if self.stats.error:
            self._log.info("{} follows again", self.resource.name)
            self.stats.error = self._complaint = ""

    def _events(self, lines: Lines, chunk: bytes) -> list[Change | Bookmark | Refused]:
        whole = lines.feed(chunk)
        self.stats.bytes += len(chunk)
        self.stats.events += len(whole)
        return [self._shape.event(line) for line in whole]

    async def _take_initial(self, chunks: AsyncIterator[bytes], lines: Lines) -> None:
        """The first part of a watch-list; what follows the end mark in its chunk is not lost."""
        found: dict[str, Item] = {}
        while True:
            try:
                events = self._events(lines, await self._soon(chunks))
            except TimeoutError:
                text = "a watch-list without an end mark"
                raise _Over(Ending(End.NO_MARK, 0.0, text=text)) from None
            for index, event in enumerate(events):
                if isinstance(event, Refused):
                    raise event
                if isinstance(event, Change):
                    _apply(found, event)
                elif event.ends_initial:
                    await self._take_whole(found, event.version)
                    return await self._take(events[index + 1 :])

    async def _take_proof(self, chunks: AsyncIterator[bytes], lines: Lines, seam: Seam) -> None:
        """A watch that begins with what we know tells it at once, if its source knows it too."""
        while not seam.is_proven:
            try:
                chunk = await self._soon(chunks)
            except TimeoutError:
                seam.end()
            else:
                await self._take(self._events(lines, chunk))

    async def _soon(self, chunks: AsyncIterator[bytes]) -> bytes:
        """Raises TimeoutError."""
        try:
            async with asyncio.timeout(self._settings.mark_seconds):
                return await anext(chunks)
        except StopAsyncIteration:
            raise _Over(Ending(End.BROKEN, 0.0, text="ended before its first part did")) from None

    # -- results

    async def _take_whole(self, found: dict[str, Item], version: int) -> None:
        async with self._handing_on:
            reason = self._plan.relist or "start"
            self._plan.listed(version, self.items, found)
            self.stats.relists[reason] += 1
            changes = difference(self.items, found, version)
            self.items = found
            self._heard = self._clock.monotonic()
            self._tell_listed(reason, len(changes))
            reset = bool(self._plan.rolled_back)
            await self._on_batch(SourceBatch(changes, version, whole=True, reset=reset))
            self._plan.handed_on()

    def _tell_listed(self, reason: str, changes: int) -> None:
        name = self.resource.name
        if self._plan.rolled_back:
            self._log.warning("{} went back: {}", name, self._plan.rolled_back)
        self._log.debug(
            "{} listed ({}): {} objects, version {}, {} changes",
            name,
            reason,
            len(self.items),
            self.version,
            changes,
        )

    async def _take(self, events: list[Change | Bookmark | Refused]) -> None:
        good: list[Change | Bookmark] = []
        for event in events:
            if isinstance(event, Refused):
                break
            good.append(event)
        async with self._handing_on:
            await self._take_good(self._beyond_seam(good))
        if len(good) < len(events):
            raise next(event for event in events if isinstance(event, Refused))

    def _beyond_seam(self, events: list[Change | Bookmark]) -> list[Change | Bookmark]:
        seam = self._plan.seam
        if seam is None:
            return events
        beyond = seam.beyond(events)
        if seam.is_over:
            self._plan.proven()
        return beyond

    async def _take_good(self, events: list[Change | Bookmark]) -> None:
        version = max((event.version for event in events), default=0)
        changes = [
            event for event in events if isinstance(event, Change) and _apply(self.items, event)
        ]
        if changes or version > self.version:
            self._plan.advanced(version)
            await self._on_batch(SourceBatch(tuple(changes), self.version))

    # -- endings

    def _note(self, request: Request, ending: Ending) -> None:
        if ending.end is End.CLEAN:
            return
        kind = str(ending.code) if ending.code else ending.end.value
        self.stats.endings[kind] += 1
        self._log.debug("{}: {} ended: {}", self.resource.name, request.ask, ending.text)
        if ending.code == 404:
            self._note_missing()
        if ending.end in (End.NO_MARK, End.TORN) or ending.code == 410:
            return  # no trouble: the next request is another one
        self.stats.error = ending.text
        if kind != self._complaint:
            self._complaint = kind
            self._log.info("{} is interrupted: {}", self.resource.name, ending.text)

    def _note_missing(self) -> None:
        now = self._clock.monotonic()
        self._missing_since = self._missing_since or now
        if now - self._missing_since >= self._settings.gone_seconds:
            raise ResourceGone(f"{self.resource.name} is not served any more")

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._resync.wait()
        except TimeoutError:
            return


def _apply(items: dict[str, Item], change: Change) -> bool:
    """False where there was nothing to do."""
    if change.data is None:
        return items.pop(change.key, None) is not None
    items[change.key] = Item(change.version, change.data)
    return True
