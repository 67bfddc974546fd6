"""What is told to watchers of one resource: events, and the window that keeps the recent ones.

Objects are held as raw JSON, once, by reference. Events are numbered ever, so that a cursor is a
number; what clients know is told by versions.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import NamedTuple

from actors.kube.fields import FieldReader, Selected
from actors.kube.filters import Filter
from actors.kube.meta import with_resource_version
from bus.feed.types import Change


@dataclass(frozen=True, kw_only=True)
class CacheSettings:
    """Bounds of one resource's cache. A watcher's lag is what it has not yet taken."""

    window_events: int = 20_000  # a sync may bring every object of a large resource at once
    window_bytes: int = 16 * 1024 * 1024  # of superseded objects; current ones cost nothing extra
    burst_bytes: int = 64 * 1024 * 1024  # the newest changes may take more, until the next come
    watcher_bytes: int = 128 * 1024 * 1024  # lag at which a watcher is cut off
    take_bytes: int = 256 * 1024  # most that a watcher takes at once (one larger event excepted)


class TooOld(Exception):
    """The window does not reach back to the asked version, or nothing is known of it here."""

    def __init__(self, asked: int, oldest: int) -> None:
        super().__init__(f"too old resource version: {asked} ({oldest})")
        self.asked = asked
        self.oldest = oldest


class Overflow(Exception):
    """The watcher fell too far behind; it may resume by resourceVersion, or list anew."""


class Entry:
    """One object as held. `selected` is read when a selector first asks, then kept."""

    __slots__ = ("_selected", "key", "raw", "version")

    def __init__(self, key: str, version: int, raw: bytes) -> None:
        self.key = key
        self.version = version
        self.raw = raw
        self._selected: Selected | None = None

    def selected(self, reader: FieldReader) -> Selected:
        if self._selected is None:
            self._selected = reader.read(self.raw)
        return self._selected


class Event:
    """A change at `version`: `new` is None for a delete, `old` for a create.

    A revision takes place at a version that was reached before: who is at this very version may not
    have it yet. One that is `retold` stands for all revisions of its key up to then, so that `old`
    is only one of the states that a client may have.
    """

    __slots__ = ("_gone", "is_revision", "new", "offset", "old", "retold", "version")

    def __init__(
        self,
        version: int,
        new: Entry | None,
        old: Entry | None,
        offset: int,
        is_revision: bool = False,
        retold: bool = False,
    ) -> None:
        self.version = version
        self.new = new
        self.old = old
        self.offset = offset  # bytes of all events before this one, ever
        self.is_revision = is_revision
        self.retold = retold
        self._gone: bytes | None = None

    @property
    def key(self) -> str:
        entry = self.new or self.old
        return entry.key if entry else ""

    @property
    def size(self) -> int:
        entry = self.new or self.old
        return len(entry.raw) if entry else 0

    @property
    def retained(self) -> int:
        """Bytes that live only because this event is in the window."""
        if self.old is None:
            return 0
        return len(self.old.raw) * (2 if self.new is None else 1)  # a delete is encoded once more

    def gone(self) -> bytes:
        """The last object with the version at which it went (upstream does the same)."""
        if self._gone is None:
            last = self.old or self.new
            self._gone = with_resource_version(last.raw, self.version) if last else b""
        return self._gone


class WatchEvent(NamedTuple):
    """As one client sees a change: its type and the object's JSON."""

    type: str  # ADDED, MODIFIED, DELETED
    raw: bytes


def see(event: Event, filter_: Filter, reader: FieldReader) -> WatchEvent | None:
    """The change through a filter: objects appear and vanish as they start and stop matching."""
    new, old = event.new, event.old
    is_in = new is not None and filter_.matches(new, reader)
    was_in = old is not None and filter_.matches(old, reader)
    if new is not None and is_in:
        return WatchEvent("MODIFIED" if was_in or event.retold else "ADDED", new.raw)
    if was_in or (event.retold and filter_.matches_key(event.key)):
        return WatchEvent("DELETED", event.gone())
    return None


Move = tuple[int, str, Entry | None, bool]
"""What one event is made of: the version at which a key gets another entry (None: it goes), and
whether that is a revision."""


class Taken(NamedTuple):
    """What a watcher takes: events `start..end` of the window, ever counted."""

    start: int
    end: int
    events: Sequence[Event]


