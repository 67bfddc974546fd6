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

from collections.abc import Callable, Mapping, Sequence

from actors.kube.fields import FieldReader
from actors.kube.filters import EVERYTHING, Filter
from actors.kube.gaps import Gaps
from actors.kube.resource import Resource
from actors.kube.snapshots import Snapshot, Snapshots, past
from actors.kube.window import (
    CacheSettings,
    Entry,
    Event,
    Overflow,
    Taken,
    TooOld,
    WatchEvent,
    Window,
    first_behind,
    in_order,
    see,
)
from bus.feed.types import Change, Item

__all__ = [
    "CacheSettings",
    "Entry",
    "Event",
    "Overflow",
    "Snapshot",
    "Taken",
    "TooOld",
    "WatchCache",
    "WatchEvent",
    "Watcher",
    "see",
]


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
        while (taken := cache.window.take(self._cursor)) is not None:
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
        self.window = Window(self.settings)
        self._is_closed = False
        self._objects: dict[str, Entry] = {}
        self._order: list[str] | None = None  # sorted keys, until one comes or goes
        self._snapshots = Snapshots()
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
        self._snapshots.forget(target)
        newest = len(self.window)
        for at, change in in_order(changes, before, target):
            self._record(at, change)
        self.version = max(target, self.window.events[-1].version if self.window.events else 0)
        if not exact:
            self.gaps.add(before, self.version)
        self._evict(newest)
        self._wake(self._on_event if changes or not exact else None)

    def advance(self, version: int) -> None:
        """The set is known to hold unchanged at a newer version."""
        self._evict(len(self.window))
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
        self.window.begin(version)
        self.gaps.clear()
        self._snapshots.clear()
        self.version = version
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
        self.window.add(at, new, old)

    def _evict(self, newest: int) -> None:
        if self.window.evict(newest):
            self.gaps.forget(self.window.floor)
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
        return self.window.floor

    def _check_known(self, version: int) -> None:
        """Raises TooOld where the window does not tell all that came behind the version."""
        if version < self.oldest:
            raise TooOld(version, self.oldest)
        gap = self.gaps.of(version)
        if gap is not None:
            raise TooOld(version, gap.new)

    def _was_told(self, version: int) -> bool:
        """Whether a client may have come to `version` by an event of ours within a gap.

        A connection that breaks in the middle of a step by difference must not cost its client a
        list. (A client from elsewhere that stopped at the very same event cannot be told apart.)
        """
        gap = self.gaps.of(version)
        return gap is not None and version <= gap.told and self.window.is_event(version)

    def snapshot(self, version: int | None = None) -> Snapshot:
        """The state at a version (None: now). Raises TooOld, also for versions not yet reached."""
        version = self.version if version is None else version
        held = self._snapshots.get(version)
        if held is None:
            self._check_known(version)
            if version > self.version:
                raise TooOld(version, self.oldest)
            undone = self.window.undone(version)
            entries = past(self._objects, undone) if undone else self._present()
            held = Snapshot(version, entries)
            self._snapshots.keep(held)
        return held

    def _present(self) -> list[Entry]:
        if self._order is None:
            self._order = sorted(self._objects)
        objects = self._objects
        return [objects[key] for key in self._order]

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
        return Watcher(self, self.window.first + self.window.behind(after), after, filter_)

    @property
    def end(self) -> int:
        """The number of the next event, counted ever."""
        return self.window.end


def _behind(taken: Taken, version: int) -> Taken:
    known = first_behind(taken.events, version)
    return Taken(taken.start + known, taken.end, taken.events[known:])
