"""Objects and changes for tests of the serving side."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec

from actors.kube.resource import Column, Resource, key_of
from actors.kube.watchcache import CacheSettings, WatchCache
from bus.feed.types import Change

WIDGETS = Resource(
    group="example.com",
    version="v1",
    plural="widgets",
    kind="Widget",
    namespaced=True,
    short_names=("wd",),
    selectable_fields=("spec.color",),
    columns=(
        Column(name="Color", path=".spec.color"),
        Column(name="Age", type="date", path=".metadata.creationTimestamp"),
    ),
    subresources=("status",),
)


def make(resource: Resource, key: str, version: int, **members: Any) -> dict[str, Any]:
    """An object; `labels=` goes into its metadata, the rest beside it."""
    namespace, _, name = key.rpartition("/")
    metadata: dict[str, Any] = {"name": name, "resourceVersion": str(version)}
    if namespace:
        metadata["namespace"] = namespace
    if "labels" in members:
        metadata["labels"] = members.pop("labels")
    metadata["creationTimestamp"] = "2026-01-02T03:04:05Z"
    head = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}
    return head | members


def put(resource: Resource, key: str, version: int, **members: Any) -> Change:
    return Change(key, version, msgspec.json.encode(make(resource, key, version, **members)))


def gone(key: str, version: int) -> Change:
    return Change(key, version, None)


class Source:
    """Feeds a cache with one change after the other, each with its own version."""

    def __init__(
        self, resource: Resource, start: int = 10, settings: CacheSettings | None = None
    ) -> None:
        self.resource = resource
        self.cache = WatchCache(resource, settings)
        self.cache.replace({}, start)
        self._versions = itertools.count(start + 1)

    def put(self, name: str, namespace: str = "default", **members: Any) -> int:
        key = key_of(namespace if self.resource.namespaced else "", name)
        version = next(self._versions)
        self.cache.apply([put(self.resource, key, version, **members)], version)
        return version

    def delete(self, name: str, namespace: str = "default") -> int:
        key = key_of(namespace if self.resource.namespaced else "", name)
        version = next(self._versions)
        self.cache.apply([gone(key, version)], version)
        return version
