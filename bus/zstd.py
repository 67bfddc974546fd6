"""The one home of zstd: bounded compression, and deltas against bytes that both ends hold.

`compression.zstd` from Python 3.14 on, else its backport; nothing else imports either.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from bus.errors import DecodeError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_MAGIC = b"\x28\xb5\x2f\xfd"  # of every zstd frame; deltas travel without it
_MIN_PREFIX = 8  # bytes; zstd refuses smaller dictionaries
# Measured on EndpointSlices: up to this size (base and data together) level 1 finds a small edit in
# a quarter of level 3's time; above it its hash table is too small: deltas become full copies.
_FAST_UP_TO = 96 << 10
_LARGE_HASH_LOG = 20  # finds edits in objects of 3 MB, costs 0.3 ms
_WINDOW_LOG = 17  # zstd's own window for small input; larger pairs need one that spans both
_LARGEST_WINDOW_LOG = 27

# Of streams: there are thousands at a time, and each keeps its window and tables.
_STREAM_WINDOW_LOG = 16
_STREAM_TABLE_LOG = 14
_PIECE = 256 << 10  # bytes that a stream gives out at once, whatever it was made of

_Compress = zstd.CompressionParameter
_Decompress = zstd.DecompressionParameter


def compress(data: bytes, level: int = 1) -> bytes:
    """One zstd frame. Level 1 is smaller *and* faster than 3 on Kubernetes JSON."""
    return zstd.compress(data, level)


def decompress(data: bytes, limit: int) -> bytes:
    """The content of exactly one frame of at most `limit` bytes. Raises DecodeError."""
    return _inflate(data, None, limit, limit)


def diff(base: bytes, data: bytes) -> bytes | None:
    """A delta that `patch` turns back into `data`; None where `base` is too small to help.

    It carries a checksum of the result, so that a patch on other bytes than `base` is noticed.
    """
    if len(base) < _MIN_PREFIX:
        return None
    prefix = zstd.ZstdDict(base, is_raw=True).as_prefix
    options = _diff_options(len(base) + len(data))
    packer = zstd.ZstdCompressor(options=options, zstd_dict=prefix)
    return packer.compress(data, mode=zstd.ZstdCompressor.FLUSH_FRAME)[len(_MAGIC) :]


def _diff_options(size: int) -> dict[int, int]:
    options: dict[int, int] = {_Compress.compression_level: 1, _Compress.checksum_flag: 1}
    if size > _FAST_UP_TO:
        options[_Compress.compression_level] = 3
        options[_Compress.hash_log] = _LARGE_HASH_LOG
        options[_Compress.window_log] = min(
            max(_WINDOW_LOG, size.bit_length()), _LARGEST_WINDOW_LOG
        )
    return options


def patch(base: bytes, delta: bytes, limit: int) -> bytes:
    """What `diff(base, ...)` was made of. Raises DecodeError: damaged, other base, over `limit`."""
    if len(base) < _MIN_PREFIX:
        raise DecodeError("delta against a base that cannot have one", delta)
    prefix = zstd.ZstdDict(base, is_raw=True).as_prefix
    return _inflate(_MAGIC + delta, prefix, limit, limit + len(base))


def _inflate(
    data: bytes, prefix: tuple[zstd.ZstdDict, int] | None, limit: int, window: int
) -> bytes:
    window_log = min(max(_WINDOW_LOG, window.bit_length()) + 1, _LARGEST_WINDOW_LOG)
    options: dict[int, int] = {_Decompress.window_log_max: window_log}
    try:
        unpacker = zstd.ZstdDecompressor(zstd_dict=prefix, options=options)
        content = unpacker.decompress(data, max_length=limit + 1)
    except (zstd.ZstdError, EOFError, ValueError) as error:
        raise DecodeError(f"bad zstd: {error}", data) from error
    if len(content) > limit:
        raise DecodeError(f"zstd content over {limit} bytes", data)
    if not unpacker.eof:
        raise DecodeError("truncated zstd", data)
    if unpacker.unused_data:
        raise DecodeError("trailing bytes after zstd", data)
    return content


class Packer:
    """One side of a compressed stream: what goes in can be had at the other side at once."""

    def __init__(self) -> None:
        options: dict[int, int] = {
            _Compress.compression_level: 1,
            _Compress.window_log: _STREAM_WINDOW_LOG,
            _Compress.hash_log: _STREAM_TABLE_LOG,
            _Compress.chain_log: _STREAM_TABLE_LOG,
        }
        self._packer = zstd.ZstdCompressor(options=options)

    def pack(self, data: bytes) -> bytes:
        return self._packer.compress(data, mode=zstd.ZstdCompressor.FLUSH_BLOCK)


class Unpacker:
    """The other side. What comes is never trusted to be small: it comes out in pieces."""

    def __init__(self) -> None:
        options: dict[int, int] = {_Decompress.window_log_max: _STREAM_WINDOW_LOG + 1}
        self._unpacker = zstd.ZstdDecompressor(options=options)

    def unpack(self, data: bytes) -> Iterator[bytes]:
        """Raises DecodeError."""
        while True:
            try:
                piece = self._unpacker.decompress(data, max_length=_PIECE)
            except (zstd.ZstdError, EOFError, ValueError) as error:
                raise DecodeError(f"bad zstd: {error}", data) from error
            if piece:
                yield piece
            if self._unpacker.eof:
                raise DecodeError("a compressed stream that ends by itself", data)
            if self._unpacker.needs_input:
                return
            data = b""
