"""/openapi/v2 and /openapi/v3: from a provider, or just enough that clients do not fail. Pure.

The minimal documents know every kind by its group, version and kind, take any members, and say that
writes understand `fieldValidation`, which lets kubectl leave validation to the server.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from actors.kube.resource import Resource
from actors.kube.serve.discovery import grouped

_GVK = "x-kubernetes-group-version-kind"


def prefix_of(group: str, version: str) -> str:
    """ "api/v1", "apis/apps/v1"."""
    return f"apis/{group}/{version}" if group else f"api/{version}"


def minimal_v3(resources: Iterable[Resource]) -> dict[str, bytes]:
    """Documents by path."""
    return {
        prefix_of(group, version): msgspec.json.encode(_document(group, version, of_version))
        for group, versions in grouped(resources).items()
        for version, of_version in versions.items()
    }


def minimal_v2(resources: Iterable[Resource]) -> bytes:
    definitions = {_schema_name(r): _schema(r) for r in resources}
    document = {
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": "v1"},
        "paths": {},
        "definitions": definitions,
    }
    return msgspec.json.encode(document)


def _document(group: str, version: str, resources: list[Resource]) -> dict[str, Any]:
    base = f"/{prefix_of(group, version)}"
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1"},
        "paths": {_object_path(base, r): _operations(r) for r in resources},
        "components": {"schemas": {_schema_name(r): _schema(r) for r in resources}},
    }


def _object_path(base: str, resource: Resource) -> str:
    scope = "/namespaces/{namespace}" if resource.namespaced else ""
    return f"{base}{scope}/{resource.plural}/{{name}}"


def _gvk(resource: Resource) -> dict[str, str]:
    return {"group": resource.group, "kind": resource.kind, "version": resource.version}


def _schema_name(resource: Resource) -> str:
    reverse = ".".join(reversed((resource.group or "core").split(".")))
    return f"{reverse}.{resource.version}.{resource.kind}"


def _schema(resource: Resource) -> dict[str, Any]:
    text = {"type": "string"}
    return {
        "type": "object",
        "description": f"{resource.kind} of {resource.api_version}.",
        "properties": {"apiVersion": text, "kind": text, "metadata": {"type": "object"}},
        "x-kubernetes-preserve-unknown-fields": True,
        _GVK: [_gvk(resource)],
    }


def _operations(resource: Resource) -> dict[str, Any]:
    parameters = [
        {"name": name, "in": "query", "schema": {"type": "string"}}
        for name in ("dryRun", "fieldManager", "fieldValidation")
    ]
    operation = {"parameters": parameters, _GVK: _gvk(resource), "responses": {}}
    return {
        "get": {"x-kubernetes-action": "get", _GVK: _gvk(resource), "responses": {}},
        "put": {"x-kubernetes-action": "put", **operation},
        "patch": {"x-kubernetes-action": "patch", **operation},
    }


def index_v3(digests: Mapping[str, str]) -> dict[str, Any]:
    """/openapi/v3, from the digests of the documents by path."""
    paths = {
        path: {"serverRelativeURL": f"/openapi/v3/{path}?hash={value}"}
        for path, value in sorted(digests.items())
    }
    return {"paths": paths}


def digest(body: bytes) -> str:
    return hashlib.sha512(body).hexdigest().upper()
