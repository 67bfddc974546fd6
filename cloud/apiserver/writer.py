"""Writes of the Kubernetes API over the registry: `actors.kube.serve.api.Writer`.

Each write is done in one go, without awaiting: what was read is still true when it is committed, so
nothing is locked and no conflict is ever our own. `prepare.py` and `deletion.py` decide, this acts.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import msgspec

from actors.kube import patch
from actors.kube.filters import make_filter
from actors.kube.resource import key_of
from actors.kube.schemas import published
from actors.kube.selectors import SelectorError, parse_fields, parse_labels
from actors.kube.serve.api import RequestInfo, WriteResult
from actors.kube.status_errors import (
    already_exists,
    bad_request,
    forbidden,
    internal_error,
    method_not_allowed,
    not_found,
    success,
    unknown_resource,
)
from actors.kube.strategic import strategic_merge
from actors.kube.watchcache import Entry
from cloud.apiserver import deletion, prepare, requests
from cloud.apiserver.addresses import Addresses
from cloud.apiserver.apply import config as configs
from cloud.apiserver.apply import ledger
from cloud.apiserver.apply.ledger import Scope
from cloud.apiserver.apply.ownership import Entries, settled
from cloud.apiserver.apply.structure import Structures
from cloud.apiserver.codec import BuiltIn
from cloud.apiserver.kinds import service
from cloud.apiserver.kinds.definition import CRDS
from cloud.apiserver.metadata import check_preconditions, timestamp
from cloud.apiserver.prepare import Prepared, Rules
from cloud.apiserver.registry import Edit, Registry, Storage, View, check_size, gone_as
from cloud.apiserver.structural import has_rules

Object = dict[str, Any]
IMMORTAL = ("default", "kube-public", "kube-system")
SLICE = 100  # objects deleted in one commit: about 10 ms
NAME_TRIES = 8  # for generateName, as upstream
_CHECKED = requests.FieldValidation.IGNORE  # unknown members were looked for already


class Target(NamedTuple):
    """What one request writes to."""

    info: RequestInfo
    storage: Storage
    view: View
    options: requests.WriteOptions

    @property
    def key(self) -> str:
        return key_of(self.info.namespace, self.info.name)

    def named(self, name: str) -> Target:
        return self._replace(info=replace(self.info, name=name))


class KubeWriter:
    """`wall` is the clock, in seconds since the epoch."""

    def __init__(
        self, registry: Registry, addresses: Addresses, wall: Callable[[], float] = time.time
    ) -> None:
        self._registry = registry
        self._addresses = addresses
        self._wall = wall
        self._structures = Structures(published())

    async def write(self, info: RequestInfo, body: bytes, content_type: str) -> WriteResult:
        found = self._registry.find(info.resource) if info.resource is not None else None
        if found is None:
            raise unknown_resource()
        options = requests.write_options(info.query)
        target = Target(info, *found, options)
        try:
            return await self._dispatch(target, body, content_type)
        except RecursionError as error:
            raise bad_request("the body is nested too deeply") from error
        except sqlite3.Error as error:
            raise internal_error(f"the store cannot be written: {error}") from error

    async def _dispatch(self, target: Target, body: bytes, content_type: str) -> WriteResult:
        match target.info.verb, target.info.subresource:
            case "create", "":
                return self._create(target, body, content_type)
            case "update", "" | "status" | "finalize":
                return self._update(target, body, content_type)
            case "patch", "" | "status":
                return self._patch(target, body, content_type)
            case "delete", "":
                return self._delete(target, body, content_type)
            case "deletecollection", "":
                return await self._delete_many(target, body, content_type)
        raise method_not_allowed(target.info.group, target.info.plural, target.info.verb)

    def _rules(self, target: Target, key: str) -> Rules:
        storage, view = target.storage, target.view
        rules = Rules(
            view.resource,
            storage.kind,
            view.codec,
            self._wall(),
            target.options.validation,
            storage.is_custom,
        )
        if storage.name == "services":
            given = self._addresses
            return replace(rules, allocate=lambda obj: service.allocate(obj, given, key))
        return rules

    def _scope(self, target: Target) -> Scope:
        info, options = target.info, target.options
        return Scope(
            self._structures.of(target.view.codec),
            target.view.resource,
            info.subresource,
            target.storage.is_custom,
            requests.manager_name(options, info.headers.get("User-Agent", "")),
            timestamp(self._wall()),
            options.force,
        )

    # -- create -----------------------------------------------------------------------------------

    def _create(self, target: Target, body: bytes, content_type: str) -> WriteResult:
        obj = requests.decode_object(body, content_type, target.view.resource)
        return self._create_object(target, obj)

    def _create_object(
        self, target: Target, obj: Object, applied: Entries | None = None
    ) -> WriteResult:
        """`applied`: the managed fields, where an apply creates."""
        self._check_namespace(target, obj)
        asked = _as_sent(target, obj)
        for _ in range(NAME_TRIES):
            key, prepared = self._prepare_new(target, obj)
            if target.storage.get(key) is None:
                entries = applied
                if entries is None:
                    entries = ledger.created(self._scope(target), prepared.obj, asked)
                ledger.put_entries(prepared.obj, entries)
                return self._keep(target, key, prepared, 201)
            if obj["metadata"].get("name"):
                break
        name = prepared.obj["metadata"]["name"]
        raise already_exists(target.info.group, target.info.plural, name)

    def _prepare_new(self, target: Target, obj: Object) -> tuple[str, Prepared]:
        name = obj["metadata"].get("name")
        key = key_of(target.info.namespace, name if isinstance(name, str) else "")
        copy = obj | {"metadata": dict(obj["metadata"])}
        prepared = prepare.create(self._rules(target, key), copy, target.info.namespace)
        return key_of(target.info.namespace, prepared.obj["metadata"]["name"]), prepared

    def _check_namespace(self, target: Target, obj: Object) -> None:
        """Raises ApiError: objects live in namespaces that exist and are not on their way out."""
        namespace = target.info.namespace
        if not namespace:
            return
        entry = self._registry.storages["namespaces"].get(namespace)
        if entry is None:
            raise not_found("", "namespaces", namespace)
        if b'"deletionTimestamp"' in entry.raw and _is_leaving(entry):
            why = (
                "unable to create new content in namespace "
                f"{namespace} because it is being terminated"
            )
            name = str(obj["metadata"].get("name", ""))
            error = forbidden(target.info.group, target.info.plural, name, why)
            error.details = (error.details or {}) | {"causes": [_terminating(namespace)]}
            raise error

    # -- update and patch -------------------------------------------------------------------------

    def _current(self, target: Target) -> Object:
        """Raises ApiError 404."""
        cache = target.storage.caches[target.view.resource.name]
        entry = cache.get(target.key)
        if entry is None:
            raise not_found(target.info.group, target.info.plural, target.info.name)
        obj: Object = msgspec.json.decode(entry.raw)
        return obj

    def _update(self, target: Target, body: bytes, content_type: str) -> WriteResult:
        obj = requests.decode_object(body, content_type, target.view.resource)
        may_create = target.storage.kind.create_on_update and not target.info.subresource
        if may_create and target.storage.get(target.key) is None:
            return self._create_by_update(target, obj)
        return self._change(target, self._current(target), obj)

    def _create_by_update(self, target: Target, obj: Object) -> WriteResult:
        if obj["metadata"].setdefault("name", target.info.name) != target.info.name:
            raise bad_request("the name of the object does not match the name on the URL")
        obj["metadata"].pop("resourceVersion", None)
        return self._create_object(target, obj)

    def _patch(self, target: Target, body: bytes, content_type: str) -> WriteResult:
        accepted = requests.patch_types(target.storage.is_custom)
        change = requests.decode_patch(body, content_type, accepted)
        requests.check_patch(target.options, content_type)
        if content_type == requests.APPLY_PATCH:
            return self._apply(target, body)
        # Patched copies share what did not change, and defaulting works in place: decode twice.
        old, base = self._current(target), self._current(target)
        new = self._patched(target.view, base, change, content_type)
        if not isinstance(new, dict) or not isinstance(new.get("metadata"), dict):
            raise patch.unprocessable("the patch leaves no object")
        return self._change(target, old, new)

    def _patched(self, view: View, old: Object, change: Any, content_type: str) -> Any:
        if content_type == patch.JSON_PATCH:
            return patch.json_patch(old, change)
        if content_type == patch.MERGE_PATCH:
            return patch.merge_patch(old, change)
        definitions = published()
        name = view.codec.definition if isinstance(view.codec, BuiltIn) else None
        schema = definitions.schema(name) if name else {}
        return strategic_merge(definitions, schema, old, change)

    def _apply(self, target: Target, body: bytes) -> WriteResult:
        """Server-side apply: what the type does not know was refused, so nothing warns of it."""
        resource, codec = target.view.resource, target.view.codec
        scope = self._scope(target)
        config = configs.read(body, resource, codec, scope.structure)
        target = target._replace(options=replace(target.options, validation=_CHECKED))
        if target.storage.get(target.key) is None and not target.info.subresource:
            configs.check_new(config, resource, target.info.name)
            return self._create_object(target, config, ledger.applied_new(scope, config))
        old, base = self._current(target), self._current(target)
        new, entries = ledger.applied(scope, base, config)
        return self._change(target, old, new, entries)

    def _change(
        self, target: Target, old: Object, new: Object, applied: Entries | None = None
    ) -> WriteResult:
        """`old` becomes `new`, as far as that is allowed. `applied`: an apply's managed fields."""
        for head in ("apiVersion", "kind"):
            if new.get(head) != old[head]:
                raise patch.unprocessable(f"{head} may not change")
        new["metadata"] = dict(new["metadata"])
        scope, held = self._scope(target), ledger.entries_of(old)
        entries = ledger.start_of_update(scope, new["metadata"], held)
        rules = self._rules(target, target.key)
        if target.info.subresource == "finalize":
            prepared = _finalized(old, new)
        elif target.info.subresource == "status":
            prepared = prepare.update_status(rules, new, old)
        else:
            prepared = prepare.update(rules, new, old)
        if applied is None:
            entries = ledger.updated(scope, entries, old, prepared.obj)
        ledger.put_entries(prepared.obj, entries if applied is None else settled(applied, held))
        if _unchanged(prepared.obj, old):
            return WriteResult(200, msgspec.json.encode(old), prepared.warnings)
        if applied is not None:
            ledger.put_entries(prepared.obj, applied)
        if deletion.is_over(target.view.resource.kind, prepared.obj):
            return self._remove(target, target.key, prepared.obj)
        return self._keep(target, target.key, prepared, 200)

    def _keep(self, target: Target, key: str, prepared: Prepared, code: int) -> WriteResult:
        prepared = _with_notes(target, prepared)
        if target.options.dry_run:
            data = msgspec.json.encode(prepared.obj)
            check_size(data, self._registry.settings.max_object)
            return WriteResult(code, data, prepared.warnings)
        stored = target.view.to_storage(prepared.obj)
        data = self._registry.commit([Edit(target.storage, key, stored)])[0]
        shown = self._registry.shown(target.view, key, data)
        return WriteResult(code, shown, prepared.warnings)

    # -- delete -----------------------------------------------------------------------------------

    def _delete(self, target: Target, body: bytes, content_type: str) -> WriteResult:
        options = requests.delete_options(body, content_type, target.info.query)
        if options.get("dryRun"):
            target = target._replace(options=replace(target.options, dry_run=True))
        return self._delete_one(target, options)

    def _delete_one(self, target: Target, options: Object) -> WriteResult:
        info, kind = target.info, target.view.resource.kind
        old = self._current(target)
        check_preconditions(options, old["metadata"], info.group, info.plural)
        if target.storage.name == "namespaces" and info.name in IMMORTAL:
            raise forbidden("", "namespaces", info.name, "this namespace may not be deleted")
        policy, grace = requests.propagation(options), options.get("gracePeriodSeconds")
        new = deletion.deleted(kind, old, policy, grace, self._wall())
        if new is None:
            return self._remove(target, target.key, None)
        if new is old:
            return WriteResult(200, msgspec.json.encode(old))
        return self._keep(target, target.key, Prepared(_copied(new)), 200)

    async def _delete_many(self, target: Target, body: bytes, content_type: str) -> WriteResult:
        """A slice at a time, so that others are served meanwhile."""
        options = requests.delete_options(body, content_type, target.info.query)
        policy, grace = requests.propagation(options), options.get("gracePeriodSeconds")
        dry_run = bool(target.options.dry_run or options.get("dryRun"))
        resource = target.view.resource
        entries = selected(target)
        for start in range(0, len(entries), SLICE):
            edits = [
                deleting(target.storage, entry.key, policy, grace, self._wall())
                for entry in entries[start : start + SLICE]
            ]
            if not dry_run:
                self._registry.commit([edit for edit in edits if edit is not None])
            await asyncio.sleep(0)
        head = {
            "kind": resource.list_kind_or_default,
            "apiVersion": resource.api_version,
            "metadata": {"resourceVersion": str(self._registry.store.version)},
            "items": [msgspec.Raw(entry.raw) for entry in entries],
        }
        return WriteResult(200, msgspec.json.encode(head))

    def _remove(self, target: Target, key: str, shown: Object | None) -> WriteResult:
        """`shown` is the answer to an update that ended the object; a delete gets a Status."""
        entry = target.storage.get(key)
        assert entry is not None
        if not target.options.dry_run:
            self._registry.commit([Edit(target.storage, key, None)])
        if shown is not None:
            return WriteResult(200, msgspec.json.encode(shown))
        if target.storage.kind.returns_deleted:
            return WriteResult(200, gone_as(target.view, entry, self._registry.store.version))
        uid = msgspec.json.decode(entry.raw)["metadata"].get("uid", "")
        details = {
            "name": target.info.name,
            "group": target.info.group,
            "kind": target.info.plural,
            "uid": uid,
        }
        status = success({name: value for name, value in details.items() if value})
        return WriteResult(200, msgspec.json.encode(status))


