"""Tables: a feed's state kept durably, with the position it stands for, by one fenced writer.

In JetStream's KV form (one subject per object, its last message is its value), written in atomic
batches (ADR-50). Each batch ends with the feed's `meta` message, compared-and-set on the one before:
a writer that was replaced without knowing has its whole batch refused.

A commit larger than a batch goes as several; only the last moves the position. After a crash between
them some objects are newer than the position says, which is no harm: whoever loads the table goes on
from the position and meets those changes again.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import quote, unquote

import msgpack

from bus.api import Bus, Message
from bus.errors import BusDown, BusError, Conflict, DecodeError, RequestTimeout
from bus.feed.types import Change, Item, Position
from bus.jetstream import EXPECT, TTL, NoStream, api, ensure_stream, last, store
from bus.zstd import compress, decompress

BATCH = 500  # changes; the server takes 1000 messages
BATCH_BYTES = 4 << 20
_CALL_SECONDS = 5.0
_SILENCE = 5.0  # seconds without a message while loading: try again
_TOMBSTONE = "60s"  # then a deleted object's marker is gone, too
_LIMIT = 16 << 20  # of one object, uncompressed
_RAW, _ZSTD = 0, 1
_COMPRESS_FROM = 256  # bytes


@dataclass(frozen=True)
class TableState:
    """What was last committed; `upstream` is the writer's own note (a follower's place)."""

    items: Mapping[str, Item] = field(default_factory=dict)
    position: Position = Position()
    upstream: bytes = b""


class ObjectTable(Protocol):
    async def load(self, feed: str) -> TableState:
        """The committed state, from which on this writer's commits are compared. Raises BusError."""

    async def commit(
        self, feed: str, changes: Sequence[Change], position: Position, upstream: bytes
    ) -> None:
        """Durable when it returns. Only after `load`.

        Raises Conflict if another writer committed since; StorageFull, and other BusErrors, where it
        was not written: the same may be committed again later.
        """


class JetStreamTable:
    """The real one. Not for two tasks at once."""

    def __init__(self, bus: Bus, bucket: str = "objects") -> None:
        self._bus = bus
        self._stream = f"KV_{bucket}"
        self._prefix = f"$KV.{bucket}."
        self._revisions: dict[str, int] = {}  # of each feed's meta
        self._is_ensured = False

    async def load(self, feed: str) -> TableState:
        await self._ensure()
        meta = await last(self._bus, self._stream, self._meta(feed), _CALL_SECONDS)
        self._revisions[feed] = meta.sequence if meta is not None else 0
        if meta is None:
            return TableState()
        lineage, version, upstream = _unpack(meta.data)
        items = await _Loading(self._bus, self._stream, self._objects(feed)).run()
        return TableState(items, Position(lineage, version), upstream)

    async def commit(
        self, feed: str, changes: Sequence[Change], position: Position, upstream: bytes
    ) -> None:
        messages = [self._message(feed, change) for change in changes]
        slices = _slices(messages)
        for part in slices[:-1]:
            state = await last(self._bus, self._stream, self._meta(feed), _CALL_SECONDS)
            await self._batch(
                feed, part, state.data if state is not None else _pack(Position(), b"")
            )
        await self._batch(feed, slices[-1], _pack(position, upstream))

    async def _batch(self, feed: str, messages: Sequence[_Outgoing], meta: bytes) -> None:
        """All or nothing. A lost answer leaves our revision unsure: settled by reading it."""
        batch = secrets.token_hex(8)
        for number, (subject, data, extra) in enumerate(messages, 1):
            headers = {"Nats-Batch-Id": batch, "Nats-Batch-Sequence": str(number), **extra}
            await self._bus.publish(subject, data, headers=headers)
        headers = {EXPECT: str(self._revisions[feed])}
        if messages:
            headers |= {
                "Nats-Batch-Id": batch,
                "Nats-Batch-Sequence": str(len(messages) + 1),
                "Nats-Batch-Commit": "1",
            }
        try:
            subject = self._meta(feed)
            self._revisions[feed] = await store(self._bus, subject, meta, headers, _CALL_SECONDS)
        except (RequestTimeout, BusDown) as error:
            raise _Unsure(f"table {feed}: unknown whether it was committed: {error}") from error
        except NoStream:
            self._is_ensured = False
            raise

    def _message(self, feed: str, change: Change) -> _Outgoing:
        subject = self._objects(feed)[:-1] + encode_key(change.key)
        if change.data is None:
            return subject, b"", {"KV-Operation": "DEL", TTL: _TOMBSTONE}
        return subject, encode_item(Item(change.version, change.data)), {}

    def _meta(self, feed: str) -> str:
        return f"{self._prefix}{feed}.meta"

    def _objects(self, feed: str) -> str:
        return f"{self._prefix}{feed}.o.>"

    async def _ensure(self) -> None:
        if self._is_ensured:
            return
        config = {
            "name": self._stream,
            "subjects": [self._prefix + ">"],
            "max_msgs_per_subject": 1,
            "storage": "file",
            "allow_atomic": True,
            "allow_msg_ttl": True,
            "allow_direct": True,
            "discard": "new",
        }
        await ensure_stream(self._bus, config, _CALL_SECONDS)
        self._is_ensured = True


_Outgoing = tuple[str, bytes, dict[str, str]]


