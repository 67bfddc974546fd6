"""OpenAPI v2 and v3 of what is served: `actors.kube.serve.api.OpenApi`.

Enough for kubectl apply, explain, diff and client generators that look at schemas: definitions in
full, paths only as far as clients search them for kinds and for `fieldValidation`. Documents are
made once for each set of resources; `prepare` does it in a thread before anyone asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from actors.kube.resource import Resource
from actors.kube.schemas import OBJECT_META, REF, Definitions, Schema
from actors.kube.serve.openapi import prefix_of

Object = dict[str, Any]
GVK = "x-kubernetes-group-version-kind"
V3_REF = "#/components/schemas/"
V2_REF = "#/definitions/"

# Members of definitions that only the package's own validation needs.
_OWN = frozenset({"$schema", "$id"})


class Described(NamedTuple):
    """A served resource: by the name of its published definition, or with its own schema."""

    resource: Resource
    definition: str | None
    schema: Schema | None


Describe = Callable[[], Sequence[Described]]


class Documents:
    """`describe` tells what is served; the same again means that nothing changed."""

    def __init__(self, definitions: Definitions, describe: Describe) -> None:
        self._definitions = definitions
        self._describe = describe
        self._made: dict[str, tuple[list[Described], bytes]] = {}
        self._v3: dict[str, bytes] = {}
        self._v2: tuple[list[Described], bytes] = ([], b"")

    def prepare(self) -> None:
        """Make all documents. For a thread: they take about 100 ms."""
        self.openapi_v3()
        self.openapi_v2()

    def openapi_v3(self) -> Mapping[str, bytes]:
        groups: dict[str, list[Described]] = {}
        for each in self._describe():
            groups.setdefault(prefix_of(each.resource.group, each.resource.version), []).append(
                each
            )
        self._v3 = {prefix: self._document(prefix, of) for prefix, of in groups.items()}
        return self._v3

    def _document(self, prefix: str, described: list[Described]) -> bytes:
        """Made anew only where the group's resources changed."""
        made = self._made.get(prefix)
        if made is None or made[0] != described:
            body = msgspec.json.encode(v3_document(self._definitions, f"/{prefix}", described))
            made = self._made[prefix] = (described, body)
        return made[1]

    def openapi_v2(self) -> bytes:
        described = list(self._describe())
        if self._v2[0] != described:
            self._v2 = (described, msgspec.json.encode(v2_document(self._definitions, described)))
        return self._v2[1]


def v3_document(definitions: Definitions, base: str, described: Sequence[Described]) -> Object:
    """Of one group and version."""
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1"},
        "paths": _paths(described, lambda _: base, _v3_parameter),
        "components": {"schemas": schemas(definitions, described, V3_REF)},
    }


def v2_document(definitions: Definitions, described: Sequence[Described]) -> Object:
    def base(resource: Resource) -> str:
        return f"/{prefix_of(resource.group, resource.version)}"

    return {
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": "v1"},
        "paths": _paths(described, base, _v2_parameter),
        "definitions": schemas(definitions, described, V2_REF),
    }


# -- paths -----------------------------------------------------------------------------------------


def _paths(
    described: Iterable[Described],
    base: Callable[[Resource], str],
    parameter: Callable[[str], Object],
) -> Object:
    paths: Object = {}
    for each in described:
        resource = each.resource
        scope = "/namespaces/{namespace}" if resource.namespaced else ""
        path = f"{base(resource)}{scope}/{resource.plural}"
        kind = {"group": resource.group, "kind": resource.kind, "version": resource.version}
        of_writes = [parameter(n) for n in ("dryRun", "fieldManager", "fieldValidation")]
        reads = {GVK: kind, "responses": {"200": {"description": "OK"}}}
        writes = reads | {"parameters": of_writes}
        paths[path] = {
            "get": {"x-kubernetes-action": "list", **reads},
            "post": {"x-kubernetes-action": "post", **writes},
        }
        paths[path + "/{name}"] = {
            "get": {"x-kubernetes-action": "get", **reads},
            "put": {"x-kubernetes-action": "put", **writes},
            "patch": {
                "x-kubernetes-action": "patch",
                **reads,
                "parameters": [*of_writes, parameter("force")],
            },
            "delete": {"x-kubernetes-action": "delete", **reads},
        }
    return paths


def _v3_parameter(name: str) -> Object:
    return {"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}}


def _v2_parameter(name: str) -> Object:
    return {"name": name, "in": "query", "type": "string", "uniqueItems": True}


# -- schemas ---------------------------------------------------------------------------------------


def schemas(
    definitions: Definitions, described: Iterable[Described], prefix: str
) -> dict[str, Schema]:
    """Of these resources and all that they refer to."""
    found: dict[str, Schema] = {}
    wanted: list[str] = []
    for each in described:
        if each.schema is not None:
            found[schema_name(each.resource)] = _custom(each.resource, each.schema, prefix)
            wanted.append(OBJECT_META)
        elif each.definition is not None:
            wanted.append(each.definition)
    while wanted:
        name = wanted.pop()
        if name not in found:
            found[name] = _published(definitions.fresh(name), prefix, wanted)
    return dict(sorted(found.items()))


def _published(schema: Any, prefix: str, wanted: list[str]) -> Any:
    """From the package's dialect to OpenAPI's: no null types, references where they belong."""
    if isinstance(schema, list):
        return [_published(each, prefix, wanted) for each in schema]
    if not isinstance(schema, dict):
        return schema
    result: Schema = {}
    for name, value in schema.items():
        if name == "type" and isinstance(value, list):
            result["type"] = next((each for each in value if each != "null"), "object")
        elif name == "properties" and isinstance(value, dict):
            result["properties"] = {
                member: _published(_without_enum(member, below), prefix, wanted)
                for member, below in value.items()
            }
        elif name == "$ref" and isinstance(value, str):
            wanted.append(value.removeprefix(REF))
            result["$ref"] = prefix + value.removeprefix(REF)
        elif name not in _OWN:
            result[name] = _published(value, prefix, wanted)
    return _wrapped(result)


def _without_enum(member: str, schema: Any) -> Any:
    """`kind` and `apiVersion` are free texts in the published documents."""
    if member in ("kind", "apiVersion") and isinstance(schema, dict):
        return {name: value for name, value in schema.items() if name != "enum"}
    return schema


def _wrapped(schema: Schema) -> Schema:
    """A reference stands alone; what is said beside it goes around it."""
    if "$ref" not in schema or len(schema) == 1:
        return schema
    reference = schema.pop("$ref")
    return schema | {"allOf": [{"$ref": reference}]}


def schema_name(resource: Resource) -> str:
    """As upstream names those of CRDs: "com.example.stable.v1.CronTab"."""
    group = ".".join(reversed(resource.group.split(".")))
    return f"{group}.{resource.version}.{resource.kind}"


def _custom(resource: Resource, schema: Schema, prefix: str) -> Schema:
    text = {"type": "string"}
    properties = {
        "apiVersion": text,
        "kind": text,
        "metadata": {"allOf": [{"$ref": prefix + OBJECT_META}]},
    }
    kind = {"group": resource.group, "kind": resource.kind, "version": resource.version}
    return schema | {
        "properties": (schema.get("properties") or {}) | properties,
        GVK: [kind],
    }
