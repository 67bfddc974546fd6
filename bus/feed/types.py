"""The nouns of the feed protocol."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Item(NamedTuple):
    """One object as held: its version and its bytes (shared by reference, never copied)."""

    version: int
    data: bytes


class Change(NamedTuple):
    """A put (`data` is the whole new object) or a delete (`data` None, `version` the delete's own).

    `version` is the source's own (a Kubernetes resourceVersion), kept unchanged end to end.
    """

    key: str
    version: int
    data: bytes | None


@dataclass(frozen=True, slots=True)
class Position:
    """Where in the feed a state is: `version` holds for the whole set (a list resourceVersion)."""

    lineage: int = 0  # 0: nothing known yet
    version: int = 0

    def is_ahead_of(self, other: Position) -> bool:
        return (self.lineage, self.version) > (other.lineage, other.version)


@dataclass(frozen=True, slots=True)
class Batch:
    """What a follower just applied: in order, at most one change per key after a sync.

    `reset` is true where the lineage changed: versions may have gone back, so consumers must not
    present the changes as a continuation (watchers get 410 and list anew). After a reset `changes`
    turn the old state into the new one all the same.

    `exact` is false where only the difference of two states is known: what came and went between
    them is not named, nor when the rest took place. It began or passed somewhere on its way here by
    a difference, a snapshot or a list.
    """

    changes: tuple[Change, ...]
    position: Position
    reset: bool = False
    exact: bool = True


@dataclass(frozen=True, slots=True)
class FeedSubjects:
    """Where one site's feeds live: `frames + name`, `sync + name` and one shared `tick`."""

    frames: str  # prefix, e.g. "feed.data."
    sync: str  # prefix, e.g. "feed.sync."
    tick: str  # whole subject, e.g. "feed.tick"