class _Unsure(BusError):
    """The writer must load again before it goes on."""


class _Loading:
    """Reads all objects of a feed through a short-lived push consumer."""

    def __init__(self, bus: Bus, stream: str, subject: str) -> None:
        self._bus = bus
        self._stream = stream
        self._subject = subject
        self._items: dict[str, Item] = {}
        self._heard = asyncio.Event()
        self._left: int | None = None

    async def run(self) -> dict[str, Item]:
        inbox = self._bus.inbox()
        subscription = await self._bus.subscribe(inbox, self._on_message)
        try:
            await self._bus.flush(_CALL_SECONDS)
            name = await self._consume(inbox)
            await self._until_done()
            await api(self._bus, f"CONSUMER.DELETE.{self._stream}.{name}", None, _CALL_SECONDS)
        finally:
            await subscription.unsubscribe()
        return self._items

    async def _consume(self, inbox: str) -> str:
        config: dict[str, Any] = {
            "deliver_policy": "last_per_subject",
            "ack_policy": "none",
            "filter_subject": self._subject,
            "deliver_subject": inbox,
            "inactive_threshold": 10_000_000_000,
            "max_deliver": 1,
            "mem_storage": True,
            "num_replicas": 1,
        }
        body = {"stream_name": self._stream, "config": config}
        made = await api(self._bus, f"CONSUMER.CREATE.{self._stream}", body, _CALL_SECONDS)
        if self._left is None:
            self._left = int(made.get("num_pending", 0)) + int(
                made.get("delivered", {}).get("consumer_seq", 0)
            )
        return str(made["name"])

    def _on_message(self, message: Message) -> None:
        if not message.reply.startswith("$JS.ACK."):
            return
        key = decode_key(message.subject[len(self._subject) - 1 :])
        if "KV-Operation" not in message.headers:
            self._items[key] = decode_item(message.data)
        self._left = int(message.reply.rsplit(".", 1)[1])  # how many are still to come
        self._heard.set()

    async def _until_done(self) -> None:
        while self._left != 0:
            self._heard.clear()
            try:
                async with asyncio.timeout(_SILENCE):
                    await self._heard.wait()
            except TimeoutError as error:
                raise RequestTimeout(f"{self._subject}: fell silent while loading") from error


class MemoryTable:
    """The same contract in memory; writers that share `shared` fence each other off."""

    def __init__(self, shared: dict[str, tuple[int, TableState]] | None = None) -> None:
        self._shared = {} if shared is None else shared
        self._revisions: dict[str, int] = {}

    async def load(self, feed: str) -> TableState:
        self._revisions[feed], state = self._shared.get(feed, (0, TableState()))
        return state

    async def commit(
        self, feed: str, changes: Sequence[Change], position: Position, upstream: bytes
    ) -> None:
        revision, state = self._shared.get(feed, (0, TableState()))
        if revision != self._revisions[feed]:
            raise Conflict(f"table {feed}: another writer committed")
        items = dict(state.items)
        for change in changes:
            if change.data is None:
                items.pop(change.key, None)
            else:
                items[change.key] = Item(change.version, change.data)
        self._revisions[feed] = revision + 1
        self._shared[feed] = revision + 1, TableState(items, position, upstream)


def encode_key(key: str) -> str:
    """As one subject token that people can still read: "default/app" → "default=2Fapp"."""
    return quote(key, safe="").replace(".", "%2E").replace("%", "=").replace("~", "=7E")


def decode_key(token: str) -> str:
    return unquote(token.replace("=", "%"))


def encode_item(item: Item) -> bytes:
    """Version and bytes, compressed where that helps."""
    if len(item.data) >= _COMPRESS_FROM:
        packed = compress(item.data)
        if len(packed) < len(item.data):
            return bytes(msgpack.packb([item.version, _ZSTD, packed]))
    return bytes(msgpack.packb([item.version, _RAW, item.data]))


def decode_item(data: bytes) -> Item:
    """Raises DecodeError."""
    try:
        version, form, content = msgpack.unpackb(data, max_bin_len=_LIMIT)
    except (ValueError, TypeError, msgpack.exceptions.UnpackException) as error:
        raise DecodeError(f"not a table's object: {error!r}", data) from error
    return Item(int(version), decompress(content, _LIMIT) if form == _ZSTD else content)


def _pack(position: Position, upstream: bytes) -> bytes:
    return bytes(msgpack.packb([position.lineage, position.version, upstream]))


def _unpack(data: bytes) -> tuple[int, int, bytes]:
    try:
        lineage, version, upstream = msgpack.unpackb(data)
    except (ValueError, TypeError, msgpack.exceptions.UnpackException) as error:
        raise DecodeError(f"not a table's meta: {error!r}", data) from error
    return int(lineage), int(version), bytes(upstream)


def _slices(messages: Sequence[_Outgoing]) -> list[list[_Outgoing]]:
    """In order, each within a batch's bounds; at least one, perhaps empty."""
    slices: list[list[_Outgoing]] = [[]]
    size = 0
    for message in messages:
        if len(slices[-1]) >= BATCH or (slices[-1] and size + len(message[1]) > BATCH_BYTES):
            slices.append([])
            size = 0
        slices[-1].append(message)
        size += len(message[1])
    return slices
