"""Decoding as Go does it: known members only, null is absent, types must fit. Pure.

Built-in types and custom resources share the walk; the dialect (references, int-or-string,
preserved members) is that of both schema sources.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from actors.kube.schemas import Definitions, Schema, types_of
from actors.kube.status_errors import Cause

_MAX_UNKNOWN = 100  # told to the client; more help nobody


class WrongType(ValueError):
    """Not decodable: 400, with a text like that of Go's JSON decoder."""

    def __init__(self, path: str, value: Any, wanted: str) -> None:
        super().__init__(f"json: cannot unmarshal {_kind_of(value)} into field {path} of {wanted}")


def _kind_of(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def _fits(value: Any, kind: str) -> bool:
    match kind:
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            whole = isinstance(value, float) and value.is_integer()
            return whole or (isinstance(value, int) and not isinstance(value, bool))
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "array":
            return isinstance(value, list)
        case _:
            return isinstance(value, dict)


def _join(path: str, member: str) -> str:
    return f"{path}.{member}" if path else member


@dataclass
class Walk:
    """One pass over one object. `unknown` and `missing` are found on the way."""

    definitions: Definitions | None = None  # None: the schemas hold no references
    unknown: list[str] = field(default_factory=list)
    missing: list[Cause] = field(default_factory=list)

    def clean(self, schema: Schema, value: Any, path: str = "") -> Any:
        """The value with known members only. Raises WrongType."""
        if self.definitions is not None:
            schema = self.definitions.resolve(schema)
        kinds = _kinds(schema)
        if kinds and not any(_fits(value, kind) for kind in kinds):
            raise WrongType(path, value, f"type {' or '.join(sorted(kinds))}")
        if isinstance(value, dict) and ("object" in kinds or not kinds):
            return self._members(schema, value, path)
        if isinstance(value, list) and "items" in schema:
            below = schema["items"]
            return [
                self.clean(below, item, f"{path}[{index}]")
                for index, item in enumerate(value)
                if item is not None
            ]
        return value

    def _members(self, schema: Schema, value: dict[str, Any], path: str) -> dict[str, Any]:
        properties = schema.get("properties")
        others = schema.get("additionalProperties")
        if properties is None and not isinstance(others, dict):
            return value
        kept: dict[str, Any] = {}
        for name, held in value.items():
            below = (properties or {}).get(name)
            if below is None and isinstance(others, dict):
                below = others
            if below is not None:
                if held is not None:
                    kept[name] = self.clean(below, held, _join(path, name))
            elif schema.get("x-kubernetes-preserve-unknown-fields"):
                kept[name] = held
            else:
                self._note_unknown(_join(path, name))
        self._note_missing(schema, kept, path)
        return kept

    def _note_unknown(self, path: str) -> None:
        if len(self.unknown) < _MAX_UNKNOWN:
            self.unknown.append(path)

    def _note_missing(self, schema: Schema, kept: dict[str, Any], path: str) -> None:
        for name in schema.get("required", ()):
            if name not in kept:
                cause = Cause("FieldValueRequired", "Required value", _join(path, name))
                self.missing.append(cause)


def _kinds(schema: Schema) -> frozenset[str]:
    if schema.get("x-kubernetes-int-or-string"):
        return frozenset({"integer", "string"})
    if "oneOf" in schema and "type" not in schema:
        return frozenset[str]().union(*(types_of(choice) for choice in schema["oneOf"]))
    return types_of(schema)
