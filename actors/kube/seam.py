"""Whether a source goes on from the state we hold of it, or has gone another way meanwhile. Pure.

A cluster restored from a backup writes a second history, whose versions soon pass those of the one
that was lost: a version alone then proves nothing, and a watch from ours would skip all that the
new history did before it. So a watch after a doubtful break begins a little earlier (`Seam`), and
must first tell again what we know; and a list is compared with what we held (`contradiction`).
"""

from __future__ import annotations

from collections.abc import Mapping

from actors.kube.raw_events import Bookmark
from bus.feed.types import Change, Item


class Torn(Exception):
    """What the source tells of the time before our version is not what we know of it."""


class Seam:
    """The first part of a watch from `start`: it leads to our state `held` as of `version`.

    It begins with the newest object's own event, which nobody else can tell. What came and went
    behind that may be told as well: only where it leads to counts. What it cannot show: an object
    older than `start` whose delete, and nothing else that we hold, was lost; it is back there, and
    comes to be known here with its next change, or the next list.
    """

    def __init__(self, held: Mapping[str, Item], version: int) -> None:
        newest = max((item.version for item in held.values()), default=0)
        self.start = newest - 1
        self.version = version
        self.is_over = False
        self._held = held
        self._awaited = newest
        self._elsewhere: set[str] = set()  # objects that the events so far left otherwise than here

    @property
    def is_proven(self) -> bool:
        """Whether the newest object's event was told. It comes at once."""
        return not self._awaited

    def beyond(self, events: list[Change | Bookmark]) -> list[Change | Bookmark]:
        """`events` without those up to our version. Raises Torn."""
        for index, event in enumerate(events):
            is_mark = isinstance(event, Bookmark)
            if event.version > self.version or (is_mark and event.version == self.version):
                self.end()
                return events[index:]
            if isinstance(event, Change):
                self._compare(event)
        return []

    def end(self) -> None:
        """There is nothing more up to our version. Raises Torn."""
        if self._awaited:
            raise Torn(f"nothing happened at {self._awaited}")
        if self._elsewhere:
            raise Torn(f"otherwise than here: {', '.join(sorted(self._elsewhere)[:3])}")
        self.is_over = True

    def _compare(self, change: Change) -> None:
        held = self._held.get(change.key)
        self._elsewhere.discard(change.key)
        if change.data is None:
            if held is not None and held.version < change.version:
                self._elsewhere.add(change.key)
        elif held != Item(change.version, change.data):
            self._elsewhere.add(change.key)
        elif change.version == self._awaited:
            self._awaited = 0
        if self._awaited:
            raise Torn(f"not {self._awaited} but {change.key} at {change.version} comes first")


def contradiction(old: Mapping[str, Item], version: int, new: Mapping[str, Item]) -> str:
    """Why `new` cannot have come from `old`, all that there was at `version`; "" if it can.

    An object not changed since then must have been there, just so. The bytes may differ: an API
    server of another release can write an old object in another way.
    """
    for key, item in new.items():
        if item.version <= version:
            known = old.get(key)
            if known is None or known.version != item.version:
                was = "missing" if known is None else f"at {known.version}"
                return f"{key} at {item.version} was {was} at {version}"
    return ""
