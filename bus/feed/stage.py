"""The next state of a follower while a sync collects it. Nothing of it is visible until commit.

A stage outlives failed rounds, lost chunks and even its publisher: the next round compares it by
content, so what arrived once is not sent again.
"""

from __future__ import annotations

from bus.feed.ops import BaseMismatch, Op, decode_op
from bus.feed.state import State
from bus.feed.types import Change, Item, Position


class Stage:
    def __init__(self, lineage: int, state: State, *, whole: bool) -> None:
        self.lineage = lineage
        self.state = state
        # Keys that may differ from the visible state; with `whole`, any may.
        self._touched: set[str] = set()
        self._whole = whole

    def apply(self, op: Op, limit: int) -> None:
        """Raises BaseMismatch; the object is then missing here, so the next round gets it whole."""
        key: str = op[0]
        self._touched.add(key)
        try:
            change = decode_op(op, self.state.items.get(key), limit)
        except BaseMismatch:
            self.state.remove(key)
            raise
        if change.data is None:
            self.state.remove(key)
        else:
            self.state.put(key, Item(change.version, change.data))

    def distrust(self, key: str) -> None:
        """Our bytes are not the publisher's: the next round gets the object whole."""
        self._touched.add(key)
        self.state.remove(key)

    def commit(self, visible: State, old: Position, new: Position) -> tuple[list[Change], int]:
        """Makes `visible` what was staged. Returns the changes, oldest first, and how many were
        refused because they would have gone back within a lineage.
        """
        rebase = new.lineage != old.lineage
        keys = self._touched
        if self._whole:
            keys = visible.items.keys() | self.state.items.keys()
        changes, refused = [], 0
        for key in keys:
            was, now = visible.items.get(key), self.state.items.get(key)
            if not rebase and was and now and was.version > now.version:
                refused += 1
            elif was != now:
                self._move(visible, key, now)
                changes += _changes(key, was, now, new, rebase)
        changes.sort(key=lambda change: (change.version, change.key))
        return changes, refused

    def _move(self, visible: State, key: str, now: Item | None) -> None:
        if now is None:
            visible.remove(key)
        else:
            visible.put(key, now)


def _changes(
    key: str, was: Item | None, now: Item | None, position: Position, rebase: bool
) -> list[Change]:
    if now is None:
        return [Change(key, position.version, None)]
    # The same version in other bytes (a publisher that serialises anew) is no change to anyone.
    if not rebase and was and was.version == now.version:
        return []
    return [Change(key, now.version, now.data)]
