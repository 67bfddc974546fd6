"""Versions that a watch cache has passed over without being told all that happened there."""

from __future__ import annotations

from bisect import bisect_right
from operator import attrgetter

_MOST = 64  # gaps without events push no other one out of the window


class Gap:
    """What holds at `old` and at `new` is known, what held strictly between them is not.

    The step across it is told as events with versions between the two. `told` is how far watchers
    have taken them: who resumes up to there, at one of these events, may well have it from us.
    """

    __slots__ = ("new", "old", "told")

    def __init__(self, old: int, new: int, told: int = 0) -> None:
        self.old = old
        self.new = new
        self.told = told


class Gaps:
    """The gaps of a window, oldest first. Bounded: too many of them grow together."""

    def __init__(self) -> None:
        self._gaps: list[Gap] = []

    def __len__(self) -> int:
        return len(self._gaps)

    def add(self, old: int, new: int) -> None:
        """`old` is not before the end of the last one."""
        if new - old > 1:
            self._gaps.append(Gap(old, new))
        if len(self._gaps) > _MOST:
            first, second = self._gaps[:2]
            self._gaps[:2] = [Gap(first.old, second.new, max(first.told, second.told))]

    def of(self, version: int) -> Gap | None:
        """The gap that `version` lies strictly in."""
        index = bisect_right(self._gaps, version, key=attrgetter("new"))
        if index < len(self._gaps) and self._gaps[index].old < version:
            return self._gaps[index]
        return None

    def tell(self, version: int) -> None:
        """A watcher has taken all events up to `version`."""
        for gap in reversed(self._gaps):
            told = min(version, gap.new)
            if gap.told >= told:
                return  # and so were those before it
            if gap.old < version:
                gap.told = told

    def forget(self, floor: int) -> None:
        """Of what lies before `floor` nobody asks any more."""
        del self._gaps[: bisect_right(self._gaps, floor, key=attrgetter("new"))]

    def clear(self) -> None:
        self._gaps.clear()
