from __future__ import annotations

from edge.cache.ops import Apply, Drop, Op, PutDocument, Touch
from edge.cache.pending import Pending
from edge.cache.tables import Document


def delta(view: int) -> Op:
    return Apply(view, "r", (), 0, 1, 0, False)


def whole(view: int) -> Op:
    return Drop(view)


def queued(pending: Pending) -> list[Op]:
    return pending.take()[0]


def test_in_order_until_taken() -> None:
    pending = Pending(10_000)
    ops = [delta(1), whole(2), delta(1)]
    assert all(pending.add(op) for op in ops)
    assert queued(pending) == ops
    assert pending.is_empty
    assert pending.weight == 0


def test_a_frozen_view_goes_on_only_from_what_is_whole() -> None:
    pending = Pending(10_000)
    pending.freeze(1)
    assert not pending.add(delta(1))
    assert pending.add(delta(2))
    assert pending.add(whole(1))
    assert pending.add(delta(1))
    assert pending.frozen == set()


def test_freezing_drops_what_waits_up_to_the_next_whole() -> None:
    pending = Pending(10_000)
    first, other, new, after = delta(1), delta(2), whole(1), delta(1)
    for op in (first, other, new, after):
        pending.add(op)
    pending.freeze(1)
    assert pending.frozen == set()
    assert pending.weight == other.weight + new.weight + after.weight
    assert queued(pending) == [other, new, after]


def test_freezing_what_has_nothing_whole_waiting() -> None:
    pending = Pending(10_000)
    pending.add(delta(1))
    pending.freeze(1)
    assert pending.frozen == {1}
    assert pending.is_empty
    assert pending.weight == 0


def test_nobodys_writes_freeze_nothing() -> None:
    pending = Pending(1_000)
    big = PutDocument("/a", "", Document("m", b"x" * 900))
    assert pending.add(big)
    assert not pending.add(Touch("views", 1, 1))
    assert pending.frozen == set()
    assert pending.counts["writes.dropped"] == 1
    assert queued(pending) == [big]


def test_one_alone_may_be_larger_than_the_queue() -> None:
    assert Pending(10).add(PutDocument("/a", "", Document("m", b"x" * 900)))
