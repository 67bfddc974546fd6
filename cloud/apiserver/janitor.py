"""What goes on after a delete was answered: namespaces and definitions are emptied, dependents go.

One background task, woken by commits. It looks at the state, never at events: whatever it left
undone when the process died, it finds again at the next start.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from actors.kube.resource import key_of
from actors.kube.watchcache import Entry
from cloud.apiserver import deletion
from cloud.apiserver.kinds.definition import CLEANUP, CRDS
from cloud.apiserver.owners import (
    Owners,
    Ref,
    has_other_owner,
    without_finalizer,
    without_owner,
)
from cloud.apiserver.registry import Edit, Registry, Storage
from cloud.apiserver.writer import SLICE, deleting

Object = dict[str, Any]
DRAIN = 0.1  # seconds for watchers to hear of the last deletes, before their resource goes


class Janitor:
    def __init__(self, registry: Registry, wall: Callable[[], float] = time.time) -> None:
        self._registry = registry
        self._wall = wall
        self._owners = Owners()
        self._leaving: set[Ref] = set()  # marked as deleted, and waiting
        self._ownerless: set[str] = set()  # uids of owners that are gone
        self._wake = asyncio.Event()
        registry.listen(self._on_commit)

    def look_at(self, storage: Storage) -> None:
        """Find what an earlier run left undone."""
        for entry in storage.cache.snapshot().entries:
            if b'"ownerReferences"' in entry.raw or b'"deletionTimestamp"' in entry.raw:
                self._note(storage, entry.key, msgspec.json.decode(entry.raw))

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self.tidy()

    def _on_commit(
        self, storage: Storage, key: str, obj: Object | None, before: Entry | None
    ) -> None:
        self._note(storage, key, obj)
        if obj is None and before is not None:
            if self._is_awaited(storage, key, before):
                self._wake.set()
            if self._owners:
                uid = msgspec.json.decode(before.raw)["metadata"].get("uid", "")
                if self._owners.dependents(uid):
                    self._ownerless.add(uid)
                    self._wake.set()

    def _is_awaited(self, storage: Storage, key: str, gone: Entry) -> bool:
        """Whether a namespace, a definition or an owner on its way out may have waited for it."""
        namespace, _, _ = key.rpartition("/")
        around = {Ref("namespaces", namespace), Ref(CRDS, storage.name)}
        return not around.isdisjoint(self._leaving) or (
            bool(self._leaving) and b'"ownerReferences"' in gone.raw
        )

    def _note(self, storage: Storage, key: str, obj: Object | None) -> None:
        ref = Ref(storage.name, key)
        self._owners.note(ref, obj)
        if obj is not None and "deletionTimestamp" in obj["metadata"]:
            self._leaving.add(ref)
            self._wake.set()
        else:
            self._leaving.discard(ref)

    # -- the rounds -------------------------------------------------------------------------------

    async def tidy(self) -> None:
        """One round over all that waits."""
        while self._ownerless:
            await self._collect(self._ownerless.pop())
        for ref in sorted(self._leaving):
            await self._help(ref)

    def _object(self, ref: Ref) -> tuple[Storage, Object] | None:
        storage = self._registry.storages.get(ref.storage)
        entry = storage.get(ref.key) if storage is not None else None
        if storage is None or entry is None:
            self._leaving.discard(ref)
            return None
        return storage, msgspec.json.decode(entry.raw)

    async def _help(self, ref: Ref) -> None:
        """Do what this object waits for, as far as that is ours."""
        found = self._object(ref)
        if found is None:
            return
        storage, obj = found
        finalizers = obj["metadata"].get("finalizers", ())
        if deletion.ORPHAN in finalizers:
            await self._orphan(ref, obj["metadata"]["uid"])
        elif deletion.FOREGROUND in finalizers:
            await self._delete_dependents(ref, obj["metadata"]["uid"])
        if storage.name == "namespaces":
            await self._empty_namespace(ref)
        elif storage.name == CRDS and CLEANUP in finalizers:
            await self._empty_definition(ref, obj)

    def _release(self, ref: Ref, change: Callable[[Object], Object]) -> None:
        """Take away what held the object; it goes if that was the last."""
        found = self._object(ref)
        if found is None:
            return
        storage, obj = found
        new = change(obj)
        over = deletion.is_over(storage.resource.kind, new)
        self._registry.commit([Edit(storage, ref.key, None if over else new)])

    async def _commit(self, edits: Iterator[Edit | None]) -> None:
        """A slice at a time. Edits are made as late as they are committed: objects may change."""
        batch: list[Edit] = []
        for edit in edits:
            if edit is not None:
                batch.append(edit)
            if len(batch) >= SLICE:
                self._registry.commit(batch)
                batch = []
                await asyncio.sleep(0)
        self._registry.commit(batch)

    # -- namespaces and definitions ---------------------------------------------------------------

    async def _empty_namespace(self, ref: Ref) -> None:
        prefix = key_of(ref.key, "")
        for storage in list(self._registry.storages.values()):
            if storage.resource.namespaced:
                await self._commit(self._deletes(storage, prefix))
        if not any(self._has(storage, prefix) for storage in self._registry.storages.values()):
            self._release(ref, _without_spec_finalizers)

    def _deletes(self, storage: Storage, prefix: str = "") -> Iterator[Edit | None]:
        for key in _keys(storage, prefix):
            yield deleting(storage, key, "Background", None, self._wall())

    def _has(self, storage: Storage, prefix: str) -> bool:
        return storage.resource.namespaced and bool(_keys(storage, prefix))

    async def _empty_definition(self, ref: Ref, crd: Object) -> None:
        storage = self._registry.storages.get(ref.key)  # a CRD is named as its storage
        if storage is not None and storage.is_custom and len(storage.cache):
            await self._commit(self._deletes(storage))
            await asyncio.sleep(DRAIN)
        if storage is None or not len(storage.cache):
            self._release(ref, lambda obj: without_finalizer(obj, CLEANUP))

    # -- owners -----------------------------------------------------------------------------------

    async def _collect(self, uid: str) -> None:
        """The owner is gone: so are those that it alone owned."""
        refs = self._owners.dependents(uid)
        await self._commit(self._unowned(ref, uid) for ref in refs)

    def _unowned(self, ref: Ref, uid: str) -> Edit | None:
        found = self._object(ref)
        if found is None:
            return None
        storage, obj = found
        if has_other_owner(obj, uid, lambda other: self._exists(other, obj)):
            return Edit(storage, ref.key, without_owner(obj, uid))
        return deleting(storage, ref.key, "Background", None, self._wall())

    def _exists(self, reference: Object, dependent: Object) -> bool:
        found = self._registry.of_kind(reference.get("apiVersion", ""), reference.get("kind", ""))
        if found is None:
            return False
        storage, view = found
        namespaced = view.resource.namespaced
        namespace = dependent["metadata"].get("namespace", "") if namespaced else ""
        entry = storage.get(key_of(namespace, reference.get("name", "")))
        if entry is None:
            return False
        return bool(msgspec.json.decode(entry.raw)["metadata"].get("uid") == reference.get("uid"))

    async def _orphan(self, ref: Ref, uid: str) -> None:
        await self._commit(self._let_go(each, uid) for each in self._owners.dependents(uid))
        self._release(ref, lambda obj: without_finalizer(obj, deletion.ORPHAN))

    def _let_go(self, ref: Ref, uid: str) -> Edit | None:
        found = self._object(ref)
        return None if found is None else Edit(found[0], ref.key, without_owner(found[1], uid))

    async def _delete_dependents(self, ref: Ref, uid: str) -> None:
        await self._commit(self._unowned(each, uid) for each in self._owners.dependents(uid))
        if not self._owners.dependents(uid):
            self._release(ref, lambda obj: without_finalizer(obj, deletion.FOREGROUND))


def _keys(storage: Storage, prefix: str) -> list[str]:
    return [entry.key for entry in storage.cache.snapshot().entries if entry.key.startswith(prefix)]


def _without_spec_finalizers(namespace: Object) -> Object:
    return namespace | {
        "metadata": dict(namespace["metadata"]),
        "spec": namespace.get("spec", {}) | {"finalizers": []},
    }
