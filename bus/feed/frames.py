"""A frame: the step from one published state to the next, or a part of it (`more`).

    [epoch, seq, lineage, version, more, ops]

The position holds after the last frame of a step; the others of the step repeat it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from bus.errors import DecodeError
from bus.feed.ops import Op, check_ops, is_count, size_of
from bus.feed.settings import FeedSettings
from bus.feed.types import Position
from bus.feed.wire import Kind, open_sealed, seal


class Frame(NamedTuple):
    epoch: int
    seq: int
    position: Position
    more: bool  # the step goes on in the next frame: nothing of it may be shown yet
    ops: list[Op]
    size: int = 0  # bytes of content, about: what it costs to keep

    @property
    def at(self) -> tuple[int, int]:
        return self.epoch, self.seq


def encode_frame(frame: Frame, settings: FeedSettings) -> bytes:
    where = frame.position
    content = [frame.epoch, frame.seq, where.lineage, where.version, int(frame.more), frame.ops]
    return seal(Kind.FRAME, content, settings)


def decode_frame(data: bytes, settings: FeedSettings) -> Frame:
    """Raises DecodeError where `data` is not a frame of this protocol."""
    content = open_sealed(Kind.FRAME, data, settings)
    if not isinstance(content, list) or len(content) != 6 or not all(map(is_count, content[:5])):
        raise DecodeError("frame out of contract", data)
    epoch, seq, lineage, version, more, ops = content
    check_ops(ops, data, settings.max_object)
    return Frame(epoch, seq, Position(lineage, version), bool(more), ops, sum(map(size_of, ops)))


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
