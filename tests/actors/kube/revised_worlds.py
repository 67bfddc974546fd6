"""A cloud, a cache that follows it with local revisions, another derived from it, and clients."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import msgspec

from actors.kube.builtin import CONFIGMAPS
from actors.kube.derived import DerivedCache
from actors.kube.filters import EVERYTHING, Filter
from actors.kube.watchcache import (
    CacheSettings,
    Overflow,
    TooOld,
    WatchCache,
    Watcher,
    see,
)
from bus.feed.types import Change, Item
from tests.actors.kube.objects import gone, put

Shown = dict[str, bytes]  # by key
START = 100


def key_of(number: int) -> str:
    return f"default/n{number}"


@dataclass(frozen=True)
class Rules:
    """A transform: what is done to each key."""

    by_key: dict[str, str] = field(default_factory=dict)

    def __call__(self, key: str, raw: bytes) -> bytes | None:
        what = self.by_key.get(key, "as it is")
        if what == "broken":
            raise ValueError(key)
        if what == "hidden" or (what == "no web" and b'"web"' in raw):
            return None
        return raw.replace(b'"kind"', b'"by":"us","kind"') if what == "marked" else raw

    def result(self, shown: Shown) -> Shown:
        """All that it shows of a set."""
        found = {}
        for key, raw in shown.items():
            try:
                one = self(key, raw)
            except ValueError:
                one = raw
            if one is not None:
                found[key] = one
        return found

    def but(self, key: str, what: str) -> Rules:
        return replace(self, by_key={**self.by_key, key: what})


class World:
    """`source` follows the cloud; what it must show is known from the operations alone."""

    def __init__(self, window: int = 1000) -> None:
        self.version = START
        self.cloud: dict[str, Item] = {}
        self.local: dict[str, bytes | None] = {}
        self.rules = Rules()
        self.source = WatchCache(CONFIGMAPS, CacheSettings(window_events=window))
        self.source.replace({}, START)
        self.derived = DerivedCache(self.source, self.rules)

    # -- what happens -----------------------------------------------------------------------------

    def change(self, key: str, label: str | None) -> Change:
        """In the cloud, unheard of by the source. None: a delete."""
        self.version += 1
        if label is None:
            self.cloud.pop(key, None)
            return gone(key, self.version)
        told = put(CONFIGMAPS, key, self.version, labels={"app": label})
        self.cloud[key] = Item(self.version, told.data or b"")
        return told

    def apply(self, *changes: Change) -> None:
        for told in changes:
            self.local.pop(told.key, None)
        self.source.apply(changes, self.version)

    def put(self, key: str, label: str = "db") -> None:
        self.apply(self.change(key, label))

    def delete(self, key: str) -> None:
        self.apply(self.change(key, None))

    def differ(self, changes: list[tuple[str, str | None]]) -> None:
        """The source hears only of the difference."""
        before = dict(self.cloud)
        for key, label in changes:
            self.change(key, label)
        told = [gone(key, self.version) for key in before.keys() - self.cloud.keys()]
        told += [Change(k, *i) for k, i in self.cloud.items() if before.get(k) != i]
        for one in told:
            self.local.pop(one.key, None)
        self.source.apply(told, self.version, exact=False)

    def replace(self, changes: list[tuple[str, str | None]]) -> None:
        """The source lists anew."""
        before = dict(self.cloud)
        for key, label in changes:
            self.change(key, label)
        for key in before.keys() | self.cloud.keys():
            if before.get(key) != self.cloud.get(key):
                self.local.pop(key, None)
        self.source.replace(self.cloud, self.version)

    def tell_again(self, key: str) -> None:
        """A change that is no news, but ends a revision."""
        if key in self.cloud:
            self.apply(Change(key, *self.cloud[key]))

    def revise(self, key: str, label: str | None) -> None:
        """An object keeps its version; one that is new has a low one."""
        data = None
        if label is not None:
            version = self.cloud[key].version if key in self.cloud else 1
            data = put(CONFIGMAPS, key, version, labels={"app": label}, local="yes").data
        if self.shown().get(key) != data:
            self.local[key] = data
        self.source.revise([Change(key, 1, data)])

    def restore(self, key: str) -> None:
        self.local.pop(key, None)
        self.source.restore([key])

    def reset(self) -> None:
        self.version += 5
        for key in [key for key in self.local if key in self.cloud]:
            del self.local[key]
        self.source.reset([Change(key, *item) for key, item in self.cloud.items()], self.version)

    def advance(self) -> None:
        self.version += 1
        self.source.advance(self.version)

    def retransform(self, key: str, what: str, only_it: bool) -> None:
        self.rules = self.rules.but(key, what)
        self.derived.retransform(self.rules, [key] if only_it else None)

    # -- what must be seen ------------------------------------------------------------------------

    def shown(self) -> Shown:
        shown = {key: item.data for key, item in self.cloud.items()}
        for key, data in self.local.items():
            shown.pop(key, None)
            if data is not None:
                shown[key] = data
        return shown


def contents(cache: WatchCache, filter_: Filter = EVERYTHING, at: int | None = None) -> Shown:
    entries = cache.snapshot(at).entries
    return {entry.key: entry.raw for entry in entries if filter_.matches(entry, cache.reader)}


class Client:
    """As an informer; it remembers the versions it has seen."""

    def __init__(self, cache: WatchCache, filter_: Filter = EVERYTHING) -> None:
        self.cache = cache
        self.filter = filter_
        self.lists = 0
        self.list()

    def list(self) -> None:
        self.lists += 1
        self.state = contents(self.cache, self.filter)
        self.seen = [self.cache.version]
        self._watcher: Watcher | None = None

    def leave(self) -> None:
        self._watcher = None

    def come(self, index: int = -1) -> None:
        """By one of the versions that it has seen; the last as a rule."""
        try:
            self._watcher = self.cache.watch(self.seen[index % len(self.seen)], self.filter)
        except TooOld:
            self.list()

    def take(self) -> bool:
        """A run of events. Whether there was one, or a reason to come again."""
        if self._watcher is None:
            self.come()
        watcher = self._watcher
        if watcher is None:
            return True
        try:
            taken = watcher.take()
        except TooOld:
            self.list()
            return True
        except Overflow:
            self.leave()
            return True
        for event in taken.events if taken is not None else ():
            told = see(event, watcher.filter, self.cache.reader)
            if told is not None:
                self._hear(told.type, told.raw)
        return taken is not None

    def _hear(self, type_: str, raw: bytes) -> None:
        metadata = msgspec.json.decode(raw)["metadata"]
        key = f"{metadata['namespace']}/{metadata['name']}"
        self.seen.append(int(metadata["resourceVersion"]))
        if type_ == "DELETED":
            self.state.pop(key, None)
        else:
            self.state[key] = raw

    def bookmark(self) -> None:
        if self._watcher is not None:
            self.seen.append(self._watcher.version)

    def take_all(self) -> Shown:
        while self.take():
            pass
        return self.state
