"""Small messages between our own processes: `[version, kind, body]` in msgpack, bounded both ways.

For beats, status and the like; feeds have frames of their own. What comes in is not trusted: its
size, depth and containers are bounded before anything of it is used.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgpack

from bus.errors import DecodeError, MessageTooLarge

VERSION = 1
_PARTS = 3


@dataclass(frozen=True)
class Bounds:
    max_bytes: int = 1 << 20
    depth: int = 16  # containers within containers, the body's own included
    entries: int = 8192  # of one container. A liar's header makes us allocate 8 bytes for each


_BOUNDS = Bounds()


class Envelope(NamedTuple):
    kind: str
    body: Any  # None, bool, int (64 bits), float, str, bytes; list and dict (str keys) of these


def pack(kind: str, body: Any, bounds: Bounds = _BOUNDS) -> bytes:
    """Raises MessageTooLarge, and ValueError for a body that `unpack` would not take."""
    fault = _fault(body, bounds)
    if fault:
        raise ValueError(f"{kind}: {fault}")
    try:
        raw: bytes = msgpack.packb([VERSION, kind, body], use_bin_type=True)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{kind}: {error}") from error
    if len(raw) > bounds.max_bytes:
        raise MessageTooLarge(f"{kind}: {len(raw)} bytes, {bounds.max_bytes} at most")
    return raw


def unpack(raw: bytes, kinds: Container[str], bounds: Bounds = _BOUNDS) -> Envelope:
    """The envelope, if it is of one of `kinds`. Raises DecodeError, which keeps `raw`."""
    if len(raw) > bounds.max_bytes:
        raise DecodeError(f"over {bounds.max_bytes} bytes", raw)
    parts = _parts(raw, bounds)
    if not isinstance(parts, list) or len(parts) != _PARTS:
        raise DecodeError("not an envelope", raw)
    version, kind, body = parts
    if version != VERSION or isinstance(version, bool):
        raise DecodeError(f"an envelope of version {version!r:.20}, we speak {VERSION}", raw)
    if not isinstance(kind, str) or kind not in kinds:
        raise DecodeError(f"an envelope of an unknown kind {kind!r:.60}", raw)
    fault = _fault(body, bounds)
    if fault:
        raise DecodeError(f"{kind}: {fault}", raw)
    return Envelope(kind, body)


def _parts(raw: bytes, bounds: Bounds) -> Any:
    try:
        return msgpack.unpackb(
            raw,
            max_array_len=max(bounds.entries, _PARTS),
            max_map_len=bounds.entries,
            max_ext_len=0,
        )
    except Exception as error:  # msgpack raises many kinds, plain ValueError among them
        raise DecodeError(f"bad msgpack: {error or type(error).__name__}", raw) from error


def _fault(body: Any, bounds: Bounds) -> str:
    """What is wrong with it, "" if nothing. Without recursion: depth is the sender's choice."""
    level: list[Any] = [body]
    for _ in range(bounds.depth + 1):
        if not level:
            return ""
        below: list[Any] = []
        for value in level:
            fault = _look(value, bounds, below)
            if fault:
                return fault
        level = below
    return f"deeper than {bounds.depth} containers" if level else ""


def _look(value: Any, bounds: Bounds, below: list[Any]) -> str:
    if isinstance(value, dict):
        if any(not isinstance(key, str) for key in value):
            return "a key that is not a string"
        below.extend(value.values())
    elif isinstance(value, list | tuple):
        below.extend(value)
    elif value is not None and not isinstance(value, bool | int | float | str | bytes):
        return f"a {type(value).__name__} in it"
    else:
        return ""
    return f"a container of {len(value)} entries" if len(value) > bounds.entries else ""
