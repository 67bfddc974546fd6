"""Tables: a feed's state kept durably, with the position it stands for, by one fenced writer.

In JetStream's KV form, written in atomic batches (ADR-50). Each batch ends with the feed's `meta`,
compared-and-set on the one before: a writer that was replaced without knowing has its whole batch
refused, object by object.

A few small changes ride in the meta message itself, until they get too many: then they go to their
own subjects, with the changes that were one too many.

A commit of up to 999 changes (and 4 MiB) is one batch. A larger one is several: each but the last
keeps the position and notes how far ahead of it objects may be; the last moves it. After a crash
between them `load` gives the old position and `is_exact` False: some objects are newer (or gone
sooner) than the position says. Whoever goes on from there meets those changes again.

The same holds where `commit` failed with anything but Conflict: none, some or all of the changes
are stored, the position is the old one (or, if only the answer was lost, the new one), and the
caller gives the changes again with a later commit.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Protocol

from bus import subjects
from bus.api import Bus
from bus.errors import BusDown, BusError, Conflict, DecodeError, RequestTimeout, StorageFull
from bus.feed.types import Change, Item, Position
from bus.jetstream import (
    EXPECT,
    OPERATION,
    TTL,
    JetStreamError,
    NoStream,
    Stored,
    api,
    checked,
    ensure_stream,
    kv_stream,
    kv_subject,
    last,
    store,
)
from bus.ordered import OrderedConsumer
from bus.table_format import (
    NOWHERE,
    Limits,
    Meta,
    Part,
    as_tail,
    decode_item,
    decode_key,
    encode_key,
    merge,
    parts,
    stored_size,
)

log = logging.getLogger(__name__)

_CALL_SECONDS = 2.0
_LOAD_SECONDS = 30.0
_LOADS = 5  # tries to load while somebody else writes
_BATCH_MESSAGES = 999  # the server takes 1000 a batch, the meta is one
_UNACKNOWLEDGED = 1 << 20  # bytes of a batch that may be under way
_AT_ONCE = 16  # batches; the server takes 50 a stream
_TOMBSTONE_SECONDS = 1  # then also the marker of a deleted object is gone
_PAUSE = 0.05  # seconds before a try that may succeed soon
_INCOMPLETE = 10176  # a batch: the server restarted within it, or could not write it to its disk
_AGAIN = frozenset({_INCOMPLETE, 10210})  # the other: too many batches in flight
_SMALLEST = 1 << 20
# A batch costs the server files and directories, 2 ms or more; one message a fifth of that. So
# small changes ride in the meta message until they are this many or large.
_TAIL = Limits(64, 32 << 10)
_DELETED = {OPERATION: "DEL", TTL: f"{_TOMBSTONE_SECONDS}s"}


@dataclass(frozen=True)
class TableState:
    """What was last committed; `upstream` is the writer's own note (a follower's place)."""

    items: Mapping[str, Item] = field(default_factory=dict)
    position: Position = NOWHERE
    upstream: bytes = b""
    is_exact: bool = True  # see the module: False where items may differ from the position's


@dataclass(frozen=True)
class TableSettings:
    max_bytes: int = 256 << 20  # reserved for all tables; halved until the server has that much
    batch_bytes: int = 4 << 20
    patience: float = 5.0  # seconds in which a commit is tried again while the bus does not answer
    replicas: int = 1


class ObjectTable(Protocol):
    async def load(self, feed: str) -> TableState:
        """The committed state; this writer's commits are compared from here on. Raises BusError."""

    async def commit(
        self, feed: str, changes: Sequence[Change], position: Position, upstream: bytes
    ) -> None:
        """Durable when it returns. Only after `load` (else ValueError).

        Raises Conflict if another writer committed since; StorageFull, which never keeps a commit
        from succeeding that makes room; and other BusErrors. What is then stored: see the module.
        """

    async def drop(self, feed: str) -> None:
        """Forgets a feed. Raises as `commit` does."""

    def may_hold(self, feed: str, key: str) -> bool:
        """Whether it matters to tell of a delete. Only after `load` (else ValueError)."""


