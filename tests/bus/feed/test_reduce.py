"""What a list of changes comes down to."""

from __future__ import annotations

from bus.feed.reduce import reduce_changes
from bus.feed.types import Change, Item

HELD = {"a": Item(5, b"a5"), "b": Item(6, b"b6")}


def reduced(*changes: Change, rebase: bool = False) -> list[Change]:
    return reduce_changes(HELD, changes, 10, rebase).changes


def test_the_last_put_wins_in_its_own_place() -> None:
    puts = [Change("a", 7, b"a7"), Change("b", 8, b"b8"), Change("a", 9, b"a9")]
    assert reduced(*puts) == puts[1:]


def test_a_recreated_object_keeps_its_delete() -> None:
    steps = [Change("a", 7, None), Change("c", 8, b"c8"), Change("a", 9, b"a9")]
    assert reduced(*steps) == steps
    assert reduced(*steps, Change("a", 10, b"x")) == [*steps[:2], Change("a", 10, b"x")]


def test_what_came_and_went_leaves_nothing() -> None:
    assert reduced(Change("c", 7, b"c7"), Change("c", 8, None)) == []
    assert reduced(Change("a", 7, b"a7"), Change("a", 8, None)) == [Change("a", 8, None)]
    assert reduced(Change("c", 7, None)) == []


def test_stale_changes_are_dropped_and_counted() -> None:
    old = [Change("a", 5, b"again"), Change("a", 4, b"older"), Change("b", 5, None)]
    assert reduce_changes(HELD, old, 10, False) == ([], (), 3, True)
    assert reduced(Change("a", 5, None)) == [Change("a", 5, None)]


def test_changes_are_put_in_version_order() -> None:
    assert [c.version for c in reduced(Change("b", 9, None), Change("c", 8, b""))] == [8, 9]


def test_another_lineage_may_go_back() -> None:
    changes = [Change("b", 9, None), Change("a", 2, b"a2")]
    assert reduced(*changes, rebase=True) == changes


def test_a_too_large_object_counts_as_deleted() -> None:
    large = bytes(11)
    found = reduce_changes(HELD, [Change("a", 7, large), Change("c", 8, large)], 10, False)
    assert found == ([Change("a", 7, None)], ("a", "c"), 0, True)
    mended = reduce_changes(HELD, [Change("a", 7, large), Change("a", 8, b"ok")], 10, False)
    assert mended.refused == ()
    assert mended.changes[-1] == Change("a", 8, b"ok")


def test_what_came_and_went_is_named_by_nothing_so_the_rest_is_not_exact() -> None:
    def is_exact(*changes: Change) -> bool:
        return reduce_changes(HELD, changes, 10, False).exact

    assert not is_exact(Change("c", 7, b"c7"), Change("c", 8, None))
    assert not is_exact(Change("c", 7, b"c7"), Change("c", 8, None), Change("c", 9, b"c9"))
    assert not is_exact(Change("c", 7, b"c7"), Change("c", 8, bytes(11)))
    assert is_exact(Change("c", 7, b"c7"), Change("c", 8, b"c8"))
    assert is_exact(Change("c", 7, None))
    assert is_exact(Change("a", 7, b"a7"), Change("a", 8, None))
    assert is_exact(Change("a", 7, None), Change("a", 8, b"a8"), Change("a", 9, None))
