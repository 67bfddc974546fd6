"""The tick: one message for all feeds of a publishing site, about once a second.

It shows followers a lost tail, moves list versions on while nothing changes, and says how old the
publisher's own knowledge of its source is: the staleness clock.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

from bus.errors import DecodeError
from bus.feed.ops import is_count
from bus.feed.settings import FeedSettings
from bus.feed.types import Position
from bus.feed.wire import Kind, open_sealed, seal

_BOUNDS = FeedSettings()  # a tick holds no objects: the default bound is ample
_MILLI = 1000


class TickEntry(NamedTuple):
    name: str
    epoch: int
    seq: int
    position: Position
    age: float  # seconds; math.inf where the publisher does not know


def encode_tick(entries: Iterable[TickEntry]) -> bytes:
    rows = [
        [e.name, e.epoch, e.seq, e.position.lineage, e.position.version, encode_age(e.age)]
        for e in entries
    ]
    return seal(Kind.TICK, rows, _BOUNDS)


def decode_tick(data: bytes) -> list[TickEntry]:
    """Raises DecodeError."""
    rows = open_sealed(Kind.TICK, data, _BOUNDS)
    if not isinstance(rows, list) or not all(map(_is_row, rows)):
        raise DecodeError("tick out of contract", data)
    return [TickEntry(r[0], r[1], r[2], Position(r[3], r[4]), decode_age(r[5])) for r in rows]


def _is_row(row: Any) -> bool:
    return (
        isinstance(row, list)
        and len(row) == 6
        and isinstance(row[0], str)
        and all(map(is_count, row[1:5]))
        and is_age(row[5])
    )


def encode_age(age: float) -> int | None:
    return None if math.isinf(age) else max(0, int(age * _MILLI))


def decode_age(value: int | None) -> float:
    return math.inf if value is None else value / _MILLI


def is_age(value: Any) -> bool:
    return value is None or is_count(value)
