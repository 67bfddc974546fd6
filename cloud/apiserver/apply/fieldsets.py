"""Sets of fields, in the form in which the API shows them (FieldsV1). Pure.

A set is a tree of path elements, so that nothing is translated when objects are read and written:

    {"f:spec": {"f:ports": {'k:{"port":80}': {".": {}, "f:port": {}}}}}

holds `.spec.ports[port=80]` and `.spec.ports[port=80].port`, yet not `.spec`. An element that leads
nowhere further is a member; "." makes one of an element that does. Trees share what they have in
common and are never changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

Fields = dict[str, Any]
Path = tuple[str, ...]
SELF = "."


def is_member(node: Fields) -> bool:
    """Of an element's node: whether the element itself belongs to the set."""
    return not node or SELF in node


def as_member(node: Fields) -> Fields:
    return node if is_member(node) else {SELF: {}, **node}


def union(one: Fields, other: Fields) -> Fields:
    if not one or not other:
        return one or other
    result = dict(one)
    for element, node in other.items():
        held = result.get(element)
        result[element] = node if held is None else _joined(held, node)
    return result


def _joined(one: Fields, other: Fields) -> Fields:
    if not one:
        return as_member(other)
    return union(one, other) if other else as_member(one)


def difference(one: Fields, other: Fields) -> Fields:
    """Members of the one that are not members of the other, whatever lies below them."""
    if not other:
        return one
    result: Fields = {}
    for element, node in one.items():
        held = other.get(element)
        left = node if held is None else _less(node, held)
        if left is not None:
            result[element] = left
    return result


def _less(node: Fields, other: Fields) -> Fields | None:
    if not node:
        return None if is_member(other) else node
    return _tidy(difference(node, other or {SELF: {}}))


def intersection(one: Fields, other: Fields) -> Fields:
    result: Fields = {}
    for element, node in one.items():
        held = other.get(element)
        if held is None:
            continue
        both = {} if not node or not held else intersection(node, held)
        if is_member(node) and is_member(held):
            result[element] = {SELF: {}, **both} if both and SELF not in both else both
        elif both:
            result[element] = both
    return {element: _tidy(node) or {} for element, node in result.items()}


def _tidy(node: Fields) -> Fields | None:
    """None for no node; a lone "." is not written."""
    if not node:
        return None
    return {} if len(node) == 1 and SELF in node else node


def paths(fields: Fields, above: Path = ()) -> Iterator[Path]:
    for element, node in fields.items():
        if element == SELF:
            continue
        if is_member(node):
            yield (*above, element)
        yield from paths(node, (*above, element))


def of_paths(members: Iterable[Path]) -> Fields:
    fields: Fields = {}
    for path in members:
        node: Fields = {}
        for element in reversed(path):
            node = {element: node}
        fields = union(fields, node)
    return fields


# -- elements --------------------------------------------------------------------------------------


def named(name: str) -> str:
    return f"f:{name}"


def keyed(keys: dict[str, Any]) -> str:
    """Of an item of a list with keys; they have to be in order."""
    return f"k:{msgspec.json.encode(keys).decode()}"


def valued(value: Any) -> str:
    """Of an item of a set."""
    return f"v:{msgspec.json.encode(value).decode()}"


def canonical(raw: Any) -> Fields:
    """A client's FieldsV1 with each element written as we write it. Raises ValueError."""
    if not isinstance(raw, dict):
        raise ValueError("fieldsV1 is no object")
    fields: Fields = {}
    for element, below in raw.items():
        if element == SELF:
            fields[SELF] = {}
            continue
        fields[_canonical_element(element)] = _tidy(canonical(below)) or {}
    return fields


def _canonical_element(element: str) -> str:
    kind, colon, rest = element.partition(":")
    if not colon or kind not in ("f", "k", "v", "i"):
        raise ValueError(f"{element!r} is no path element")
    if kind == "f":
        return element
    value = msgspec.json.decode(rest)  # its DecodeError is a ValueError
    if kind == "v":
        return valued(value)
    if kind == "i":
        return f"i:{int(value)}"
    if not isinstance(value, dict):
        raise ValueError(f"{element!r} has no keys")
    return keyed(dict(sorted(value.items())))


def shown(path: Path) -> str:
    """As upstream prints it: `.spec.ports[port=80,protocol="TCP"].name`."""
    return "".join(map(_shown_element, path))


def _shown_element(element: str) -> str:
    kind, _, rest = element.partition(":")
    if kind == "f":
        return f".{rest}"
    if kind == "k":
        keys = msgspec.json.decode(rest)
        texts = [f"{name}={msgspec.json.encode(value).decode()}" for name, value in keys.items()]
        return f"[{','.join(texts)}]"
    return f"[={rest}]" if kind == "v" else f"[{rest}]"
