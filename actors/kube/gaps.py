"""Versions that a watch cache has passed over without being told all that happened there."""

from __future__ import annotations

from bisect import bisect_right
from operator import attrgetter
from typing import NamedTuple

_MOST = 64  # gaps without events push no other one out of the window


class Gap(NamedTuple):
    """What holds at `old` and at `new` is known, what held strictly between them is not."""

    old: int
    new: int


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
            self._gaps[:2] = [Gap(first.old, second.new)]

    def end_of(self, version: int) -> int | None:
        """The end of the gap that `version` lies in; None if it lies in none."""
        index = bisect_right(self._gaps, version, key=attrgetter("new"))
        if index < len(self._gaps) and self._gaps[index].old < version:
            return self._gaps[index].new
        return None

    def forget(self, floor: int) -> None:
        """Of what lies before `floor` nobody asks any more."""
        del self._gaps[: bisect_right(self._gaps, floor, key=attrgetter("new"))]

    def clear(self) -> None:
        self._gaps.clear()
