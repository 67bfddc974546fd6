"""A frame: the step from one published state to the next, or a part of it (`more`).

    [epoch, seq, lineage, version, flags, ops]      flags: 1 more, 2 inexact

The position holds after the last frame of a step; the others of the step repeat it. A step is
*exact* if it names every change between the two states, not only what is left of them in the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from bus.errors import DecodeError
from bus.feed.ops import Op, check_ops, is_count, size_of
from bus.feed.settings import FeedSettings
from bus.feed.types import Position
from bus.feed.wire import Kind, open_sealed, seal

_MORE, _INEXACT = 1, 2


class Frame(NamedTuple):
    epoch: int
    seq: int
    position: Position
    more: bool  # the step goes on in the next frame: nothing of it may be shown yet
    ops: list[Op]
    size: int = 0  # bytes of content, about: what it costs to keep
    exact: bool = True

    @property
    def at(self) -> tuple[int, int]:
        return self.epoch, self.seq


def encode_frame(frame: Frame, settings: FeedSettings) -> bytes:
    where = frame.position
    flags = (_MORE if frame.more else 0) | (0 if frame.exact else _INEXACT)
    content = [frame.epoch, frame.seq, where.lineage, where.version, flags, frame.ops]
    return seal(Kind.FRAME, content, settings)


def decode_frame(data: bytes, settings: FeedSettings) -> Frame:
    """Raises DecodeError where `data` is not a frame of this protocol."""
    content = open_sealed(Kind.FRAME, data, settings)
    if not isinstance(content, list) or len(content) != 6 or not all(map(is_count, content[:5])):
        raise DecodeError("frame out of contract", data)
    epoch, seq, lineage, version, flags, ops = content
    if flags > (_MORE | _INEXACT):
        raise DecodeError("frame out of contract", data)
    check_ops(ops, data, settings.max_object)
    size = sum(map(size_of, ops))
    where, more, exact = Position(lineage, version), bool(flags & _MORE), not flags & _INEXACT
    return Frame(epoch, seq, where, more, ops, size, exact)


def split_ops(ops: list[Op], limit: int) -> Iterator[list[Op]]:
    """The same ops in order, in parts of at most `limit` bytes or one op; at least one part."""
    part: list[Op] = []
    size = 0
    for op in ops:
        cost = size_of(op)
        if part and size + cost > limit:
            yield part
            part, size = [], 0
        part.append(op)
        size += cost
    yield part
