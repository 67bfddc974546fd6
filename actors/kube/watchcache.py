"""A watch cache: one resource's objects, their list version, and a window of recent events.

Pure: no I/O, no clock, no event loop. Objects are held as raw JSON, once, by reference: the feed's
follower, the cache, the window of events and what is on its way to clients share the same bytes.
A watcher is a cursor into the window, so an event costs the same for one watcher as for a
thousand, and a slow watcher holds nothing: when it has fallen too far behind, it alone is cut off.

Steps that came by difference leave a gap: of what came and went between its ends nothing is known
here. A client whose version lies within one must list anew, unless it may have it from us.

A state of the past that is still in the window can be read again (`snapshot(version)`), which is
what pages of one consistent list need; nothing is kept for them.

After KEP-2340 (consistent reads), KEP-956 (bookmarks), KEP-365 (pages) and the watch cache of
kube-apiserver (k8s.io/apiserver/pkg/storage/cacher).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import NamedTuple

from actors.kube.fields import FieldReader, Selected
from actors.kube.filters import EVERYTHING, Filter
from actors.kube.gaps import Gaps
from actors.kube.meta import with_resource_version
from actors.kube.resource import Resource
from bus.feed.types import Change, Item


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
    """A change at `version`: `new` is None for a delete, `old` for a create."""

    __slots__ = ("_gone", "new", "offset", "old", "version")

    def __init__(self, version: int, new: Entry | None, old: Entry | None, offset: int) -> None:
        self.version = version
        self.new = new
        self.old = old
        self.offset = offset  # bytes of all events before this one, ever
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
            self._gone = with_resource_version(self.old.raw, self.version) if self.old else b""
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
        return WatchEvent("MODIFIED" if was_in else "ADDED", new.raw)
    return WatchEvent("DELETED", event.gone()) if was_in else None


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


class Taken(NamedTuple):
    """What a watcher takes: events `start..end` of the window, ever counted."""

    start: int
    end: int
    events: Sequence[Event]


class Watcher:
    """A cursor into the window of events. Take until nothing comes, then `cache.on_event(wake)`."""

    def __init__(self, cache: WatchCache, cursor: int, after: int, filter_: Filter) -> None:
        self.filter = filter_
        self._cache = cache
        self._generation = cache.generation
        self._cursor = cursor
        self._after = after  # events up to here are known to the client
        self._skip = after if after > cache.version else 0  # it knows more than the cache yet does

    def take(self) -> Taken | None:
        """The next events, None if there are none. Raises Overflow; TooOld after a reset, or if the
        cache has passed over the client's version without knowing what held there.
        """
        cache = self._cache
        if self._is_lost:
            raise TooOld(self._after, cache.version)
        while (taken := cache._taken(self._cursor)) is not None:
            self._cursor = taken.end
            self._after = max(self._after, taken.events[-1].version)
            cache.gaps.tell(self._after)
            if self._skip < taken.events[0].version:
                return taken
            if self._skip < taken.events[-1].version:
                return _behind(taken, self._skip)
        return None

    @property
    def version(self) -> int:
        """What a bookmark may say: everything up to here has been taken."""
        if self._cursor == self._cache.end and not self._is_lost:
            return max(self._after, self._cache.version)
        return self._after

    @property
    def _is_lost(self) -> bool:
        cache = self._cache
        if cache.generation != self._generation:
            return True
        return self._skip > 0 and cache.gaps.of(self._skip) is not None


class WatchCache:
    """One resource's objects and recent events. Unfilled until `replace`, `apply` or `reset`."""

    def __init__(self, resource: Resource, settings: CacheSettings | None = None) -> None:
        self.resource = resource
        self.settings = settings or CacheSettings()
        self.reader = FieldReader(resource)
        self.version = 0  # the list version: holds for the whole set
        self.filled = False
        self.generation = 0  # grows with every reset
        self.gaps = Gaps()
        self._is_closed = False
        self._objects: dict[str, Entry] = {}
        self._order: list[str] | None = None  # sorted keys, until one comes or goes
        self._snapshots: dict[int, Snapshot] = {}
        self._events: list[Event] = []
        self._first = 0  # the number of _events[0], counted ever
        self._offset = 0  # bytes of all events, ever
        self._retained = 0
        self._floor = 0  # watches may start from here
        self._on_event: dict[object, Callable[[], None]] = {}
        self._on_version: dict[object, Callable[[], None]] = {}

    def __len__(self) -> int:
        return len(self._objects)

    def __repr__(self) -> str:
        return f"<WatchCache {self.resource.name} {len(self)} objects at {self.version}>"

    # -- what is fed in ---------------------------------------------------------------------------

    def replace(self, items: Mapping[str, Item], version: int) -> None:
        """The whole set. The first fill is silent; later the differences are events."""
        if self.filled:
            self.apply(self._differences(items, version), version, exact=False)
            return
        self._objects = {key: Entry(key, item.version, item.data) for key, item in items.items()}
        self._order = None
        self._begin_window(version)

    def apply(self, changes: Sequence[Change], version: int, exact: bool = True) -> None:
        """Changes that continue the state; `version` holds for the whole set after them.

        Not `exact`: they are the difference only, what came and went meanwhile is not among them.
        """
        if not self.filled:
            self._begin_window(0)
        before = self.version
        target = max(version, before)
        self._snapshots.pop(target, None)
        newest = len(self._events)
        for at, change in _in_order(changes, before, target):
            self._record(at, change)
        self.version = max(target, self._events[-1].version if self._events else 0)
        if not exact:
            self.gaps.add(before, self.version)
        self._evict(newest)
        self._wake(self._on_event if changes or not exact else None)

    def advance(self, version: int) -> None:
        """The set is known to hold unchanged at a newer version."""
        self._evict(len(self._events))
        if version > self.version:
            self.version = version
            self._wake(None)

    def reset(self, changes: Sequence[Change], version: int) -> None:
        """Another history: apply silently; all watchers end (410) and list anew."""
        for change in changes:
            self._objects.pop(change.key, None)  # the same version may mean another object now
            self._put(change)
        self._order = None
        self._begin_window(version)
        self.generation += 1
        self._wake(self._on_event)

    def close(self) -> None:
        """Nothing is fed in any more: watchers end (410), those that still come as well."""
        self.reset((), self.version)
        self._is_closed = True

    def _begin_window(self, version: int) -> None:
        self._first += len(self._events)
        self._events = []
        self._retained = 0
        self.gaps.clear()
        self._snapshots.clear()
        self.version = self._floor = version
        self.filled = True
        self._wake(None)

    def _differences(self, items: Mapping[str, Item], version: int) -> list[Change]:
        changes = [Change(key, version, None) for key in self._objects if key not in items]
        for key, item in items.items():
            held = self._objects.get(key)
            if held is None or held.version != item.version:
                changes.append(Change(key, item.version, item.data))
        return changes

    def _put(self, change: Change) -> tuple[Entry | None, Entry | None]:
        """(new, old), both None if nothing changed."""
        if change.data is None:
            old = self._objects.pop(change.key, None)
            if old is not None:
                self._order = None
            return None, old
        old = self._objects.get(change.key)
        if old is not None and old.version == change.version:
            return None, None  # told again: nothing has changed
        new = Entry(change.key if old is None else old.key, change.version, change.data)
        self._objects[new.key] = new
        if old is None:
            self._order = None
        return new, old

    def _record(self, at: int, change: Change) -> None:
        new, old = self._put(change)
        if new is None and old is None:
            return
        event = Event(at, new, old, self._offset)
        self._offset += event.size
        self._retained += event.retained
        self._events.append(event)

    def _evict(self, newest: int) -> None:
        """Drop the oldest events, an eighth at a time, so that it is rarely done.

        Events from index `newest` on came just now; live watchers get a chance to take them, unless
        they are far too many.
        """
        limits = self.settings
        if len(self._events) <= limits.window_events and self._retained <= limits.window_bytes:
            return
        most_events, most_bytes = limits.window_events * 7 // 8, limits.window_bytes * 7 // 8
        count = 0
        for event in self._events:
            is_far = self._retained > limits.burst_bytes
            is_over = len(self._events) - count > most_events or self._retained > most_bytes
            if not (is_far or (is_over and count < newest)):
                break
            self._retained -= event.retained
            count += 1
        if count:
            self._floor = self._events[count - 1].version
            del self._events[:count]
            self._first += count
            self.gaps.forget(self._floor)
            self._snapshots.clear()  # they may hold what the window just let go

    # -- being told -------------------------------------------------------------------------------

    def on_event(self, token: object, wake: Callable[[], None]) -> None:
        """Call `wake` once, at the next event or reset. `forget(token)` takes it back."""
        self._on_event[token] = wake

    def on_version(self, token: object, wake: Callable[[], None]) -> None:
        """Call `wake` once, when the version next moves."""
        self._on_version[token] = wake

    @property
    def is_awaited(self) -> bool:
        """Whether anyone waits for a version."""
        return bool(self._on_version)

    def forget(self, token: object) -> None:
        self._on_event.pop(token, None)
        self._on_version.pop(token, None)

    def _wake(self, events: dict[object, Callable[[], None]] | None) -> None:
        """Busy watchers are not listed, so a burst of changes wakes each only once."""
        for waiting in (events, self._on_version):
            if waiting:
                calls = list(waiting.values())
                waiting.clear()
                for call in calls:
                    call()

    # -- reads ------------------------------------------------------------------------------------

    def get(self, key: str) -> Entry | None:
        return self._objects.get(key)

    @property
    def oldest(self) -> int:
        """The oldest version that `watch` and `snapshot` still reach."""
        return self._floor

    def _check_known(self, version: int) -> None:
        """Raises TooOld where the window does not tell all that came behind the version."""
        if version < self._floor:
            raise TooOld(version, self._floor)
        gap = self.gaps.of(version)
        if gap is not None:
            raise TooOld(version, gap.new)

    def _was_told(self, version: int) -> bool:
        """Whether a client may have come to `version` by an event of ours within a gap.

        A connection that breaks in the middle of a step by difference must not cost its client a
        list. (A client from elsewhere that stopped at the very same event cannot be told apart.)
        """
        gap = self.gaps.of(version)
        if gap is None or version > gap.told:
            return False
        index = bisect_left(self._events, version, key=attrgetter("version"))
        return index < len(self._events) and self._events[index].version == version

    def snapshot(self, version: int | None = None) -> Snapshot:
        """The state at a version (None: now). Raises TooOld, also for versions not yet reached."""
        version = self.version if version is None else version
        held = self._snapshots.get(version)
        if held is None:
            self._check_known(version)
            if version > self.version:
                raise TooOld(version, self._floor)
            undone = self._undone(version)
            held = Snapshot(version, self._past(undone) if undone else self._present())
            if len(self._snapshots) >= 4:
                self._snapshots.pop(next(iter(self._snapshots)))
            self._snapshots[version] = held
        return held

    def _present(self) -> list[Entry]:
        if self._order is None:
            self._order = sorted(self._objects)
        objects = self._objects
        return [objects[key] for key in self._order]

    def _undone(self, version: int) -> dict[str, Entry | None]:
        """What the keys that changed since held at the version."""
        start = bisect_right(self._events, version, key=attrgetter("version"))
        return {event.key: event.old for event in reversed(self._events[start:])}

    def _past(self, undone: Mapping[str, Entry | None]) -> list[Entry]:
        state = dict(self._objects)
        for key, entry in undone.items():
            if entry is None:
                state.pop(key, None)
            else:
                state[key] = entry
        return sorted(state.values(), key=attrgetter("key"))

    def watch(self, after: int | None, filter_: Filter = EVERYTHING) -> Watcher:
        """Events behind version `after` (None: behind now). Raises TooOld.

        A version that is not reached yet is fine: the client knows it from elsewhere, and is told
        only of what comes behind it.
        """
        if self._is_closed:
            raise TooOld(after or self.version, self.version)
        if after is None:
            return Watcher(self, self.end, self.version, filter_)
        if not self._was_told(after):
            self._check_known(after)
        start = bisect_right(self._events, after, key=attrgetter("version"))
        return Watcher(self, self._first + start, after, filter_)

    @property
    def end(self) -> int:
        """The number of the next event, counted ever."""
        return self._first + len(self._events)

    def _taken(self, cursor: int) -> Taken | None:
        index = cursor - self._first
        if index == len(self._events):
            return None
        if index < 0 or self._offset - self._events[index].offset > self.settings.watcher_bytes:
            raise Overflow
        limit = self._events[index].offset + self.settings.take_bytes
        stop = bisect_left(self._events, limit, lo=index + 1, key=attrgetter("offset"))
        return Taken(cursor, self._first + stop, self._events[index:stop])


def _behind(taken: Taken, version: int) -> Taken:
    known = bisect_right(taken.events, version, key=attrgetter("version"))
    return Taken(taken.start + known, taken.end, taken.events[known:])


def _in_order(changes: Sequence[Change], before: int, target: int) -> list[tuple[int, Change]]:
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