@dataclass
class _Writer:
    """What we know of a feed that we loaded."""

    meta: Meta
    revision: int  # of the stored meta; 0: there is none
    sizes: dict[str, int]  # bytes as stored, by key
    number: int = 0  # of the last part that we tried to write
    leftovers: set[str] = field(
        default_factory=set
    )  # objects that the stored meta knows nothing of
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class JetStreamTable:
    """The real one. Feeds may be committed at the same time; one feed's commits queue up."""

    def __init__(
        self, bus: Bus, bucket: str = "objects", settings: TableSettings | None = None
    ) -> None:
        self._bus = bus
        self._bucket = bucket
        self._stream = kv_stream(bucket)
        self._settings = settings or TableSettings()
        self._writers: dict[str, _Writer] = {}
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._created = 0  # when the bucket was made, in ms
        self._limits = Limits(_BATCH_MESSAGES, 0)
        self._size = 0  # bytes that the server reserved for us
        self._limit = 0  # bytes that objects may take
        self._used = 0  # at most this many are taken
        self._is_refused = False  # the server has kept no batch for as long as we were patient

    # -- load --------------------------------------------------------------------------------------

    async def load(self, feed: str) -> TableState:
        await self._ensure()
        self._used = await self._stored_bytes()
        for _ in range(_LOADS):
            before = await self._stored_meta(feed)
            loading = _Loading(self._bus, self._stream, self._subject(feed, "o.>"))
            await loading.run(self._ensure)
            if _sequence(await self._stored_meta(feed)) == _sequence(before):
                return self._loaded(feed, before, loading)
        raise Conflict(f"table {feed}: another writer is at work")

    def _loaded(self, feed: str, stored: Stored | None, loading: _Loading) -> TableState:
        found = _meta(stored)
        meta = found or Meta()
        loading.overlay(meta.tail)
        self._writers[feed] = _Writer(
            meta=replace(meta, writer=secrets.token_hex(8)),
            revision=_sequence(stored),
            sizes=loading.sizes,
            leftovers=set() if found is not None else set(loading.sizes),
        )
        if found is None:
            return TableState()
        is_exact = meta.ahead is None and not loading.damaged
        return TableState(loading.items, meta.position, meta.upstream, is_exact)

    async def _stored_meta(self, feed: str) -> Stored | None:
        return await last(self._bus, self._stream, self._subject(feed, "meta"), _CALL_SECONDS)

    # -- commit ------------------------------------------------------------------------------------

    async def commit(
        self, feed: str, changes: Sequence[Change], position: Position, upstream: bytes
    ) -> None:
        async with self._writing(feed) as writer:
            forgotten = [Change(key, 0, None) for key in sorted(writer.leftovers)]
            objects = merge(writer.meta.tail, [*forgotten, *changes])
            tail = as_tail(objects, _TAIL)
            for part in parts({} if tail is not None else objects, self._limits):
                await self._make_sure_of_room(feed, writer, part)
                if part.is_last:
                    meta = writer.meta.after_commit(position, upstream, tail or {})
                else:
                    meta = writer.meta.before_part(position)
                writer.number += 1  # also where we then give up: that part may be written yet
                meta = replace(meta, number=writer.number)
                await self._write_surely(feed, writer, part, meta)
                _note(writer, part, meta)

    async def drop(self, feed: str) -> None:
        async with self._writing(feed) as writer:
            subject, headers = (
                self._subject(feed, "meta"),
                {**_DELETED, EXPECT: str(writer.revision)},
            )
            end = await store(self._bus, subject, b"", headers, _CALL_SECONDS)
            # Only up to here: a successor's objects are none of ours.
            body = {"filter": self._subject(feed, "o.>"), "seq": end}
            await api(self._bus, f"STREAM.PURGE.{self._stream}", body, _CALL_SECONDS)
            del self._writers[feed]

    def may_hold(self, feed: str, key: str) -> bool:
        writer = self._writer(feed)
        return key in writer.sizes or key in writer.leftovers or bool(writer.meta.tail.get(key))

    def _writer(self, feed: str) -> _Writer:
        writer = self._writers.get(feed)
        if writer is None:
            raise ValueError(f"table {feed}: not loaded")
        return writer

    @asynccontextmanager
    async def _writing(self, feed: str) -> AsyncIterator[_Writer]:
        writer = self._writer(feed)
        async with writer.lock, self._slots:
            yield writer

    async def _make_sure_of_room(self, feed: str, writer: _Writer, part: Part) -> None:
        """Raises StorageFull. What does not grow always has the room that is kept for one part."""
        growth = part.size - sum(writer.sizes.get(key, 0) for key in part.objects)
        growth -= sum(stored_size(key, None) for key, data in part.objects.items() if data is None)
        if growth <= 0:
            return
        if self._used + growth > self._limit:
            self._used = await self._stored_bytes()
        if self._used + growth > self._limit:
            raise StorageFull(
                f"table {feed}: {self._used} of {self._limit} bytes are taken, {growth} more wanted"
            )
        self._used += growth

    async def _stored_bytes(self) -> int:
        info = await api(self._bus, f"STREAM.INFO.{self._stream}", None, _CALL_SECONDS)
        return int(info["state"]["bytes"])

    async def _write_surely(self, feed: str, writer: _Writer, part: Part, meta: Meta) -> None:
        """Tries again while the bus does not answer, for as long as we are patient."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (0.0 if self._is_refused else self._settings.patience)
        while True:
            try:
                if await self._try(feed, writer, part, meta):
                    self._is_refused = False
                    return
            except (RequestTimeout, BusDown, NoStream, JetStreamError) as error:
                if loop.time() >= deadline or not _may_pass(error):
                    self._raise_if_refused(error)
                    raise
                log.debug("table %s: %s; tries again", feed, error)
                await self._pause(error, deadline - loop.time())

    def _raise_if_refused(self, error: BusError) -> None:
        """StorageFull for a batch that the server keeps refusing: nothing of it was written."""
        if isinstance(error, JetStreamError) and error.code == _INCOMPLETE:
            self._is_refused = True
            raise StorageFull(f"{error}: the bus's disk may be full") from error

    async def _try(self, feed: str, writer: _Writer, part: Part, meta: Meta) -> bool:
        """Whether it is written. Raises Conflict where somebody else wrote."""
        try:
            writer.revision = await self._write(feed, part, meta, writer.revision)
        except Conflict:
            return await self._was_written(feed, writer, meta)
        return True

    async def _was_written(self, feed: str, writer: _Writer, meta: Meta) -> bool:
        """After a refused write: perhaps it was we, in an earlier one whose answer got lost."""
        stored = await self._stored_meta(feed)
        found = _meta(stored)
        if found is None or found.writer != meta.writer:
            raise Conflict(f"table {feed}: another writer committed")
        writer.revision = _sequence(stored)
        return found.number == meta.number

    async def _pause(self, error: BusError, left: float) -> None:
        if isinstance(error, NoStream):
            created = self._created
            await self._ensure()
            if self._created != created:
                raise Conflict("the table's bucket was made anew") from error
        await asyncio.sleep(_PAUSE)  # the bus may not have noticed yet that it is down
        await self._bus.wait_up(max(left, _PAUSE))

    async def _write(self, feed: str, part: Part, meta: Meta, revision: int) -> int:
        """All or nothing."""
        headers = {EXPECT: str(revision)}
        if part.objects:
            headers |= await self._send(feed, part)
        subject = self._subject(feed, "meta")
        return await store(self._bus, subject, meta.pack(), headers, _CALL_SECONDS)

    async def _send(self, feed: str, part: Part) -> dict[str, str]:
        """The objects of a batch; the headers that will commit it."""
        batch, under_way = secrets.token_hex(8), 0
        for number, (key, data) in enumerate(part.objects.items(), 1):
            subject = self._subject(feed, f"o.{encode_key(key)}")
            headers = {} if data is not None else _DELETED
            headers = {**headers, **_batch_headers(batch, number)}
            under_way += len(data or b"")
            if under_way < _UNACKNOWLEDGED:
                await self._bus.publish(subject, data or b"", headers=headers)
                continue
            under_way = 0
            answer = await self._bus.request(
                subject, data or b"", timeout=_CALL_SECONDS, headers=headers
            )
            checked(answer, subject)
        return {**_batch_headers(batch, len(part.objects) + 1), "Nats-Batch-Commit": "1"}

    # -- the bucket --------------------------------------------------------------------------------

    def _subject(self, feed: str, rest: str) -> str:
        return kv_subject(self._bucket, f"{subjects.token(feed)}.{rest}")

    async def _ensure(self) -> None:
        wanted = self._settings.max_bytes
        size = self._size or wanted
        while True:
            try:
                self._created = await ensure_stream(self._bus, self._config(size), _CALL_SECONDS)
                break
            except StorageFull:
                size //= 2
                if size < _SMALLEST:
                    raise
        if size != self._size and size != wanted:
            log.warning("tables: the bus has room for %d MiB, not %d", size >> 20, wanted >> 20)
        self._size = size
        spare = min(self._settings.batch_bytes, size // 4)
        self._limits = Limits(_BATCH_MESSAGES, spare)
        self._limit = size - spare

    def _config(self, size: int) -> dict[str, object]:
        return {
            "name": self._stream,
            "subjects": [kv_subject(self._bucket, ">")],
            "max_msgs_per_subject": 1,
            "max_bytes": size,
            "storage": "file",
            "num_replicas": self._settings.replicas,
            "allow_atomic": True,
            "allow_msg_ttl": True,
            "allow_direct": True,
            "discard": "new",
        }


class _Loading:
    """Reads all objects of a feed."""

    def __init__(self, bus: Bus, stream: str, subject: str) -> None:
        self.items: dict[str, Item] = {}
        self.sizes: dict[str, int] = {}
        self.damaged = 0
        self._bus = bus
        self._stream = stream
        self._subject = subject
        self._done = asyncio.Event()

    async def run(self, prepare: Callable[[], Awaitable[None]]) -> None:
        consumer = OrderedConsumer(
            self._bus,
            self._stream,
            self._subject,
            on_begin=self._begin,
            on_message=self._add,
            prepare=prepare,
        )
        consumer.start()
        try:
            async with asyncio.timeout(_LOAD_SECONDS):
                await self._done.wait()
        except TimeoutError as error:
            raise RequestTimeout(f"{self._subject}: not read in {_LOAD_SECONDS} s") from error
        finally:
            await consumer.stop()

    def _begin(self, count: int) -> None:
        self.items.clear()
        self.sizes.clear()
        self.damaged = 0
        if not count:
            self._done.set()

    def _add(self, stored: Stored) -> None:
        if not stored.is_marker and not self._done.is_set():
            self._keep(decode_key(stored.subject[len(self._subject) - 1 :]), stored.data)
        if not stored.pending:
            self._done.set()

    def overlay(self, tail: Mapping[str, bytes | None]) -> None:
        for key, data in tail.items():
            self.items.pop(key, None)
            self.sizes.pop(key, None)
            if data is not None:
                self._keep(key, data)

    def _keep(self, key: str, data: bytes) -> None:
        self.sizes[key] = stored_size(key, data)
        try:
            self.items[key] = decode_item(data)
        except DecodeError as error:
            self.damaged += 1
            log.error("%s: %s is left out, its bytes are damaged: %s", self._subject, key, error)


def _note(writer: _Writer, part: Part, meta: Meta) -> None:
    """What a written part changed."""
    writer.meta = meta
    writer.leftovers.difference_update(part.objects)
    for key, data in part.objects.items():
        if data is None:
            writer.sizes.pop(key, None)
        else:
            writer.sizes[key] = stored_size(key, data)


def _batch_headers(batch: str, number: int) -> dict[str, str]:
    return {"Nats-Batch-Id": batch, "Nats-Batch-Sequence": str(number)}


def _may_pass(error: BusError) -> bool:
    return not isinstance(error, JetStreamError) or error.code in _AGAIN


def _sequence(stored: Stored | None) -> int:
    return stored.sequence if stored is not None else 0


def _meta(stored: Stored | None) -> Meta | None:
    """None where there is none, or a damaged one (the table then counts as empty)."""
    if stored is None or stored.is_marker:
        return None
    try:
        return Meta.unpack(stored.data)
    except DecodeError as error:
        log.error("%s: damaged, the table counts as empty: %s", stored.subject, error)
        return None
