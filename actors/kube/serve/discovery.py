"""What is served: `/api`, `/apis`, per group and version, and aggregated (KEP-3352). Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from actors.kube.resource import Resource

READ_VERBS = ("get", "list", "watch")
ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
SUBRESOURCE_VERBS = ("get", "patch", "update")

_ACTIONS = {"token": ("authentication.k8s.io", "v1", "TokenRequest")}

Groups = Mapping[str, Mapping[str, list[Resource]]]  # group -> version -> resources


def grouped(resources: Iterable[Resource]) -> Groups:
    """By group and version: core first, versions as `kubectl` prefers them."""
    groups: dict[str, dict[str, list[Resource]]] = {"": {"v1": []}}
    for resource in resources:
        groups.setdefault(resource.group, {}).setdefault(resource.version, []).append(resource)
    return {
        group: dict(sorted(versions.items(), key=lambda item: version_order(item[0])))
        for group, versions in groups.items()
    }


def version_order(version: str) -> tuple[int, int, int, str]:
    """Sorts v2, v1, v1beta2, v1beta1, v1alpha1, others (apimachinery's CompareKubeAwareVersion)."""
    match = re.fullmatch(r"v(\d+)(?:(alpha|beta)(\d+))?", version)
    if match is None:
        return (3, 0, 0, version)
    stage = {None: 0, "beta": 1, "alpha": 2}[match[2]]
    return (stage, -int(match[1]), -int(match[3] or 0), version)


def verbs_of(resource: Resource, writable: bool) -> list[str]:
    return list(resource.verbs or (ALL_VERBS if writable else READ_VERBS))


def _kind_below(resource: Resource, subresource: str) -> tuple[str, str, str, bool]:
    """Group, version and kind of a subresource, and whether it is one that is only created."""
    kind = _ACTIONS.get(subresource)
    if kind is not None:
        return *kind, True
    return resource.group, resource.version, resource.kind, False


def _verbs_below(only_created: bool, writable: bool) -> list[str]:
    if only_created:
        return ["create"]
    return list(SUBRESOURCE_VERBS if writable else ("get",))


def api_versions(host: str) -> dict[str, Any]:
    """/api"""
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": host}],
    }


def api_group(group: str, versions: Iterable[str]) -> dict[str, Any]:
    listed = [{"groupVersion": f"{group}/{v}", "version": v} for v in versions]
    return {"name": group, "versions": listed, "preferredVersion": listed[0]}


def api_group_list(groups: Groups) -> dict[str, Any]:
    """/apis"""
    named = [api_group(group, versions) for group, versions in groups.items() if group]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": named}


def one_group(group: str, versions: Iterable[str]) -> dict[str, Any]:
    """/apis/GROUP"""
    return {"kind": "APIGroup", "apiVersion": "v1", **api_group(group, versions)}


def resource_list(group_version: str, resources: Iterable[Resource], writable: bool) -> object:
    """/api/v1, /apis/GROUP/VERSION"""
    entries = []
    for resource in sorted(resources, key=lambda r: r.plural):
        entries.append(_api_resource(resource, writable))
        entries += [_api_subresource(resource, name, writable) for name in resource.subresources]
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": group_version,
        "resources": entries,
    }


def _singular(resource: Resource) -> str:
    return resource.singular or resource.kind.lower()


def _api_resource(resource: Resource, writable: bool) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": resource.plural,
        "singularName": _singular(resource),
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": verbs_of(resource, writable),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    return entry


def _api_subresource(resource: Resource, name: str, writable: bool) -> dict[str, Any]:
    group, version, kind, is_action = _kind_below(resource, name)
    entry = {
        "name": f"{resource.plural}/{name}",
        "singularName": "",
        "namespaced": resource.namespaced,
        "kind": kind,
        "verbs": _verbs_below(is_action, writable),
    }
    return entry | ({"group": group, "version": version} if is_action else {})


def aggregated(groups: Groups, core: bool, api_version: str, writable: bool) -> dict[str, Any]:
    """/api (`core`) or /apis as APIGroupDiscoveryList; `api_version` is v2 or v2beta1."""
    items = [
        {
            "metadata": {"name": group, "creationTimestamp": None} if group else {"name": ""},
            "versions": [
                _version(version, resources, writable) for version, resources in versions.items()
            ],
        }
        for group, versions in groups.items()
        if bool(group) is not core
    ]
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": f"apidiscovery.k8s.io/{api_version}",
        "metadata": {},
        "items": items,
    }


def _version(version: str, resources: Iterable[Resource], writable: bool) -> dict[str, Any]:
    entries = [_discovery(r, writable) for r in sorted(resources, key=lambda r: r.plural)]
    return {"version": version, "resources": entries, "freshness": "Current"}


def _response_kind(resource: Resource) -> dict[str, str]:
    return {"group": resource.group, "version": resource.version, "kind": resource.kind}


def _discovery(resource: Resource, writable: bool) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "resource": resource.plural,
        "responseKind": _response_kind(resource),
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": _singular(resource),
        "verbs": verbs_of(resource, writable),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    if resource.subresources:
        entry["subresources"] = [
            _discovery_below(resource, name, writable) for name in resource.subresources
        ]
    return entry


def _discovery_below(resource: Resource, name: str, writable: bool) -> dict[str, Any]:
    group, version, kind, is_action = _kind_below(resource, name)
    return {
        "subresource": name,
        "responseKind": {"group": group, "version": version, "kind": kind},
        "verbs": _verbs_below(is_action, writable),
    }
