"""Frames that wait: whole steps only, bounded, what comes first is kept."""

from __future__ import annotations

from bus.feed.frames import Frame
from bus.feed.pending import Pending
from bus.feed.types import Position

HERE = Position(1, 1)


def frame(seq: int, *, more: bool = False, epoch: int = 1, size: int = 100) -> Frame:
    return Frame(epoch, seq, HERE, more, [], size)


def test_a_step_is_taken_once_it_is_whole() -> None:
    pending = Pending(10_000)
    pending.add(frame(3, more=True))
    pending.add(frame(5))
    assert pending.take_step(1, 3) == []
    assert pending.reach(1, 2) == 3
    pending.add(frame(4, more=True))
    assert [f.seq for f in pending.take_step(1, 3)] == [3, 4, 5]
    assert pending.take_step(1, 3) == []


def test_what_does_not_fit_is_dropped_newest_first() -> None:
    pending = Pending(3 * 356)
    for seq in (5, 6, 7, 8):
        pending.add(frame(seq))
    assert pending.dropped == 1
    assert pending.reach(1, 4) == 7
    pending.add(frame(4))  # a replay comes in behind what has arrived already
    assert pending.reach(1, 3) == 6
    pending.add(frame(1, epoch=2))
    assert pending.dropped == 3
    assert pending.take(2, 1) is not None


def test_one_large_frame_always_fits() -> None:
    pending = Pending(100)
    pending.add(frame(1, size=5000))
    assert pending.take(1, 1) is not None


def test_room_comes_back() -> None:
    pending = Pending(3 * 356)
    for seq in range(1, 100):
        pending.add(frame(seq))
        assert pending.take(1, seq) is not None
    for seq in (200, 201, 202):
        pending.add(frame(seq))
    pending.keep_after(1, 201)
    pending.add(frame(203))
    pending.add(frame(204))
    assert pending.dropped == 0
    assert pending.newest_after(0) == 204
    pending.keep_after(2, 0)
    assert pending.newest_after(7) == 7
