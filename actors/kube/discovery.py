"""Which resources an API server has, and which of them a name as people write it means.

Sources: Kubernetes "API concepts", KEP-3352 (aggregated discovery, 1.26); older and smaller servers
are asked group by group. What discovery does not say (a CRD's columns and selectable fields) is
read from the CRD, where we may.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from actors.kube.client import ClusterClient
from actors.kube.client_errors import KubeError, Refused, UnknownResource
from actors.kube.discovered import ACCEPT, parse_aggregated, parse_resource_list
from actors.kube.resource import Column, Resource

_CRD = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/"
_NEAREST = 3


async def discover(client: ClusterClient) -> tuple[Resource, ...]:
    """All resources that can be listed and watched, in the server's order of preference."""
    found: list[Resource] = []
    for root in ("/api", "/apis"):
        answer = _decode(await client.get(root, accept=ACCEPT), root)
        if answer.get("kind") == "APIGroupDiscoveryList":
            found += parse_aggregated(answer)
        else:
            found += await _group_by_group(client, root, answer)
    return tuple(found)


async def resolve(client: ClusterClient, name: str, among: Sequence[Resource]) -> Resource:
    """The resource that `name` means, with all that is known of it. Raises UnknownResource."""
    return await _completed(client, pick(name, among))


def pick(name: str, among: Sequence[Resource]) -> Resource:
    """`name` is plural, plural.group or plural.version.group; singular and short names do too.

    Where several match, the server's first: its preferred group and version. Raises
    UnknownResource with the nearest names.
    """
    wanted = name.strip().lower()
    for resource in among:
        if wanted in _names(resource):
            return resource
    near = difflib.get_close_matches(wanted, _all_names(among), _NEAREST, 0.6)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    raise UnknownResource(f"no resource {name!r} that can be listed and watched{hint}")


def _names(resource: Resource) -> set[str]:
    heads = {resource.plural, resource.singular or resource.kind.lower(), *resource.short_names}
    tails = {
        "",
        f".{resource.group}",
        f".{resource.version}",
        f".{resource.version}.{resource.group}",
    }
    if resource.group:
        tails.discard(f".{resource.version}")  # "widgets.v1" is the core group's
    return {head + tail.rstrip(".") for head in heads for tail in tails}


def _all_names(among: Iterable[Resource]) -> list[str]:
    """As one would best write them: with the group, if there is one."""
    return sorted({".".join(filter(None, (each.plural, each.group))) for each in among})


# -- older and smaller servers


async def _group_by_group(
    client: ClusterClient, root: str, answer: dict[str, Any]
) -> list[Resource]:
    if root == "/api":
        paths = [f"/api/{version}" for version in answer.get("versions") or ()]
    else:
        paths = [f"/apis/{each}" for group in answer.get("groups") or () for each in _best(group)]
    found: list[Resource] = []
    for path in paths:
        try:
            found += parse_resource_list(_decode(await client.get(path), path))
        except Refused:
            continue  # an extension server that is away takes only its own group with it
    return found


def _best(group: dict[str, Any]) -> list[str]:
    """The group's versions, the preferred one first."""
    preferred = (group.get("preferredVersion") or {}).get("groupVersion")
    versions = [each["groupVersion"] for each in group.get("versions") or ()]
    return sorted(versions, key=lambda version: version != preferred)


# -- what only the CRD says


async def _completed(client: ClusterClient, resource: Resource) -> Resource:
    if not resource.group:
        return resource
    try:
        path = f"{_CRD}{resource.plural}.{resource.group}"
        return with_definition(resource, _decode(await client.get(path), path))
    except Refused as error:
        if error.code in (403, 404):
            return resource  # no CRD, or not ours to read: columns by default
        raise


def with_definition(resource: Resource, definition: dict[str, Any]) -> Resource:
    """With the columns, selectable fields and list kind of a CustomResourceDefinition."""
    spec = definition.get("spec") or {}
    versions = [each for each in spec.get("versions") or () if each["name"] == resource.version]
    if not versions:
        return resource
    columns = versions[0].get("additionalPrinterColumns") or ()
    selectable = versions[0].get("selectableFields") or ()
    return msgspec.structs.replace(
        resource,
        columns=tuple(_column(each) for each in columns),
        selectable_fields=tuple(each["jsonPath"].lstrip(".") for each in selectable),
        list_kind=(spec.get("names") or {}).get("listKind", ""),
    )


def _column(entry: dict[str, Any]) -> Column:
    return Column(
        name=entry["name"],
        type=entry.get("type", "string"),
        format=entry.get("format", ""),
        description=entry.get("description", ""),
        priority=entry.get("priority", 0),
        path=entry.get("jsonPath", ""),
    )


def _decode(body: bytes, path: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise KubeError(f"{path} cannot be read: {error}") from error
