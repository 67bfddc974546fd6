"""What a server's discovery answers say. Pure.

Sources: Kubernetes "API concepts", KEP-3352 (aggregated discovery, 1.26).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from actors.kube import builtin
from actors.kube.resource import Resource

ACCEPT = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,"
    "application/json"
)
_NEEDED = {"list", "watch"}


def parse_aggregated(answer: dict[str, Any]) -> list[Resource]:
    """An APIGroupDiscoveryList, v2 or v2beta1."""
    return [
        _from_aggregated(group["metadata"].get("name") or "", version["version"], entry)
        for group in answer.get("items") or ()
        for version in group.get("versions") or ()
        for entry in version.get("resources") or ()
        if set(entry.get("verbs") or ()) >= _NEEDED
    ]


def _from_aggregated(group: str, version: str, entry: dict[str, Any]) -> Resource:
    subresources = [sub.get("subresource", "") for sub in entry.get("subresources") or ()]
    return _resource(
        group,
        version,
        plural=entry["resource"],
        kind=entry["responseKind"]["kind"],
        namespaced=entry.get("scope") == "Namespaced",
        singular=entry.get("singularResource", ""),
        entry=entry,
        subresources=subresources,
    )


def parse_resource_list(answer: dict[str, Any]) -> list[Resource]:
    """An APIResourceList: resources and subresources side by side."""
    group, _, version = answer["groupVersion"].rpartition("/")
    entries = answer.get("resources") or ()
    below: dict[str, list[str]] = {}
    for entry in entries:
        plural, _, sub = entry["name"].partition("/")
        below.setdefault(plural, []).extend([sub] if sub else [])
    return [
        _resource(
            group,
            version,
            plural=entry["name"],
            kind=entry["kind"],
            namespaced=bool(entry.get("namespaced")),
            singular=entry.get("singularName", ""),
            entry=entry,
            subresources=below[entry["name"]],
        )
        for entry in entries
        if "/" not in entry["name"] and set(entry.get("verbs") or ()) >= _NEEDED
    ]


def _resource(
    group: str, version: str, *, entry: dict[str, Any], subresources: Iterable[str], **rest: Any
) -> Resource:
    known = Resource(
        group=group,
        version=version,
        short_names=tuple(entry.get("shortNames") or ()),
        categories=tuple(entry.get("categories") or ()),
        subresources=tuple(sorted(filter(None, subresources))),
        **rest,
    )
    ours = builtin.find(known.name)
    if ours is None:
        return known
    return msgspec.structs.replace(known, selectable_fields=ours.selectable_fields)
