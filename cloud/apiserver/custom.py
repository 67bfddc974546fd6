"""Custom resources: what a definition makes the server serve, and how they are decoded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from actors.kube.resource import Column, Resource
from actors.kube.schemas import Schema
from actors.kube.status_errors import Cause
from actors.kube.watchcache import Entry
from cloud.apiserver.codec import Decoded, clean_metadata
from cloud.apiserver.kinds import CUSTOM
from cloud.apiserver.kinds.definition import CRDS
from cloud.apiserver.registry import Convert, Registry, Storage, View
from cloud.apiserver.structural import HEAD, Validator, apply_defaults, prune

Object = dict[str, Any]


class CustomCodec:
    """By the structural schema of one version."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self._validator: Validator | None = None

    def decode(self, obj: Object) -> Decoded:
        """Pruned and defaulted. Wrong types are found by `check`, as upstream."""
        decoded = self.known(obj)
        apply_defaults(self.schema, decoded.obj)
        return decoded

    def known(self, obj: Object) -> Decoded:
        """Pruned only: what the client itself said."""
        meta = clean_metadata(obj)
        unknown: list[str] = list(meta.unknown)
        rest = {name: value for name, value in obj.items() if name not in HEAD}
        kept = prune(self.schema, rest, unknown)
        head = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": meta.obj}
        return Decoded(head | kept, unknown)

    def check(self, obj: Object) -> Sequence[Cause]:
        if self._validator is None:
            self._validator = Validator(self.schema)
        return list(self._validator.faults(obj))


def resources_of(crd: Object) -> list[tuple[Resource, Object]]:
    """Every version (kept one first), with its part of the definition."""
    versions = sorted(crd["spec"]["versions"], key=lambda v: not v.get("storage"))
    return [(_resource(crd["spec"], version), version) for version in versions]


def _resource(spec: Object, version: Object) -> Resource:
    names = spec["names"]
    status = "status" in (version.get("subresources") or {})
    return Resource(
        group=spec["group"],
        version=version["name"],
        plural=names["plural"],
        kind=names["kind"],
        namespaced=spec["scope"] == "Namespaced",
        singular=names.get("singular", ""),
        list_kind=names.get("listKind", ""),
        short_names=tuple(names.get("shortNames", ())),
        categories=tuple(names.get("categories", ())),
        columns=tuple(_column(each) for each in version.get("additionalPrinterColumns", ())),
        selectable_fields=tuple(
            each["jsonPath"].lstrip(".") for each in version.get("selectableFields", ())
        ),
        subresources=("status",) if status else (),
    )


def _column(column: Object) -> Column:
    return Column(
        name=column["name"],
        type=column["type"],
        format=column.get("format", ""),
        description=column.get("description", ""),
        priority=column.get("priority", 0),
        path=column["jsonPath"],
    )


def schema_of(version: Object) -> Schema:
    schema: Schema = (version.get("schema") or {}).get("openAPIV3Schema") or {}
    return schema


def storage_of(crd: Object) -> Storage:
    """Conversion is `None`: a version differs from another in its apiVersion and its schema."""
    versions = resources_of(crd)
    to_kept = _to_version(versions[0][0].api_version)
    views = [_view(resource, version, to_kept) for resource, version in versions]
    return Storage(views, CUSTOM, is_custom=True)


def _view(resource: Resource, version: Object, to_kept: Convert) -> View:
    return View(
        resource,
        CustomCodec(schema_of(version)),
        from_storage=_to_version(resource.api_version),
        to_storage=to_kept,
        is_served=bool(version.get("served")),
        # Objects are kept in the version that was the kept one when they were written.
        unchanged_if=b'"apiVersion":' + msgspec.json.encode(resource.api_version) + b",",
    )


def _to_version(api_version: str) -> Convert:
    return lambda obj: obj | {"apiVersion": api_version}


class CustomResources:
    """Keeps the registry's custom storages as the definitions say. Told by commits."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        registry.listen(self._on_commit)

    def load(self) -> None:
        """Serve what earlier runs defined."""
        for entry in self._registry.storages[CRDS].cache.snapshot().entries:
            self._serve(msgspec.json.decode(entry.raw))

    def _on_commit(
        self, storage: Storage, key: str, obj: Object | None, _before: Entry | None
    ) -> None:
        if storage.name != CRDS:
            return
        if obj is not None:
            self._serve(obj)
        elif (gone := self._registry.storages.get(key)) is not None and gone.is_custom:
            self._registry.remove(gone, forget=True)

    def _serve(self, crd: Object) -> None:
        storage = storage_of(crd)
        held = self._registry.storages.get(storage.name)
        if held is None:
            self._registry.add(storage)
        elif held.is_custom and _definition(held) != _definition(storage):
            self._registry.replace(held, storage)


def _definition(storage: Storage) -> list[object]:
    """What of a definition makes a difference to serving."""
    return [
        (view.resource, view.is_served, getattr(view.codec, "schema", None))
        for view in storage.views
    ]