class Window:
    """The newest events of a cache, oldest first."""

    def __init__(self, settings: CacheSettings) -> None:
        self.events: list[Event] = []
        self.first = 0  # the number of events[0], counted ever
        self.floor = 0  # all events behind this version are here
        self._settings = settings
        self.last_revision = -1  # the number of the newest revision
        self._offset = 0  # bytes of all events, ever
        self._retained = 0
        self._retell_from = 0  # so many events must there be before revisions are told anew

    def __len__(self) -> int:
        return len(self.events)

    @property
    def end(self) -> int:
        """The number of the next event, counted ever."""
        return self.first + len(self.events)

    def begin(self, version: int) -> None:
        """Forget all; from here on everything is told."""
        self.first += len(self.events)
        self.events = []
        self._retained = 0
        self.floor = version

    @property
    def has_revisions(self) -> bool:
        return self.last_revision >= self.first

    def add(
        self,
        version: int,
        new: Entry | None,
        old: Entry | None,
        is_revision: bool = False,
        retold: bool = False,
    ) -> Event:
        event = Event(version, new, old, self._offset, is_revision, retold)
        self._offset += event.size
        if old is not None:
            self._retained += event.retained
        if is_revision:
            self.last_revision = self.end
        self.events.append(event)
        return event

    def evict(self, newest: int, current: int) -> bool:
        """Drop the oldest events, an eighth at a time, so that it is rarely done. Whether any went.

        Events from index `newest` on came just now; live watchers get a chance to take them, unless
        they are far too many. Revisions at the `current` version do not go: whoever lists gets this
        version, and goes on from there. They are told anew instead, once for each key.
        """
        limits = self._settings
        if len(self.events) <= limits.window_events and self._retained <= limits.window_bytes:
            return False
        most_events, most_bytes = limits.window_events * 7 // 8, limits.window_bytes * 7 // 8
        count = 0
        for event in self.events:
            is_far = self._retained > limits.burst_bytes
            is_over = len(self.events) - count > most_events or self._retained > most_bytes
            if not (is_far or (is_over and count < newest)):
                break
            if event.is_revision and event.version == current:
                return self._retell(newest - count, count, current)
            self._retained -= event.retained
            count += 1
        self._retell_from = 0
        self._drop(count)
        return count > 0

    def _drop(self, count: int) -> None:
        if count:
            last = self.events[count - 1]
            self.floor = last.version + last.is_revision
            del self.events[:count]
            self.first += count

    def _retell(self, newest: int, count: int, current: int) -> bool:
        """Without the first `count` events all are revisions at the current version."""
        self._drop(count)
        if newest <= 0 or len(self.events) < self._retell_from:
            return count > 0
        old, new = self.events[:newest], self.events[newest:]
        self.begin(current)
        self.first -= len(new)  # who has taken all but these is told all anew, and cut off is none
        for event in {event.key: event for event in old}.values():
            self.add(current, event.new, event.old, True, True)
        for event in new:
            self.add(current, event.new, event.old, True, event.retold)
        self._retell_from = 2 * len(self.events)
        return True

    def take(self, cursor: int) -> Taken | None:
        """The next events from number `cursor` on. Raises Overflow."""
        index = cursor - self.first
        if index == len(self.events):
            return None
        if index < 0 or self._offset - self.events[index].offset > self._settings.watcher_bytes:
            raise Overflow
        limit = self.events[index].offset + self._settings.take_bytes
        stop = bisect_left(self.events, limit, lo=index + 1, key=attrgetter("offset"))
        return Taken(cursor, self.first + stop, self.events[index:stop])

    def behind(self, version: int) -> int:
        return first_behind(self.events, version)

    def is_event(self, version: int) -> bool:
        """Whether something took place at this version."""
        index = bisect_left(self.events, version, key=attrgetter("version"))
        return index < len(self.events) and self.events[index].version == version

    def undone(self, version: int) -> Mapping[str, Entry | None]:
        """What the keys that changed since held at the version."""
        later = self.events[bisect_right(self.events, version, key=attrgetter("version")) :]
        return {event.key: event.old for event in reversed(later)}


def first_behind(events: Sequence[Event], version: int) -> int:
    """The index of the first event that who knows `version` must be told."""
    by_version = attrgetter("version")
    end = bisect_right(events, version, key=by_version)
    start = bisect_left(events, version, hi=end, key=by_version)
    return next((n for n in range(start, end) if events[n].is_revision), end)


def in_order(changes: Sequence[Change], before: int, target: int) -> list[tuple[int, Change]]:
    """Each change with the version at which it takes place here, ascending.

    After a sync changes come in any order, and of deletes it is known that they happened, not when:
    their versions lie behind what clients already saw, or are all those of the whole set. Each of
    these takes place at a version of its own, so that a client which stops between any two events
    resumes there and misses nothing; as early as can be, lest a client that goes on elsewhere does.
    """
    if len(changes) == 1:
        change = changes[0]
        return [(change.version if change.version > before else target, change)]
    told = Counter(change.version for change in changes)
    placed: list[tuple[int, Change]] = []
    loose: list[Change] = []
    for change in changes:
        is_shared = change.data is None and told[change.version] > 1
        if change.version > before and not is_shared:
            placed.append((change.version, change))
        else:
            loose.append(change)
    if loose:
        loose.sort(key=attrgetter("key"))
        taken = {version for version, _ in placed}
        free = (version for version in range(before + 1, target + 1) if version not in taken)
        placed += [(next(free, target), change) for change in loose]
    placed.sort(key=lambda pair: pair[0])
    return placed
