"""What a Kubernetes resource is, as discovery, Table and the feed catalog need to know it."""

from __future__ import annotations

import msgspec


class Column(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One `additionalPrinterColumns` entry (CRDs) or built-in column; `path` is a JSONPath."""

    name: str
    type: str = "string"
    format: str = ""
    description: str = ""
    priority: int = 0
    path: str = ""


class Resource(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One served resource. Encodes to JSON; that is its entry in the feed catalog."""

    group: str  # "" for core
    version: str
    plural: str
    kind: str
    namespaced: bool
    singular: str = ""
    list_kind: str = ""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()  # empty: built-in printer, else name and age
    selectable_fields: tuple[str, ...] = ()  # beyond metadata.name/namespace, e.g. "spec.nodeName"
    subresources: tuple[str, ...] = ()  # "status", ...
    verbs: tuple[str, ...] = ()  # empty: all; reviews can only be created

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def list_kind_or_default(self) -> str:
        return self.list_kind or f"{self.kind}List"

    @property
    def name(self) -> str:
        """As people write it: "endpointslices.v1.discovery.k8s.io", "services.v1"."""
        return ".".join(part for part in (self.plural, self.version, self.group) if part)

    @property
    def feed(self) -> str:
        """As one subject token: the same with "_" for "."."""
        return self.name.replace(".", "_")


def key_of(namespace: str, name: str) -> str:
    """The key of an object in caches and feeds: "namespace/name", or "name" cluster-wide."""
    return f"{namespace}/{name}" if namespace else name


def path_of(resource: Resource, namespace: str = "", name: str = "", subresource: str = "") -> str:
    """The URL path of a collection or an object; names are not escaped (they need none)."""
    root = f"/apis/{resource.api_version}" if resource.group else f"/api/{resource.version}"
    where = f"/namespaces/{namespace}" if namespace else ""
    parts = [root + where, resource.plural, name, subresource]
    return "/".join(part for part in parts if part)
