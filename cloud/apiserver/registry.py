"""All served resources: where each is kept, its watch caches, and the one way to change anything.

A storage keeps objects in one version; each served version is a view with a watch cache of its own
(most have just one). A commit goes to disk first, then into every view before anyone else runs: a
client that got its answer reads what it wrote, and watchers see versions in order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import msgspec

from actors.kube.meta import with_resource_version
from actors.kube.resource import Resource
from actors.kube.serve.backend import CacheBackend
from actors.kube.status_errors import ApiError, qualified
from actors.kube.watchcache import CacheSettings, Entry, WatchCache
from bus.feed.types import Change, Item
from cloud.apiserver.codec import Codec
from cloud.apiserver.kinds.kind import Kind
from cloud.apiserver.store import Loaded, Store, Write

Object = dict[str, Any]
Convert = Callable[[Object], Object]
Listener = Callable[["Storage", str, Object | None, "Entry | None"], None]
"""Told after each commit: storage, key, the object now (None: gone), and as it was held before."""


def as_it_is(obj: Object) -> Object:
    return obj


@dataclass(frozen=True)
class View:
    """One served version. Conversions may share what they do not change."""

    resource: Resource
    codec: Codec
    from_storage: Convert = as_it_is
    to_storage: Convert = as_it_is
    is_served: bool = True
    unchanged_if: bytes = b""  # stands before the metadata of an object that needs no conversion

    def encode(self, data: bytes) -> bytes:
        """A stored object as this view shows it."""
        if self.from_storage is as_it_is:
            return data
        if self.unchanged_if and self.unchanged_if in data[: data.find(b'"metadata"')]:
            return data
        return msgspec.json.encode(self.from_storage(msgspec.json.decode(data)))


@dataclass
class Storage:
    """One kind of object. The first view is the version in which it is kept."""

    views: Sequence[View]
    kind: Kind
    caches: dict[str, WatchCache] = field(default_factory=dict)  # by the view's resource name
    is_custom: bool = False

    @property
    def resource(self) -> Resource:
        return self.views[0].resource

    @cached_property
    def name(self) -> str:
        """Without a version: "services", "endpointslices.discovery.k8s.io"."""
        return qualified(self.resource.group, self.resource.plural)

    @property
    def cache(self) -> WatchCache:
        return self.caches[self.resource.name]

    def get(self, key: str) -> Entry | None:
        return self.cache.get(key)


class Edit(NamedTuple):
    """One object as it shall be, in the storage's version; None: gone."""

    storage: Storage
    key: str
    obj: Object | None


@dataclass(frozen=True, kw_only=True)
class RegistrySettings:
    # etcd takes requests of up to 1.5 MiB, so that no cluster holds larger objects.
    max_object: int = 1536 * 1024
    cache: CacheSettings = field(default_factory=CacheSettings)


