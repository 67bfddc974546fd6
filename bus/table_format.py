"""How a table lies in its stream: keys as subjects, objects and `meta` as bytes, commits as parts.

Pure. A feed's objects are at `<feed>.o.<key>`, its meta at `<feed>.meta`; each is the last message
of its subject.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple
from urllib.parse import quote, unquote

import msgpack

from bus.errors import DecodeError
from bus.feed.types import Change, Item, Position
from bus.zstd import compress, decompress

NOWHERE = Position()
OBJECT_LIMIT = 64 << 20  # bytes of one object, uncompressed
_COMPRESS_FROM = 256  # bytes
_FORMAT = 1
_RAW, _ZSTD = 0, 1
_HEAD = struct.Struct(">BBQ")  # format, form, version
_OVERHEAD = 200  # bytes that the server keeps with a message: headers, lengths, checksum


def encode_key(key: str) -> str:
    """As one token of a subject, and of a KV key, that people can read: "default/my=2Eapp"."""
    return quote(key, safe="/").replace(".", "%2E").replace("~", "%7E").replace("%", "=") or "="


def decode_key(token: str) -> str:
    return unquote(token.replace("=", "%")) if token != "=" else ""


def encode_item(item: Item) -> bytes:
    """Version and bytes, compressed where that helps."""
    if len(item.data) >= _COMPRESS_FROM:
        packed = compress(item.data)
        if len(packed) < len(item.data):
            return _HEAD.pack(_FORMAT, _ZSTD, item.version) + packed
    return _HEAD.pack(_FORMAT, _RAW, item.version) + item.data


def decode_item(data: bytes) -> Item:
    """Raises DecodeError."""
    if len(data) < _HEAD.size:
        raise DecodeError("too short for a table's object", data)
    kind, form, version = _HEAD.unpack_from(data)
    if kind != _FORMAT or form not in (_RAW, _ZSTD):
        raise DecodeError(f"a table's object in foreign format {kind}/{form}", data)
    content = data[_HEAD.size :]
    return Item(version, decompress(content, OBJECT_LIMIT) if form == _ZSTD else content)


@dataclass(frozen=True, slots=True)
class Meta:
    """What a feed's objects stand for, and who wrote that."""

    position: Position = NOWHERE
    upstream: bytes = b""
    writer: str = ""  # a new one at each load
    number: int = 0  # tells the writer's parts apart
    ahead: Position | None = None
    """Objects may be as new as this: a commit of several parts was cut short."""
    tail: Mapping[str, bytes | None] = field(default_factory=dict)
    """Objects as they are since: they go to their own subjects when these get too many."""

    def pack(self) -> bytes:
        ahead = [self.ahead.lineage, self.ahead.version] if self.ahead is not None else None
        place = [self.position.lineage, self.position.version]
        content = [_FORMAT, place, self.upstream, self.writer, self.number, ahead, self.tail]
        return bytes(msgpack.packb(content))

    @classmethod
    def unpack(cls, data: bytes) -> Meta:
        """Raises DecodeError."""
        try:
            kind, place, upstream, writer, number, ahead, tail = msgpack.unpackb(data)
            position = Position(*map(int, place))
            further = Position(*map(int, ahead)) if ahead is not None else None
            objects = {str(k): None if v is None else bytes(v) for k, v in tail.items()}
            meta = cls(position, bytes(upstream), str(writer), int(number), further, objects)
        except (ValueError, TypeError, AttributeError, msgpack.exceptions.UnpackException) as error:
            raise DecodeError(f"not a table's meta: {error!r}", data) from error
        if kind != _FORMAT:
            raise DecodeError(f"a table's meta in foreign format {kind}", data)
        return meta

    def before_part(self, target: Position) -> Meta:
        """While a commit is under way that leads to `target`."""
        ahead = self.ahead
        further = ahead if ahead is not None and ahead.is_ahead_of(target) else target
        return replace(self, ahead=further, tail={})

    def after_commit(
        self, position: Position, upstream: bytes, tail: Mapping[str, bytes | None]
    ) -> Meta:
        """Objects newer than the position are so no longer once the position has caught up."""
        ahead = self.ahead
        still = ahead is not None and ahead.is_ahead_of(position)
        return replace(
            self,
            position=position,
            upstream=upstream,
            ahead=ahead if still else None,
            tail=tail,
        )


class Limits(NamedTuple):
    """Of one part. A single larger object is a part of its own."""

    messages: int
    bytes: int


@dataclass(slots=True)
class Part:
    """Changes that are written together: by key, None for a deleted one; and what they take."""

    objects: dict[str, bytes | None] = field(default_factory=dict)
    size: int = 0  # bytes
    is_last: bool = False

    def add(self, key: str, data: bytes | None) -> None:
        self.objects[key] = data
        self.size += stored_size(key, data)

    def has_room(self, size: int, limits: Limits) -> bool:
        if not self.objects:
            return True
        return len(self.objects) < limits.messages and self.size + size <= limits.bytes


def stored_size(key: str, data: bytes | None) -> int:
    """About what the server needs for it (deleted: for a moment)."""
    return len(key) + len(data or b"") + _OVERHEAD


Objects = Mapping[str, Change | bytes | None]
"""By key: a change, or an object as stored (None: deleted)."""


def merge(tail: Mapping[str, bytes | None], changes: Iterable[Change]) -> Objects:
    """The tail first. Of a key's changes the last counts."""
    return {**tail, **{change.key: change for change in changes}}


def as_tail(objects: Objects, limits: Limits) -> dict[str, bytes | None] | None:
    """All of them as stored, if they are few and small."""
    if len(objects) > limits.messages:
        return None
    tail: dict[str, bytes | None] = {}
    size = 0
    for key, value in objects.items():
        tail[key] = _encode(value)
        size += stored_size(key, tail[key])
        if size > limits.bytes:
            return None
    return tail


def parts(objects: Objects, limits: Limits) -> Iterator[Part]:
    """In order, encoded as they are asked for; at least one."""
    part = Part()
    for key, value in objects.items():
        data = _encode(value)
        if not part.has_room(stored_size(key, data), limits):
            yield part
            part = Part()
        part.add(key, data)
    part.is_last = True
    yield part


def _encode(value: Change | bytes | None) -> bytes | None:
    if not isinstance(value, Change):
        return value
    return None if value.data is None else encode_item(Item(value.version, value.data))
