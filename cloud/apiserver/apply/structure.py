"""How the values of one schema merge: which lists have keys, which maps are one piece. Pure.

From `x-kubernetes-list-type`, `-list-map-keys` and `-map-type`; where a built-in list has none of
them, from its patch strategy. What no schema describes has maps that merge member by member, and
lists that are one piece.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from actors.kube.schemas import OBJECT_META, REF, Definitions, Schema
from cloud.apiserver.apply.fieldsets import keyed, valued
from cloud.apiserver.codec import BuiltIn, Codec

# Defaults of keys that the published schemas tell only in prose.
_KEY_DEFAULTS = {"protocol": "TCP"}


class Repeated(list[Any]):
    """Items of a list that have the same key: together they are one piece."""


class NotKeyed(ValueError):
    """An item that its list cannot tell from others."""


class Structure:
    """Of one value. Built as far as values reach: schemas may hold themselves."""

    __slots__ = (
        "_definitions",
        "_item",
        "_items",
        "_members",
        "_properties",
        "_values",
        "defaults",
        "is_associative",
        "is_atomic",
        "keys",
    )

    def __init__(self, definitions: Definitions, schema: Schema) -> None:
        schema = definitions.resolve(schema)
        self._definitions = definitions
        self._properties: Schema = schema.get("properties") or {}
        self._values = _schema_or_none(schema.get("additionalProperties"))
        self._items = _schema_or_none(schema.get("items")) or {}
        self._members: dict[str, Structure] = {}
        self._item: Structure | None = None
        self.is_atomic = schema.get("x-kubernetes-map-type") == "atomic"
        self.keys = tuple(sorted(_keys(schema)))
        self.is_associative = bool(self.keys) or _is_set(schema)
        self.defaults: dict[str, Any] = {}
        if self.keys:
            properties = definitions.resolve(self._items).get("properties") or {}
            found = {key: _default(key, properties) for key in self.keys}
            self.defaults = {key: value for key, value in found.items() if value is not None}

    def has_named(self, name: str) -> bool:
        """A field of a structure, as opposed to a key of a map."""
        return name in self._properties

    @property
    def is_struct(self) -> bool:
        return bool(self._properties)

    def member(self, name: str) -> Structure:
        if name in self._properties:
            held = self._members.get(name)
            if held is None:
                held = self._members[name] = Structure(self._definitions, self._properties[name])
            return held
        held = self._members.get("")  # all keys of a map are alike
        if held is None:
            held = self._members[""] = Structure(self._definitions, self._values or {})
        return held

    @property
    def item(self) -> Structure:
        if self._item is None:
            self._item = Structure(self._definitions, self._items)
        return self._item

    def below(self, element: str) -> Structure:
        return self.member(element[2:]) if element.startswith("f:") else self.item

    def index(self, items: list[Any]) -> dict[str, Any] | None:
        """Items by their path element, in order; None for a list that is one piece."""
        if not self.is_associative:
            return None
        result: dict[str, Any] = {}
        try:
            for item in items:
                element = self.element(item)
                if element not in result:
                    result[element] = item
                elif isinstance(result[element], Repeated):
                    result[element].append(item)
                else:
                    result[element] = Repeated((result[element], item))
        except NotKeyed:
            return None
        return result

    def element(self, item: Any) -> str:
        """Raises NotKeyed."""
        if not self.keys:
            if item is None or isinstance(item, dict | list):
                raise NotKeyed("associative list without keys has an element that is no scalar")
            return valued(item)
        if not isinstance(item, dict):
            raise NotKeyed("associative list with keys may not have non-map elements")
        found = {key: item[key] for key in self.keys if key in item}
        if len(found) < len(self.keys):
            found = {k: found.get(k, self.defaults.get(k)) for k in self.keys}
            found = {key: value for key, value in found.items() if value is not None}
        if not found:
            names = " ".join(f'"{key}"' for key in self.keys)
            raise NotKeyed(
                f"associative list with keys has an element that omits all key fields [{names}]"
                " (and doesn't have default values for any key fields)"
            )
        return keyed(found)


def _schema_or_none(schema: Any) -> Schema | None:
    return schema if isinstance(schema, dict) else None


def _keys(schema: Schema) -> list[str]:
    if list_type := schema.get("x-kubernetes-list-type"):
        return list(schema.get("x-kubernetes-list-map-keys", ())) if list_type == "map" else []
    key = schema.get("x-kubernetes-patch-merge-key")
    return [key] if key and _merges(schema) else []


def _is_set(schema: Schema) -> bool:
    list_type = schema.get("x-kubernetes-list-type")
    if list_type:
        return bool(list_type == "set")
    return "items" in schema and _merges(schema)


def _merges(schema: Schema) -> bool:
    return "merge" in schema.get("x-kubernetes-patch-strategy", "").split(",")


def _default(key: str, properties: Schema) -> Any:
    return properties.get(key, {}).get("default", _KEY_DEFAULTS.get(key))


class Structures:
    """Of whole objects, by their codec."""

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions
        self._by_codec: WeakKeyDictionary[Codec, Structure] = WeakKeyDictionary()

    def of(self, codec: Codec) -> Structure:
        held = self._by_codec.get(codec)
        if held is None:
            held = self._by_codec[codec] = Structure(self._definitions, self._schema(codec))
        return held

    def _schema(self, codec: Codec) -> Schema:
        if isinstance(codec, BuiltIn) and codec.definition is not None:
            return {"$ref": REF + codec.definition}
        schema: Schema = getattr(codec, "schema", None) or {}
        own = {"metadata": {"$ref": REF + OBJECT_META}}
        return schema | {"properties": (schema.get("properties") or {}) | own}
