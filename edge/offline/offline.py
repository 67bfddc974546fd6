"""`Offline`: writes that are made while the API server cannot be reached."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakValueDictionary

from actors.kube.resource import Resource, key_of
from actors.kube.schemas import published
from actors.kube.serve.api import RequestInfo, WriteResult
from actors.kube.status_errors import ApiError, service_unavailable, unknown_resource
from edge.offline.api import Objects, Replayed, Upstream
from edge.offline.bodies import decode_object
from edge.offline.book import Book, Place, settled
from edge.offline.chain import Edit, fold
from edge.offline.entry import Entry, decoded, encoded, uid_of
from edge.offline.merge import Object
from edge.offline.replay import Replay
from edge.offline.reports import Report
from edge.offline.settings import OfflineSettings
from edge.offline.store import Ops, Store, StoreFailed, Waiting
from edge.offline.tokens import Token, token_id, token_of
from edge.offline.writing import Wanted, Writing

if TYPE_CHECKING:
    from loguru import Logger

_T = TypeVar("_T")


class Offline:
    """Queues writes durably, shows them, and replays them.

    `write` answers once the write is on the medium. The writes of one object are done one after the
    other, and are replayed as the identities that made them.
    """

    def __init__(
        self,
        path: Path,
        settings: OfflineSettings,
        objects: Objects,
        clock: Callable[[], float] = time.time,
        *,
        log: Logger,
    ) -> None:
        self._settings = settings
        self._objects = objects
        self._clock = clock  # seconds since 1970
        self._log = log
        self._store = Store(path, log)
        self._book = Book(settings)
        self._writing = Writing(self._book, settings, clock)
        self._tokens: dict[int, Token] = {}
        self._locks: WeakValueDictionary[Place, asyncio.Lock] = WeakValueDictionary()
        self._loading = asyncio.Lock()
        self._is_loaded = False
        self._repairs = 0  # of the file, after which it had all that we have
        self._told: dict[Place, bytes | None] = {}  # by the cloud, of objects being written
        self._tasks: set[asyncio.Task[Any]] = set()
        self._replay = Replay(self, self._book, settings, clock, log)

    # -- life -------------------------------------------------------------------------------------

    async def start(self) -> None:
        """The queue is as it was, and shown again. A file that fails is told of, not raised."""
        await asyncio.to_thread(published)  # takes a while, once
        try:
            await self._load()
        except StoreFailed as error:
            self._log.error("the queue of offline writes cannot be read: {}", error)

    async def _load(self) -> None:
        """Once. Before it has succeeded nothing is written: what is there must not be overwritten.

        Raises StoreFailed.
        """
        async with self._loading:
            if self._is_loaded:
                return
            loaded = await self._store.load()
            self._is_loaded = True
            self._repairs = self._store.repairs
            self._book.load(loaded.entries)
            self._book.reports.extend(loaded.reports)
            self._tokens = {token.id: token for token in loaded.tokens}
            for chain in self._book.chains.values():
                first = chain.entries[0]
                self._objects.revise(first.resource, first.key, chain.view)
            if loaded.damaged or self._store.repairs:
                await self._tell_damage(loaded.damaged)

    async def stop(self) -> None:
        """What waits stays on disk. Idempotent."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))
        await self._store.close()

    async def _tell_damage(self, rows: int) -> None:
        self._book.counts["damaged"] += max(rows, 1)
        why = f"the queue's file was damaged: {rows or 'some'} of its rows could not be read"
        report = Report(
            at=self._clock(), verb="", resource="", namespace="", name="", uid="", identity="",
            component="", why=why,
        )  # fmt: skip
        self._log.error("offline writes were lost: {}", why)
        await self.commit(Ops(reports=(self.note(report),)))

    # -- what is known ----------------------------------------------------------------------------

    def has_pending(self, resource: Resource, key: str) -> bool:
        """Whether writes of this object wait, so that later ones must wait as well."""
        return (resource.name, key) in self._book.chains

    def is_written(self, resource: Resource, key: str) -> bool:
        """Whether `written` knows better than what the cloud told last."""
        place = (resource.name, key)
        return place in self._book.chains or self._book.awaited(place, self._clock()) is not None

    def written(self, resource: Resource, key: str) -> bytes | None:
        """The object as written here; None: it was deleted here, or see `is_written`."""
        place = (resource.name, key)
        if (chain := self._book.chains.get(place)) is not None:
            return chain.view
        settled = self._book.awaited(place, self._clock())
        return settled.view if settled is not None else None

    def views(self, resource: Resource) -> list[tuple[str, bytes | None]]:
        """What `written` says, of all objects of a resource for which `is_written`, by key."""
        places = [*self._book.chains, *self._book.settled]
        keys = dict.fromkeys(key for name, key in places if name == resource.name)
        return [(k, self.written(resource, k)) for k in keys if self.is_written(resource, k)]

    @property
    def pending(self) -> Mapping[str, int]:
        """What waits: counts, and bytes."""
        book = self._book
        return {"objects": book.entries - book.events, "events": book.events, "bytes": book.bytes}

    @property
    def counts(self) -> Mapping[str, int]:
        """Since the start: queued, replayed, dropped, events.dropped, refused, damaged ..."""
        return self._book.counts

    def reports(self) -> list[Report]:
        """What could not be replayed, oldest first."""
        return [report for _, report in self._book.reports]

    def on_server_object(self, resource: Resource, key: str, raw: bytes | None) -> bytes | None:
        """The cloud tells of an object (None: it is gone): what is to be shown in its place.

        To be called before it is shown, for every change; it calls none of `Objects`. Where nothing
        was written it costs a look-up.
        """
        place = (resource.name, key)
        if place in self._book.chains:
            return self._rebased(place, raw)
        return self._book.told(place, raw, self._clock())

    def _rebased(self, place: Place, raw: bytes | None) -> bytes | None:
        chain = self._book.chains[place]
        server = decoded(raw) if raw is not None else None
        if server is not None and chain.is_ahead_of(server):
            return chain.view  # of a watch that is behind another
        if (lock := self._locks.get(place)) is not None and lock.locked():
            self._told[place] = raw  # once the write is done
            visible = fold(chain.entries, server)
            return encoded(visible) if visible is not None else None
        chain, puts = chain.on(server)
        self._book.set(place, chain)
        if puts:
            # Not waited for: what is lost of it, the cloud tells again.
            waiting = self._store.enqueue(Ops(puts=puts))
            self.own("offline-rebase", self._forgiving(waiting))
        return chain.view

    async def _forgiving(self, waiting: Waiting) -> None:
        try:
            await self._store.done(waiting)
        except StoreFailed as error:
            self._log.warning("the queue of offline writes cannot be written: {}", error)

    def on_answer(self, resource: Resource, key: str, raw: bytes) -> None:
        """The API server has answered a later write, past the queue, with this object: what it made
        of a replayed one before is not the newest any more."""
        place = (resource.name, key)
        now = self._clock()
        if place not in self._book.chains and self._book.awaited(place, now) is not None:
            newest = decoded(raw)
            self._book.settle(place, settled(newest, uid_of(newest), now))

    # -- writes -----------------------------------------------------------------------------------

    async def write(
        self, info: RequestInfo, body: bytes, content_type: str, identity: str, component: str
    ) -> WriteResult:
        """On the medium when it returns. Raises ApiError: 4xx for what is wrong, 503 for what may
        not be done later, 507 where there is no room.

        A client that goes away meanwhile leaves the write as it is.
        """
        if info.resource is None:
            raise unknown_resource()
        wanted = Wanted(info, info.resource, body, content_type, identity, component)
        work = self._token(wanted) if wanted.is_token else self._write(wanted)
        try:
            return await asyncio.shield(self.own("offline-write", work))
        except ApiError as error:
            self._book.counts["refused"] += error.code >= 500
            raise

    async def _write(self, wanted: Wanted) -> WriteResult:
        made = self._writing.prepare(wanted)
        try:
            await self._load()
        except StoreFailed as error:
            raise self._book.full(str(error)) from error
        place = (wanted.resource.name, key_of(wanted.info.namespace, made.name))
        async with self.locked(place):
            held = self._held(place, wanted.resource)
            result = self._writing.decide(wanted, made, held)
            if result.edit is not None:
                await self._keep(place, wanted.resource, result.edit, result.view)
                self._book.counts["queued"] += 1
        self.catch_up(place)
        return result.answer

    def _held(self, place: Place, resource: Resource) -> Object | None:
        chain = self._book.chains.get(place)
        settled = self._book.awaited(place, self._clock())
        if chain is not None:
            raw = chain.view
        elif settled is not None:
            raw = settled.view
        else:
            raw = self._objects.get(resource, place[1])
        return decoded(raw) if raw is not None else None

    async def _keep(
        self, place: Place, resource: Resource, edit: Edit, view: Object | None
    ) -> None:
        """Raises ApiError 507."""
        victims = self._book.make_room(place, edit, self._is_locked)
        removes = (*edit.removes, *(event.id for event in victims))
        try:
            await self.commit(Ops(puts=edit.puts, removes=removes))
        except StoreFailed as error:
            raise self._book.full(str(error)) from error
        for event in victims:
            self._forget_event(event)
        chain = self._writing.chain(place).with_edit(edit, view)
        self._book.set(place, chain)
        self._objects.revise(resource, place[1], chain.view)

    def _forget_event(self, event: Entry) -> None:
        self._book.set(event.place, None)
        self._book.counts["events.dropped"] += 1
        self._objects.restore(event.resource, event.key)

    # -- tokens -----------------------------------------------------------------------------------

    async def remember(
        self, info: RequestInfo, body: bytes, content_type: str, answer: bytes, identity: str
    ) -> None:
        """A service account's token that the API server has just given (JSON, status 201)."""
        if info.resource is None:
            return
        wanted = Wanted(info, info.resource, body, content_type, identity, "")
        try:
            token = token_of(self._token_id(wanted), answer)
        except ApiError:
            return  # what cannot be read here cannot be asked for here
        if token is None:
            return
        try:
            await self._load()
        except StoreFailed:
            return
        now = self._clock()
        old = [each.id for each in self._tokens.values() if each.until <= now]
        left = sorted(
            (each for each in self._tokens.values() if each.until > now), key=lambda t: t.until
        )
        old += [each.id for each in left[: max(0, len(left) + 1 - self._settings.max_tokens)]]
        ops = Ops(tokens=(token,), old_tokens=tuple(old))
        for number in old:
            del self._tokens[number]
        self._tokens[token.id] = token
        await asyncio.shield(self.own("offline-token", self._forgiving(self._store.enqueue(ops))))

    def _token_id(self, wanted: Wanted) -> int:
        """Raises ApiError."""
        info = wanted.info
        request = decode_object(
            wanted.body, wanted.content_type, wanted.token_request, self._settings.retry_after
        )
        return token_id(wanted.identity, info.namespace, info.name, request)

    async def _token(self, wanted: Wanted) -> WriteResult:
        token = self._tokens.get(self._token_id(wanted))
        if token is not None and token.until - self._settings.token_margin > self._clock():
            return WriteResult(201, token.answer)
        why = "has run out" if token is not None else "was not asked for before"
        raise service_unavailable(
            f"a token of service account {wanted.info.namespace}/{wanted.info.name} like this"
            f" {why}, and the API server, which alone makes them, cannot be reached",
            self._settings.retry_after,
        )

    # -- replay -----------------------------------------------------------------------------------

    async def replay(self, upstream: Upstream) -> Replayed:
        """One pass over all that waits, until nothing is left that can be done now, or the API
        server cannot be reached. One pass at a time."""
        return await self._replay(upstream)

    # -- for `Replay` -----------------------------------------------------------------------------

    def locked(self, place: Place) -> asyncio.Lock:
        lock = self._locks.get(place)
        if lock is None:
            lock = self._locks[place] = asyncio.Lock()
        return lock

    def _is_locked(self, place: Place) -> bool:
        lock = self._locks.get(place)
        return lock is not None and lock.locked()

    async def commit(self, ops: Ops) -> None:
        """Raises StoreFailed."""
        await self._store.done(self._store.enqueue(ops))
        if self._store.repairs != self._repairs:  # the file was damaged; we know what was in it
            self._repairs = self._store.repairs
            known = {*ops.removes, *(entry.id for entry in ops.puts)}
            puts = tuple(entry for entry in self._book.all() if entry.id not in known)
            await self._store.done(self._store.enqueue(Ops(puts=puts)))

    def note(self, report: Report) -> tuple[int, Report]:
        number = self._book.report_number()
        self._book.reports.append((number, report))
        return number, report

    def catch_up(self, place: Place) -> None:
        """What the cloud told while the object was locked."""
        if place not in self._told or self._is_locked(place):
            return
        raw = self._told.pop(place)
        if place in self._book.chains:
            resource = self._book.chains[place].entries[0].resource
            self._objects.revise(resource, place[1], self._rebased(place, raw))

    def show(self, entry: Entry, raw: bytes | None) -> None:
        self._objects.revise(entry.resource, entry.key, raw)

    def restore(self, entry: Entry) -> None:
        self._objects.restore(entry.resource, entry.key)

    def own(self, name: str, work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        """A task that `stop` waits for."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
