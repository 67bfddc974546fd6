"""The quick check of a body: a msgspec type made from its published schema.

It says yes to objects whose members are all known and rightly typed, with every required one there:
nearly all that clients send, in microseconds. `typed.py` looks closely at the rest.
"""

from __future__ import annotations

from typing import Any

import msgspec

from actors.kube.schemas import REF, Definitions, Schema, types_of

_SCALARS: dict[str, Any] = {
    "string": str,
    "integer": int,
    "number": float | int,
    "boolean": bool,
}
# Wait until first use: most kinds are never written, and their types are large.


class Shapes:
    """Decoders by definition name."""

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions
        self._types: dict[str, Any] = {}
        self._decoders: dict[str, msgspec.json.Decoder[Any]] = {}

    def fits(self, name: str, body: bytes) -> bool:
        """Whether the JSON body is without doubt an object of this definition."""
        decoder = self._decoders.get(name)
        if decoder is None:
            decoder = self._decoders[name] = msgspec.json.Decoder(self._named(name))
        try:
            decoder.decode(body)
        except msgspec.DecodeError:
            return False
        return True

    def _named(self, name: str) -> Any:
        if name not in self._types:
            self._types[name] = msgspec.Raw  # where a definition contains itself, anything goes
            self._types[name] = self._type(self._definitions.schema(name), name)
        return self._types[name]

    def _type(self, schema: Schema, name: str) -> Any:
        if "$ref" in schema:
            return self._named(schema["$ref"].removeprefix(REF))
        if "oneOf" in schema:
            return _union(schema["oneOf"])
        types = types_of(schema)
        if types == {"object"}:
            return self._object(schema, name)
        if types == {"array"}:
            return list[self._type(schema.get("items", {}), name)]  # type: ignore[misc]
        return _SCALARS.get(next(iter(types), ""), msgspec.Raw)

    def _object(self, schema: Schema, name: str) -> Any:
        if "properties" in schema:
            return self._struct(schema, name)
        values = schema.get("additionalProperties")
        if isinstance(values, dict):
            return dict[str, self._type(values, name)]  # type: ignore[misc]
        return dict[str, msgspec.Raw]

    def _struct(self, schema: Schema, name: str) -> Any:
        required = set(schema.get("required", ()))
        fields: list[Any] = []
        rename: dict[str, str] = {}
        for index, (member, below) in enumerate(schema["properties"].items()):
            kind = self._type(below, name)
            rename[f"f{index}"] = member
            if member in required:
                fields.append((f"f{index}", kind))
            else:
                fields.append((f"f{index}", kind | msgspec.UnsetType, msgspec.UNSET))
        return msgspec.defstruct(
            "Shape",
            fields,
            rename=rename,
            kw_only=True,
            forbid_unknown_fields=not schema.get("x-kubernetes-preserve-unknown-fields", False),
        )


def _union(choices: list[Schema]) -> Any:
    """IntOrString and Quantity."""
    union: Any = None
    for choice in choices:
        for kind in sorted(types_of(choice)):
            union = _SCALARS[kind] if union is None else union | _SCALARS[kind]
    return union