class Registry:
    """Everything is done on one event loop; nothing here waits."""

    def __init__(
        self, store: Store, backend: CacheBackend, settings: RegistrySettings | None = None
    ) -> None:
        self.store = store
        self.backend = backend
        self.settings = settings or RegistrySettings()
        self.storages: dict[str, Storage] = {}
        self._by_resource: dict[str, tuple[Storage, View]] = {}
        self._caches: list[WatchCache] = []
        self._listeners: list[Listener] = []

    # -- what is served ---------------------------------------------------------------------------

    def add(self, storage: Storage) -> None:
        """Serve a storage, with all that the store has of it."""
        loaded = self.store.load(storage.name)
        for view in storage.views:
            storage.caches[view.resource.name] = self._filled(view, loaded)
        self._register(storage)

    def replace(self, old: Storage, new: Storage) -> None:
        """Serve what is kept otherwise. Watchers of versions that stay the same notice nothing."""
        loaded = self.store.load(new.name)
        kept = {view.resource for view in old.views if view.is_served}
        for view in new.views:
            name = view.resource.name
            stays = view.resource in kept and view.is_served
            new.caches[name] = old.caches[name] if stays else self._filled(view, loaded)
        for view in old.views:
            self._by_resource.pop(view.resource.name, None)
            if old.caches[view.resource.name] not in new.caches.values():
                self.backend.remove(view.resource)
        self._register(new)

    def _filled(self, view: View, loaded: Loaded) -> WatchCache:
        cache = WatchCache(view.resource, self.settings.cache)
        items = {k: Item(i.version, view.encode(i.data)) for k, i in loaded.items.items()}
        cache.replace(items, loaded.floor)
        cache.apply([_seen(view, change) for change in loaded.changes], self.store.version)
        return cache

    def _register(self, storage: Storage) -> None:
        self.storages[storage.name] = storage
        for view in storage.views:
            if view.is_served:
                self._by_resource[view.resource.name] = (storage, view)
                self.backend.add(storage.caches[view.resource.name])
        self._caches = [c for each in self.storages.values() for c in each.caches.values()]

    def remove(self, storage: Storage, forget: bool = False) -> None:
        """Serve it no longer; `forget` drops what is kept of it, too."""
        self.storages.pop(storage.name, None)
        for view in storage.views:
            self._by_resource.pop(view.resource.name, None)
            self.backend.remove(view.resource)
        self._caches = [c for each in self.storages.values() for c in each.caches.values()]
        if forget:
            self.store.drop(storage.name)

    def find(self, resource: Resource) -> tuple[Storage, View] | None:
        return self._by_resource.get(resource.name)

    def of_kind(self, api_version: str, kind: str) -> tuple[Storage, View] | None:
        for storage, view in self._by_resource.values():
            if (view.resource.api_version, view.resource.kind) == (api_version, kind):
                return storage, view
        return None

    def listen(self, listener: Listener) -> None:
        self._listeners.append(listener)

    # -- changes ----------------------------------------------------------------------------------

    def commit(self, edits: Sequence[Edit]) -> list[bytes]:
        """All or nothing, each with a version of its own. What was written, b"" for deletes.

        Sets `metadata.resourceVersion` in the given objects. Raises ApiError 413 for an object that
        is too large, sqlite3.Error where the disk fails; then nothing has changed.
        """
        if not edits:
            return []
        first = self.store.version + 1
        old = [edit.storage.get(edit.key) for edit in edits]
        data = [self._encoded(edit, first + n) for n, edit in enumerate(edits)]
        self.store.commit(
            [
                Write(e.storage.name, e.key, first + n, data[n], _item(old[n]))
                for n, e in enumerate(edits)
            ]
        )
        self._publish(edits, data, first)
        for edit, before in zip(edits, old, strict=True):
            for listener in self._listeners:
                listener(edit.storage, edit.key, edit.obj, before)
        return [each or b"" for each in data]

    def _encoded(self, edit: Edit, version: int) -> bytes | None:
        if edit.obj is None:
            return None
        edit.obj["metadata"]["resourceVersion"] = str(version)
        data = msgspec.json.encode(edit.obj)
        check_size(data, self.settings.max_object)
        return data

    def _publish(self, edits: Sequence[Edit], data: Sequence[bytes | None], first: int) -> None:
        by_storage: dict[str, list[Change]] = {}
        for n, edit in enumerate(edits):
            change = Change(edit.key, first + n, data[n])
            by_storage.setdefault(edit.storage.name, []).append(change)
        version = self.store.version
        for name, changes in by_storage.items():
            storage = self.storages[name]
            for view in storage.views:
                seen = [_seen(view, change) for change in changes]
                storage.caches[view.resource.name].apply(seen, version)
        for cache in self._caches:
            cache.advance(version)

    def forget_history(self) -> None:
        """All watches end and start anew with 410, now and after a restart."""
        self.store.wipe_history()
        for cache in self._caches:
            cache.reset((), self.store.version)

    def shown(self, view: View, key: str, data: bytes) -> bytes:
        """What was just committed, as a client of this view gets it."""
        storage = self._by_resource[view.resource.name][0]
        entry = storage.caches[view.resource.name].get(key)
        return entry.raw if entry is not None else view.encode(data)


def _item(entry: Entry | None) -> Item | None:
    return None if entry is None else Item(entry.version, entry.raw)


def _seen(view: View, change: Change) -> Change:
    if change.data is None:
        return change
    raw = view.encode(change.data)
    return change if raw is change.data else Change(change.key, change.version, raw)


def check_size(data: bytes, limit: int) -> None:
    if len(data) > limit:
        message = f"Request entity is too large: the object has {len(data)} bytes, limit is {limit}"
        raise ApiError(413, "RequestEntityTooLarge", message)


def gone_as(view: View, entry: Entry, version: int) -> bytes:
    """A deleted object's last state with the version of its deletion."""
    return with_resource_version(view.encode(entry.raw), version)
