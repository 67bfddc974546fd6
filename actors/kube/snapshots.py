"""All objects of a resource at one version, and how the past is told from the present."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import NamedTuple

from actors.kube.window import Entry


class Snapshot(NamedTuple):
    """All objects at a version, sorted by key."""

    version: int
    entries: Sequence[Entry]

    def within(self, namespace: str, after: str = "") -> tuple[int, int]:
        """The slice of a namespace ("": all), from the first key behind `after`."""
        by_key = attrgetter("key")
        low = bisect_right(self.entries, after, key=by_key) if after else 0
        if not namespace:
            return low, len(self.entries)
        start = bisect_left(self.entries, f"{namespace}/", key=by_key)
        end = bisect_left(self.entries, f"{namespace}0", key=by_key)  # "0" comes next after "/"
        return max(low, start), end

    def at(self, key: str, low: int, high: int) -> tuple[int, int]:
        """The slice of one key within `low..high`."""
        index = bisect_left(self.entries, key, low, high, key=attrgetter("key"))
        is_there = index < high and self.entries[index].key == key
        return index, index + is_there


def past(objects: Mapping[str, Entry], undone: Mapping[str, Entry | None]) -> list[Entry]:
    """The entries as they were, sorted by key."""
    state = dict(objects)
    for key, entry in undone.items():
        if entry is None:
            state.pop(key, None)
        else:
            state[key] = entry
    return sorted(state.values(), key=attrgetter("key"))
