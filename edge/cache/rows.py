"""What is written in a row, and how a damaged one is told: identities, checksums, packing. Pure.

Identities are hashes of names, so a row that turns up in another's place is noticed, and rows refer
to each other without look-ups. Every checksum covers the names, too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import blake2b
from struct import Struct
from typing import Any

from bus.errors import DecodeError
from bus.feed.types import Item
from bus.zstd import compress, decompress

OBJECT_LIMIT = 64 << 20  # bytes of one object or document, uncompressed
_COMPRESS_FROM = 256  # bytes; smaller ones hardly shrink
_RAW, _ZSTD = b"\x00", b"\x01"
_MASK = (1 << 63) - 1  # SQLite's integers are signed
_PAIR = Struct(">qq")

Row = tuple[Any, ...]
"""As SQLite gave it: after damage any column may have any value and type."""


def checksum(*parts: str | int | bytes) -> int:
    """63 bits: one damaged row in 10^18 goes unnoticed."""
    total = blake2b(digest_size=8)
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode(errors="surrogateescape")
        total.update(len(data).to_bytes(8, "big"))
        total.update(data)
    return int.from_bytes(total.digest(), "big") & _MASK


def identity(*names: str) -> int:
    return checksum(*names)


def add_member(digest: int, thing: int, version: int) -> int:
    """The digest of a set of (object, version) does not depend on their order ..."""
    return (digest + _member(thing, version)) & _MASK


def drop_member(digest: int, thing: int, version: int) -> int:
    """... so that members come and go without reading the others."""
    return (digest - _member(thing, version)) & _MASK


def _member(thing: int, version: int) -> int:
    return int.from_bytes(blake2b(_PAIR.pack(thing, version), digest_size=8).digest(), "big")


def pack(data: bytes) -> bytes:
    if len(data) >= _COMPRESS_FROM:
        packed = compress(data)
        if len(packed) < len(data):
            return _ZSTD + packed
    return _RAW + data


def unpack(packed: bytes) -> bytes:
    """Raises DecodeError."""
    form, content = packed[:1], packed[1:]
    if form == _RAW:
        return content
    if form != _ZSTD:
        raise DecodeError("packed in a foreign form", packed)
    return decompress(content, OBJECT_LIMIT)


def object_row(thing: int, resource: str, key: str, version: int, packed: bytes) -> Row:
    return thing, resource, key, version, packed, checksum("object", resource, key, version, packed)


def is_object(row: Row) -> bool:
    """Whether this row, whose columns are `object_row`'s, is whole and in its own place."""
    thing, resource, key, version, packed, total = row
    if not (isinstance(packed, bytes) and isinstance(version, int)):
        return False
    return bool(
        total == checksum("object", resource, key, version, packed)
        and thing == identity(resource, key)
    )


def item_of(row: Row) -> tuple[str, Item] | None:
    """Key and object; None if it is damaged."""
    if not is_object(row):
        return None
    try:
        return row[2], Item(row[3], unpack(row[4]))
    except DecodeError:
        return None


@dataclass(frozen=True, slots=True)
class ViewRow:
    """Who read what, how it stood, and of which members it consists."""

    component: str
    query: str  # JSON of a ListQuery; "" for a feed
    lineage: int
    version: int
    at: int  # milliseconds since 1970, when this was known to be current
    count: int = 0
    digest: int = 0

    @property
    def id(self) -> int:
        return identity(self.component, self.query)

    def with_member(self, thing: int, version: int) -> ViewRow:
        digest = add_member(self.digest, thing, version)
        return replace(self, count=self.count + 1, digest=digest)

    def without(self, thing: int, version: int) -> ViewRow:
        digest = drop_member(self.digest, thing, version)
        return replace(self, count=self.count - 1, digest=digest)

    def pack(self) -> Row:
        columns = self._columns()
        return self.id, *columns, checksum("view", *columns)

    def _columns(self) -> tuple[str | int, ...]:
        return (
            self.component, self.query, self.lineage, self.version, self.at, self.count, self.digest
        )  # fmt: skip

    @classmethod
    def unpack(cls, row: Row) -> ViewRow | None:
        """None if it is damaged."""
        thing, *columns, total = row
        if not all(isinstance(n, int) for n in columns[2:]) or total != checksum("view", *columns):
            return None
        view = cls(*columns)
        return view if view.id == thing else None


def document_row(path: str, variant: str, media: str, at: int, packed: bytes) -> Row:
    total = checksum("document", path, variant, media, at, packed)
    return identity(path, variant), path, variant, media, at, packed, total


def is_document(row: Row) -> bool:
    thing, path, variant, media, at, packed, total = row
    if not (isinstance(packed, bytes) and isinstance(at, int)):
        return False
    return bool(
        total == checksum("document", path, variant, media, at, packed)
        and thing == identity(path, variant)
    )