def selected(target: Target) -> list[Entry]:
    """What a collection request is about. Raises ApiError 400."""
    info, cache = target.info, target.storage.caches[target.view.resource.name]
    try:
        filter_ = make_filter(
            cache.resource,
            cache.reader,
            info.namespace,
            "",
            parse_labels(info.query.get("labelSelector", "")),
            parse_fields(info.query.get("fieldSelector", "")),
        )
    except SelectorError as error:
        raise bad_request(str(error)) from error
    return [entry for entry in cache.snapshot().entries if filter_.matches(entry, cache.reader)]


def deleting(
    storage: Storage, key: str, policy: str, grace: int | None, wall: float
) -> Edit | None:
    """The edit by which an object is deleted or marked so; None if there is nothing to do."""
    entry = storage.get(key)
    if entry is None:
        return None
    old = msgspec.json.decode(entry.raw)
    new = deletion.deleted(storage.resource.kind, old, policy, grace, wall)
    return None if new is old else Edit(storage, key, None if new is None else _copied(new))


def _with_notes(target: Target, prepared: Prepared) -> Prepared:
    """Tells a client what we do not do."""
    if target.storage.name != CRDS or not has_rules(prepared.obj.get("spec")):
        return prepared
    note = "x-kubernetes-validations (CEL) are kept but not evaluated by this API server"
    return replace(prepared, warnings=(*prepared.warnings, note))


