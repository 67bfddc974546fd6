"""The envelope of every feed message: kind, checksum, msgpack content, compressed where it pays.

    magic (1 byte) | kind (1 byte, top bit: compressed) | crc32 of the rest (4) | content

Whatever does not fit raises DecodeError: the receiver counts it and syncs.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Any
from zlib import crc32

import msgpack

from bus import zstd
from bus.errors import DecodeError
from bus.feed.settings import FeedSettings

_MAGIC = 0xA1  # also the protocol's version: another one is a foreign message
_COMPRESSED = 0x80
_HEAD = struct.Struct(">BBI")


class Kind(IntEnum):
    FRAME = 1
    TICK = 2
    REQUEST = 3
    ANSWER = 4
    MIRROR_ASK = 5  # see bus.mirror
    MIRROR = 6


def seal(kind: Kind, content: Any, settings: FeedSettings) -> bytes:
    body: bytes = msgpack.packb(content)
    flags = int(kind)
    if len(body) >= settings.compress_from:
        packed = zstd.compress(body)
        if len(packed) < len(body):
            body, flags = packed, flags | _COMPRESSED
    return _HEAD.pack(_MAGIC, flags, crc32(body)) + body


def open_sealed(kind: Kind, data: bytes, settings: FeedSettings) -> Any:
    """The content as msgpack gives it; its shape is for the caller to check. Raises DecodeError."""
    if len(data) < _HEAD.size:
        raise DecodeError("too short", data)
    magic, flags, checksum = _HEAD.unpack_from(data)
    if magic != _MAGIC:
        raise DecodeError("foreign message", data)
    if flags & ~_COMPRESSED != kind:
        raise DecodeError("message of another kind", data)
    body = data[_HEAD.size :]
    if crc32(body) != checksum:
        raise DecodeError("checksum does not match", data)
    if flags & _COMPRESSED:
        body = zstd.decompress(body, settings.content_limit)
    return _unpack(body, data)


def _unpack(body: bytes, data: bytes) -> Any:
    try:
        return msgpack.unpackb(body)
    # Its documented errors are ValueErrors; ext types of a foreign sender can raise the others.
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException) as error:
        raise DecodeError("bad msgpack", data) from error
