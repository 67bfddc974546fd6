"""From a client's object to one that fits its schema: members that nobody knows are found here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from actors.kube.schemas import OBJECT_META, Definitions, published
from actors.kube.status_errors import Cause, bad_request
from cloud.apiserver.shapes import Shapes
from cloud.apiserver.typed import Walk, WrongType

Object = dict[str, Any]


class Decoded(NamedTuple):
    obj: Object
    unknown: Sequence[str] = ()  # paths of members that were dropped
    missing: Sequence[Cause] = ()


class Codec(Protocol):
    def decode(self, obj: Object) -> Decoded:
        """The object with known members only. Raises ApiError 400 where types cannot be read."""

    def check(self, obj: Object) -> Sequence[Cause]:
        """What is wrong with a defaulted object beyond what its kind checks."""


class BuiltIn:
    """A published type. `definition` None: the schema is not published, anything goes."""

    def __init__(self, definitions: Definitions, shapes: Shapes, definition: str | None) -> None:
        self._definitions = definitions
        self._shapes = shapes
        self.definition = definition

    def decode(self, obj: Object) -> Decoded:
        name = self.definition
        if name is None or self._shapes.fits(name, msgspec.json.encode(obj)):
            return Decoded(obj)
        walk = Walk(self._definitions)
        try:
            kept = walk.clean(self._definitions.schema(name), obj)
        except WrongType as error:
            raise cannot_read(obj, error) from error
        return Decoded(kept, walk.unknown, [c for c in walk.missing if not _is_lenient(c.field)])

    def check(self, obj: Object) -> Sequence[Cause]:
        return ()


# Required by schema, yet upstream fills them in or has its own words for their absence.
_LENIENT = frozenset(
    {
        "metadata",
        "endpoints",
        "addressType",
        "spec.containers",
        "involvedObject",
        "roleRef.apiGroup",
    }
)


def _is_lenient(field: str) -> bool:
    return field in _LENIENT or field.startswith("status.")  # whoever reports may be brief


def cannot_read(obj: Object, why: Exception) -> Exception:
    kind, api_version = obj.get("kind", ""), obj.get("apiVersion", "")
    version = str(api_version).rpartition("/")[2]
    return bad_request(f'{kind} in version "{version}" cannot be handled as a {kind}: {why}')


def clean_metadata(obj: Object) -> Decoded:
    """A custom resource's `metadata` is typed even where the rest is free."""
    definitions = published()
    walk = Walk(definitions)
    try:
        schema = definitions.schema(OBJECT_META)
        kept = walk.clean(schema, obj.get("metadata") or {}, "metadata")
    except WrongType as error:
        raise cannot_read(obj, error) from error
    return Decoded(kept, walk.unknown)
