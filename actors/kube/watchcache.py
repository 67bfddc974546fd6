"""A watch cache: one resource's objects, their list version, and a window of recent events.

Pure: no I/O, no clock, no event loop. Objects are held as raw JSON, once, by reference: the feed's
follower, the cache, the window of events and what is on its way to clients share the same bytes.
A watcher is a cursor into the window, so an event costs the same for one watcher as for a
thousand, and a slow watcher holds nothing: when it has fallen too far behind, it alone is cut off.

Steps that came by difference leave a gap: of what came and went between its ends nothing is known
here. A client whose version lies within one must list anew, unless it may have it from us.

A state of the past that is still in the window can be read again (`snapshot(version)`), which is
what pages of one consistent list need; nothing is kept for them.

What the source told may be revised here, at an unmoved version (`revise`): a write that the API
server has not seen yet, another way to show things. Revisions are events at the version that was
reached; they are told at least once to whoever goes on from there, and bookmarks follow them, since
the objects in them may carry any resourceVersion.

After KEP-2340 (consistent reads), KEP-956 (bookmarks), KEP-365 (pages) and the watch cache of
kube-apiserver (k8s.io/apiserver/pkg/storage/cacher).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from actors.kube.fields import FieldReader
from actors.kube.filters import EVERYTHING, Filter
from actors.kube.gaps import Gaps
from actors.kube.resource import Resource
from actors.kube.snapshots import Snapshot, past
from actors.kube.window import (
    CacheSettings,
    Entry,
    Event,
    Move,
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

_NEVER = Entry("", 0, b"")  # no entry is this one

__all__ = [
    "CacheSettings",
    "Entry",
    "Event",
    "Follower",
    "Move",
    "Overflow",
    "Snapshot",
    "Taken",
    "TooOld",
    "WatchCache",
    "WatchEvent",
    "Watcher",
    "see",
]


class Follower(Protocol):
    """Told of all that is fed into a cache, at once and in order, before any watcher is woken."""

    def stepped(self, events: Sequence[Event], version: int, exact: bool) -> None:
        """The state went on; see `WatchCache.apply`."""

    def restarted(self) -> None:
        """It was filled, or has another history."""

    def closed(self) -> None:
        """Nothing will come any more."""


class Watcher:
    """A cursor into the window of events. Take until nothing comes, then `cache.on_event(wake)`."""

    def __init__(self, cache: WatchCache, cursor: int, after: int, filter_: Filter) -> None:
        self.filter = filter_
        self._cache = cache
        self._generation = cache.generation
        self._cursor = cursor
        self._after = after  # events up to here are known to the client
        self._skip = after if after > cache.version else 0  # it knows more than the cache yet does
        # What it knows is not revised as ours is, which matters once the cache is as far.
        self._must_list = self._skip > 0 and (cache.window.has_revisions or bool(cache.revised))

    def take(self) -> Taken | None:
        """The next events, None if there are none. Raises Overflow; TooOld after a reset, or if the
        cache has come to the client's version without knowing what held there, or with revisions.
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
            rest = self._unknown(taken)
            if self._is_lost:
                raise TooOld(self._after, cache.version)
            if rest.events:
                return rest
        return None

    def _unknown(self, taken: Taken) -> Taken:
        """Without what the client knows from elsewhere."""
        known = first_behind(taken.events, self._skip)
        if any(event.is_revision for event in taken.events[:known]):
            self._must_list = True
        return Taken(taken.start + known, taken.end, taken.events[known:])

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
        if not self._skip:
            return False
        is_there = self._must_list and cache.version >= self._skip
        return is_there or cache.gaps.of(self._skip) is not None


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
        self.is_closed = False
        self._objects: dict[str, Entry] = {}
        self._revised: dict[str, Entry | None] = {}  # as they were told, before they were revised
        self._lost = 0  # the highest version of histories that were reset
        self._order: list[str] | None = None  # sorted keys, until one comes or goes
        self._snapshots: dict[int, Snapshot] = {}  # the few asked for last: pages ask again
        self._followers: list[Follower] = []
        self._on_event: dict[object, Callable[[], None]] = {}
        self._on_version: dict[object, Callable[[], None]] = {}

    def __len__(self) -> int:
        return len(self._objects)

    def __repr__(self) -> str:
        return f"<WatchCache {self.resource.name} {len(self)} objects at {self.version}>"

    # -- what is fed in ---------------------------------------------------------------------------

    def replace(self, items: Mapping[str, Item], version: int) -> None:
        """The whole set. The first fill is silent; later the differences are events.

        Revisions stay where the source tells what it told before: the same version, or still no
        object.
        """
        if self.filled:
            self.apply(self._differences(items, version), version, exact=False)
        else:
            entries = {key: Entry(key, item.version, item.data) for key, item in items.items()}
            self.refill(entries, version)

    def refill(self, entries: dict[str, Entry], version: int) -> None:
        """The whole set, silently; once filled, that is another history (see `reset`)."""
        self._objects = entries
        self._revised.clear()
        self.generation += self.filled
        self._begin_window(version)
        self._wake(self._on_event)

    def apply(self, changes: Sequence[Change], version: int, exact: bool = True) -> None:
        """Changes that continue the state; `version` holds for the whole set after them.

        Not `exact`: they are the difference only, what came and went meanwhile is not among them.
        A change ends the revision of its key, whatever its version.
        """
        if not self.filled:
            self._begin_window(0)
        before, newest = self.version, len(self.window.events)
        events = []
        for at, change in in_order(changes, before, max(version, before)):
            event = self._change(at, change)
            if event is not None:
                events.append(event)
        self._finish(newest, events, version, exact)

    def advance(self, version: int) -> None:
        """The set is known to hold unchanged at a newer version."""
        self._evict(len(self.window.events))
        is_newer = version > self.version
        self.version = max(version, self.version)
        for follower in self._followers:
            follower.stepped((), self.version, True)
        if is_newer:
            self._wake(None)

    def reset(self, changes: Sequence[Change], version: int) -> None:
        """Another history: apply silently; all watchers end (410) and list anew."""
        for key, at, data in changes:  # the same version may mean another object now
            self._revised.pop(key, None)
            self._objects.pop(key, None)
            if data is not None:
                self._objects[key] = Entry(key, at, data)
        self.generation += 1
        self._lost = max(self._lost, self.version)
        self._begin_window(version)
        self._wake(self._on_event)

    def close(self) -> None:
        """Nothing is fed in any more: watchers end (410), those that still come as well."""
        self.is_closed = True
        self.generation += 1
        self._wake(self._on_event)
        for follower in list(self._followers):
            follower.closed()

    def step(self, moves: Iterable[Move], version: int, exact: bool = True) -> None:
        """What `apply` comes down to: moves in the order of their versions, none before ours.

        They are drawn one by one, each after the one before has taken place.
        """
        newest = len(self.window.events)
        events = [event for move in moves if (event := self._record(*move)) is not None]
        self._finish(newest, events, version, exact)

    def _finish(self, newest: int, events: list[Event], version: int, exact: bool) -> None:
        """Of a step; its events are those from index `newest` on."""
        before = self.version
        if version < before:
            version = before
        if events and version < events[-1].version:
            version = events[-1].version
        self.version = version
        self._snapshots.pop(version, None)
        if not exact:
            self.gaps.add(before, version)
        self._evict(newest)
        for follower in self._followers:
            follower.stepped(events, version, exact)
        self._wake(self._on_event if events or not exact else None)

    def _change(self, at: int, change: Change) -> Event | None:
        key, version, data = change
        held = self._objects.get(key)
        is_revised = self._revised and self._revised.pop(key, _NEVER) is not _NEVER
        if data is None:
            return self._record(at, key, None, at == self.version)
        if held is not None:
            if held.version == version and not is_revised:
                return None  # told again: nothing has changed
            key = held.key
        return self._record(at, key, Entry(key, version, data), at == self.version)

    def _record(self, at: int, key: str, new: Entry | None, is_revision: bool) -> Event | None:
        old = self._objects.get(key)
        if new is not None:
            self._objects[key] = new
        elif old is not None:
            del self._objects[key]
        else:
            return None
        if new is None or old is None:
            self._order = None
        return self.window.add(at, new, old, is_revision)

    def _begin_window(self, version: int) -> None:
        self._order = None
        self.window.begin(version)
        self.gaps.clear()
        self._snapshots.clear()
        self.version = version
        self.filled = True
        for follower in self._followers:
            follower.restarted()
        self._wake(None)

    def _differences(self, items: Mapping[str, Item], version: int) -> list[Change]:
        told = {entry.key: entry.version for entry in self.unrevised()}
        changes = [Change(key, version, None) for key in told if key not in items]
        for key, item in items.items():
            if told.get(key) != item.version:
                changes.append(Change(key, item.version, item.data))
        return changes

    def _evict(self, newest: int) -> None:
        if self.window.evict(newest, self.version):
            self.gaps.forget(self.window.floor)
            self._snapshots.clear()  # they may hold what the window just let go

    # -- revisions --------------------------------------------------------------------------------

    def revise(self, changes: Iterable[Change]) -> None:
        """Show other contents though the version does not move, until the source tells of the key.

        What a change says is shown as it is; its version is what the entry then carries, and tells
        nobody anything. Contents that are shown already are no revision.
        """
        self.step(self._revisions(changes), self.version)

    def restore(self, keys: Iterable[str]) -> None:
        """End revisions: what the source told last is shown again."""
        self.step(self._restored(keys), self.version)

    @property
    def revised(self) -> Mapping[str, Entry | None]:
        """The keys that are revised, and what the source told of each (None: no such object)."""
        return self._revised

    def unrevised(self) -> Iterator[Entry]:
        """All objects as the source told them, in no order."""
        if not self._revised:
            yield from self._objects.values()
            return
        for key, entry in self._objects.items():
            if key not in self._revised:
                yield entry
        for told in self._revised.values():
            if told is not None:
                yield told

    def _revisions(self, changes: Iterable[Change]) -> Iterator[Move]:
        for key, version, data in changes:
            held = self._objects.get(key)
            if (held.raw if held is not None else None) == data:
                continue
            self._revised.setdefault(key, held)
            new = None if data is None else Entry(key, version, data)
            yield self.version, key, new, True

    def _restored(self, keys: Iterable[str]) -> Iterator[Move]:
        for key in keys:
            told = self._revised.pop(key, _NEVER)
            if told is not _NEVER and told is not self._objects.get(key):
                yield self.version, key, told, True

    # -- being told -------------------------------------------------------------------------------

    def follow(self, follower: Follower) -> None:
        """Tell it from now on."""
        self._followers.append(follower)

    def unfollow(self, follower: Follower) -> None:
        if follower in self._followers:
            self._followers.remove(follower)

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

    def entries(self) -> Collection[Entry]:
        """In no order; a view that changes with the cache."""
        return self._objects.values()

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
        """The state at a version (None: now). Raises TooOld, also for versions not yet reached.

        With all that was revised at this very version: pages of one list may lie on both sides of a
        revision, which is then told to whoever goes on from there.
        """
        version = self.version if version is None else version
        held = self._snapshots.get(version)
        if held is None:
            self._check_known(version)
            if version > self.version:
                raise TooOld(version, self.oldest)
            undone = self.window.undone(version)
            entries = past(self._objects, undone) if undone else self._present()
            held = Snapshot(version, entries)
            if len(self._snapshots) >= 4:
                self._snapshots.pop(next(iter(self._snapshots)))
            self._snapshots[version] = held
        return held

    def _present(self) -> list[Entry]:
        if self._order is None:
            self._order = sorted(self._objects)
        objects = self._objects
        return [objects[key] for key in self._order]

    def watch(self, after: int | None, filter_: Filter = EVERYTHING) -> Watcher:
        """Events behind version `after` (None: behind now). Raises TooOld.

        A version that is not reached yet is fine: the client knows it from elsewhere, and is told
        only of what comes behind it; unless the history before a reset had reached it, which is
        then where the client most likely knows it from. Revisions at the version itself are told
        (again).
        """
        if self.is_closed:
            raise TooOld(after or self.version, self.version)
        if after is None:
            return Watcher(self, self.end, self.version, filter_)
        if self.version < after <= self._lost:
            raise TooOld(after, self.version)
        if not self._was_told(after):
            self._check_known(after)
        return Watcher(self, self.window.first + self.window.behind(after), after, filter_)

    @property
    def end(self) -> int:
        """The number of the next event, counted ever."""
        return self.window.end
