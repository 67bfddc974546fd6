"""One change on the wire: a delete, a whole object, or a delta against a version the other has.

[key, version]                          delete
[key, version, data]                    whole
[key, version, version - base, delta]   delta (see bus.zstd.diff)
"""

from __future__ import annotations

from typing import Any

from bus import zstd
from bus.errors import DecodeError
from bus.feed.types import Change, Item

Op = list[Any]
_KINDS = (2, 3, 4)  # elements of a delete, a whole object, a delta
_OP_BYTES = 24  # versions and msgpack's own bytes, about


class BaseMismatch(Exception):
    """The delta's base is not what we hold: the object must come whole."""


def encode_op(change: Change, base: Item | None) -> Op:
    if change.data is None:
        return [change.key, change.version]
    if base is not None:
        delta = zstd.diff(base.data, change.data)
        if delta is not None and len(delta) < len(change.data):
            return [change.key, change.version, change.version - base.version, delta]
    return [change.key, change.version, change.data]


def decode_op(op: Op, held: Item | None, limit: int) -> Change:
    """The change itself. Raises BaseMismatch where `held` is not the delta's base."""
    if len(op) == 2:
        return Change(op[0], op[1], None)
    if len(op) == 3:
        return Change(op[0], op[1], op[2])
    key, version, distance, delta = op
    if held is None or held.version != version - distance:
        raise BaseMismatch(key)
    try:
        return Change(key, version, zstd.patch(held.data, delta, limit))
    except DecodeError as error:
        raise BaseMismatch(key) from error


def size_of(op: Op) -> int:
    """About how many bytes it takes before compression."""
    return len(op[0]) + _OP_BYTES + (len(op[-1]) if len(op) > 2 else 0)


def check_ops(ops: Any, raw: bytes, limit: int) -> list[Op]:
    """`ops` if they are what this module writes. Raises DecodeError."""
    if not isinstance(ops, list) or not all(_is_op(op, limit) for op in ops):
        raise DecodeError("changes out of contract", raw)
    return ops


def _is_op(op: Any, limit: int) -> bool:
    if not isinstance(op, list) or len(op) not in _KINDS:
        return False
    if not isinstance(op[0], str) or not is_count(op[1]):
        return False
    if len(op) == 2:
        return True
    if not isinstance(op[-1], bytes) or len(op[-1]) > limit:
        return False
    return len(op) == 3 or type(op[2]) is int


def is_count(value: Any) -> bool:
    return type(value) is int and value >= 0
