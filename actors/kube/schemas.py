"""The published schemas of the built-in types, as shipped by kubernetes-validate.

Each definition is decoded when first asked for; the file is read once. Their dialect: optional
members also allow null, and `x-kubernetes-*` extensions are kept: strategic merge patch needs them.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

Schema = dict[str, Any]
REF = "#/$defs/"
OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"


class _Kind(msgspec.Struct):
    group: str
    version: str
    kind: str


class _Head(msgspec.Struct):
    kinds: list[_Kind] = msgspec.field(name="x-kubernetes-group-version-kind", default_factory=list)


class _File(msgspec.Struct):
    definitions: dict[str, msgspec.Raw] = msgspec.field(name="$defs")


class _Heads(msgspec.Struct):
    definitions: dict[str, _Head] = msgspec.field(name="$defs")


class Definitions:
    """Schemas by definition name ("io.k8s.api.core.v1.Service")."""

    def __init__(self, text: bytes) -> None:
        self._raw = msgspec.json.decode(text, type=_File).definitions
        self._schemas: dict[str, Schema] = {}
        self._by_kind: dict[tuple[str, str, str], str] = {}
        for name, head in msgspec.json.decode(text, type=_Heads).definitions.items():
            for kind in head.kinds:
                # DeleteOptions and the like are of every group; the first name is as good as any.
                self._by_kind.setdefault((kind.group, kind.version, kind.kind), name)

    def name_of(self, group: str, version: str, kind: str) -> str | None:
        return self._by_kind.get((group, version, kind))

    def schema(self, name: str) -> Schema:
        """Raises KeyError. Shared: not to be changed."""
        held = self._schemas.get(name)
        if held is None:
            held = self._schemas[name] = msgspec.json.decode(self._raw[name])
        return held

    def fresh(self, name: str) -> Schema:
        """A copy that nobody else holds."""
        copy: Schema = msgspec.json.decode(self._raw[name])
        return copy

    def resolve(self, schema: Schema) -> Schema:
        """What a `$ref` stands for; members beside it (patch strategies) are kept."""
        reference = schema.get("$ref")
        if reference is None:
            return schema
        return self.schema(reference.removeprefix(REF)) | {
            name: value for name, value in schema.items() if name.startswith("x-")
        }


@cache
def published() -> Definitions:
    """Of the newest Kubernetes version that the package knows."""
    return Definitions(_newest().read_bytes())


def _newest() -> Path:
    # find_spec does not import the package, whose own imports take 0.2 s.
    spec = find_spec("kubernetes_validate")
    assert spec is not None
    assert spec.submodule_search_locations
    root = Path(spec.submodule_search_locations[0]) / "kubernetes-json-schema"
    versions = [
        (int(match[1]), int(match[2]), directory)
        for directory in root.iterdir()
        if (match := re.fullmatch(r"v(\d+)\.(\d+)\.\d+-local", directory.name))
    ]
    return max(versions)[2] / "_definitions.json"


def types_of(schema: Schema) -> frozenset[str]:
    """Without null, which every optional member allows. Empty: anything goes."""
    declared = schema.get("type", [])
    names = [declared] if isinstance(declared, str) else declared
    return frozenset(names) - {"null"}