def _terminating(namespace: str) -> Object:
    return {
        "reason": "NamespaceTerminating",
        "message": f"namespace {namespace} is being terminated",
        "field": "metadata.namespace",
    }


def _copied(obj: Object) -> Object:
    return obj | {"metadata": dict(obj["metadata"])}


def _version_of(obj: Object) -> Object:
    return {"resourceVersion": obj["metadata"]["resourceVersion"]}


def _unchanged(new: Object, old: Object) -> bool:
    """But for the version, which the new one may not have."""
    if new["metadata"] | _version_of(old) != old["metadata"]:
        return False
    return {**new, "metadata": None} == {**old, "metadata": None}


def _as_sent(target: Target, obj: Object) -> Object:
    """What a client asked for, where it matters once defaults have come in, in place."""
    if target.storage.name != "services":
        return obj
    copy: Object = msgspec.json.decode(msgspec.json.encode(obj))
    return copy


def _is_leaving(entry: Entry) -> bool:
    return "deletionTimestamp" in msgspec.json.decode(entry.raw)["metadata"]


def _finalized(old: Object, new: Object) -> Prepared:
    """/finalize: only what still holds a namespace."""
    spec = old.get("spec", {}) | {"finalizers": new.get("spec", {}).get("finalizers", [])}
    return Prepared(_copied(old | {"spec": spec}))
