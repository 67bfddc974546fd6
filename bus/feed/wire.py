"""The envelope of every feed message: kind, checksum, msgpack content, compressed where it pays.

    magic (1 byte) | kind (1 byte; top bits: compressed, squeezed) | crc32 of the rest (4) | content

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
_SQUEEZED = 0x40  # a delta to the kind's words
_HEAD = struct.Struct(">BBI")


class Kind(IntEnum):
    FRAME = 1
    TICK = 2
    REQUEST = 3
    ANSWER = 4
    MIRROR_ASK = 5  # see bus.mirror
    MIRROR = 6


# What small messages of a kind are made of: a tick is told once a second, for ever. Changing these
# words is a change of the protocol (it is noticed: the content has a checksum of its own).
_WORDS = {
    Kind.TICK: b"nodes_v1 configmaps_v1 namespaces_v1 ingresses_v1_networking_k8s_io"
    b"v1beta1_v1alpha1_v2_ \x93\x96\xa7catalog\xce\x96\xabservices_v1\xce"
    b'\x96\xd9"endpointslices_v1_discovery_k8s_io\xce',
}
_SMALL = 4096  # bytes; what is larger has words of its own


def seal(kind: Kind, content: Any, settings: FeedSettings) -> bytes:
    body: bytes = msgpack.packb(content)
    flags = int(kind)
    if kind in _WORDS and len(body) < _SMALL:
        delta = zstd.diff(_WORDS[kind], body)
        if delta is not None and len(delta) < len(body):
            body, flags = delta, flags | _SQUEEZED
    elif len(body) >= settings.compress_from:
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
    if flags & ~(_COMPRESSED | _SQUEEZED) != kind:
        raise DecodeError("message of another kind", data)
    body = data[_HEAD.size :]
    if crc32(body) != checksum:
        raise DecodeError("checksum does not match", data)
    if flags & _SQUEEZED:
        if kind not in _WORDS:
            raise DecodeError("squeezed, and no words for it", data)
        body = zstd.patch(_WORDS[kind], body, _SMALL)
    if flags & _COMPRESSED:
        body = zstd.decompress(body, settings.content_limit)
    return _unpack(body, data)


def _unpack(body: bytes, data: bytes) -> Any:
    try:
        return msgpack.unpackb(body)
    # Its documented errors are ValueErrors; ext types of a foreign sender can raise the others.
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException) as error:
        raise DecodeError("bad msgpack", data) from error
