"""What changed between two states of an object, and how that fits onto a third one. Pure.

`difference` is a patch: of the built-in types a strategic one (lists with keys differ item by item,
after k8s.io/apimachinery/pkg/util/strategicpatch), else a JSON merge patch (lists are values).
`three_way` keeps what others changed meanwhile: where both did, the server's state stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from actors.kube.patch import merge_patch
from actors.kube.schemas import Definitions, Schema
from actors.kube.strategic import DELETE_PRIMITIVES, DIRECTIVE, ORDER, strategic_merge

Object = dict[str, Any]
ABSENT: Any = object()  # a member that is not there


@dataclass(frozen=True)
class Types:
    """How a kind's members are merged; without a schema its lists are values."""

    definitions: Definitions
    schema: Schema = field(default_factory=dict)

    @property
    def is_strategic(self) -> bool:
        return bool(self.schema)

    def member(self, name: str) -> Types:
        below = (self.schema.get("properties") or {}).get(name)
        below = below or self.schema.get("additionalProperties")
        return self._resolved(below)

    def items(self) -> Types:
        return self._resolved(self.schema.get("items"))

    def _resolved(self, schema: Any) -> Types:
        found = self.definitions.resolve(schema) if isinstance(schema, dict) else {}
        return Types(self.definitions, found)

    @property
    def strategies(self) -> frozenset[str]:
        return frozenset(self.schema.get("x-kubernetes-patch-strategy", "").split(","))

    @property
    def key(self) -> str:
        return str(self.schema.get("x-kubernetes-patch-merge-key", ""))


def difference(types: Types, old: Object, new: Object) -> Object:
    """The patch that makes `new` of `old`."""
    patch: Object = {}
    for name in [*old, *(name for name in new if name not in old)]:
        before, after = old.get(name, ABSENT), new.get(name, ABSENT)
        if before == after and _same_type(before, after):
            continue
        member = types.member(name)
        if after is ABSENT and _is_shared_list(member, before):
            patch |= _list_change(member, name, before, [])  # others' items are not ours to remove
        elif after is ABSENT or after is None:
            patch |= {name: None} if before is not ABSENT else {}
        else:
            patch |= _change(member, name, before, after)
    return patch


def _is_shared_list(types: Types, before: Any) -> bool:
    """Of items that several clients write, each its own; no list is as good as an empty one."""
    if not isinstance(before, list) or "merge" not in types.strategies:
        return False
    return keyed(before, types.key) is not None if types.key else _is_set(before)


def _same_type(before: Any, after: Any) -> bool:
    """Python's True is 1."""
    return isinstance(before, bool) == isinstance(after, bool)


def _change(types: Types, name: str, before: Any, after: Any) -> Object:
    if isinstance(after, dict):
        if "replace" in types.strategies:
            return {name: after | {DIRECTIVE: "replace"}}
        return {name: difference(types, before if isinstance(before, dict) else {}, after)}
    if isinstance(after, list) and "merge" in types.strategies:
        return _list_change(types, name, before if isinstance(before, list) else [], after)
    return {name: after}


def _list_change(types: Types, name: str, before: list[Any], after: list[Any]) -> Object:
    if not types.key:
        if _is_set(before) and _is_set(after):
            return _set_change(name, before, after)
        return {name: after}
    if (old := keyed(before, types.key)) is None or (new := keyed(after, types.key)) is None:
        return {name: [*after, {DIRECTIVE: "replace"}]}
    return _keyed_change(types, name, old, new)


def _keyed_change(
    types: Types, name: str, old: dict[Any, Object], new: dict[Any, Object]
) -> Object:
    key, items = types.key, types.items()
    changes: list[Object] = []
    for value, item in new.items():
        if value not in old:
            changes.append(item)
        elif changed := difference(items, old[value], item):
            changes.append({key: value} | changed)
    changes += [{DIRECTIVE: "delete", key: value} for value in old if value not in new]
    patch: Object = {name: changes} if changes or not old else {}
    kept = [value for value in old if value in new]
    if [*kept, *(value for value in new if value not in old)] != list(new):
        patch[ORDER + name] = [{key: value} for value in new]
    return patch


def _set_change(name: str, before: list[Any], after: list[Any]) -> Object:
    added = [item for item in after if item not in before]
    gone = [item for item in before if item not in after]
    patch: Object = {name: added} if added or not before else {}
    if gone:
        patch[DELETE_PRIMITIVES + name] = gone
    if [*(item for item in before if item in after), *added] != after:
        patch[ORDER + name] = after
    return patch


def keyed(items: list[Any], key: str) -> dict[Any, Object] | None:
    """By key; None where an item has none, or two have the same."""
    found: dict[Any, Object] = {}
    for item in items:
        value = item.get(key) if isinstance(item, dict) else None
        if not isinstance(value, str | int) or value in found:
            return None
        found[value] = item
    return found


def _is_set(items: list[Any]) -> bool:
    return all(isinstance(item, str) for item in items) and len(set(items)) == len(items)


def patched(types: Types, target: Object, patch: Object) -> Object:
    """A patched copy, by the kind of patch that `difference` makes of these types."""
    if types.is_strategic:
        return _as_object(strategic_merge(types.definitions, types.schema, target, patch))
    return _as_object(merge_patch(target, patch))


def _as_object(value: Any) -> Object:
    return value if isinstance(value, dict) else {}


@dataclass
class Merge:
    """`three_way`'s result: `dropped` are the paths of ours that the server's state overrides."""

    merged: Object
    dropped: list[str]


def three_way(types: Types, base: Object, ours: Object, theirs: Object, path: str = "") -> Merge:
    """Theirs, with what we changed and they did not."""
    merger = _ThreeWay()
    return Merge(merger.objects(types, base, ours, theirs, path), merger.dropped)


class _ThreeWay:
    def __init__(self) -> None:
        self.dropped: list[str] = []

    def objects(
        self, types: Types, base: Object, ours: Object, theirs: Object, path: str
    ) -> Object:
        result = dict(theirs)
        for name in [*base, *(name for name in ours if name not in base)]:
            three = (base.get(name, ABSENT), ours.get(name, ABSENT), theirs.get(name, ABSENT))
            below = f"{path}.{name}" if path else name
            value = self._value(types.member(name), *three, below)
            if value is ABSENT:
                result.pop(name, None)
            else:
                result[name] = value
        return result

    def _value(self, types: Types, base: Any, ours: Any, theirs: Any, path: str) -> Any:
        if ours in (base, theirs):
            return theirs
        if theirs == base:
            return ours
        if all(isinstance(each, dict) for each in (ours, theirs)):
            return self.objects(types, base if isinstance(base, dict) else {}, ours, theirs, path)
        if "merge" in types.strategies and isinstance(ours, list) and isinstance(theirs, list):
            merged = self._lists(types, base if isinstance(base, list) else [], ours, theirs, path)
            if merged is not None:
                return merged
        self.dropped.append(path)
        return theirs

    def _lists(
        self, types: Types, base: list[Any], ours: list[Any], theirs: list[Any], path: str
    ) -> list[Any] | None:
        """None where they are no lists of named things."""
        if not types.key:
            if not (_is_set(base) and _is_set(ours) and _is_set(theirs)):
                return None
            kept = [item for item in theirs if item in ours or item not in base]
            return [*kept, *(i for i in ours if i not in base and i not in theirs)]
        three = [keyed(each, types.key) for each in (base, ours, theirs)]
        if any(each is None for each in three):
            return None
        old, mine, other = (each or {} for each in three)
        values = [*other, *(value for value in mine if value not in other)]
        found = (
            self._value(
                types.items(),
                old.get(value, ABSENT),
                mine.get(value, ABSENT),
                other.get(value, ABSENT),
                f"{path}[{value}]",
            )
            for value in values
        )
        return [item for item in found if item is not ABSENT]


def covers(theirs: Any, ours: Any) -> bool:
    """Whether all of ours is in theirs, which may have more (what a server fills in)."""
    if isinstance(ours, dict):
        return isinstance(theirs, dict) and all(
            covers(theirs.get(name, ABSENT), value) for name, value in ours.items()
        )
    if isinstance(ours, list):
        return (
            isinstance(theirs, list) and len(theirs) == len(ours) and all(map(covers, theirs, ours))
        )
    return bool(theirs == ours)


def pruned(value: Any) -> Any:
    """Without members that are null, which says as much as their absence."""
    if isinstance(value, dict):
        return {name: pruned(member) for name, member in value.items() if member is not None}
    if isinstance(value, list):
        return [pruned(item) for item in value]
    return value


def type_faults(types: Types, value: Any, path: str = "") -> Iterator[str]:
    """Where a value is not of its schema's type, in the words of Go's decoder."""
    declared = types.schema.get("type", [])
    names = [declared] if isinstance(declared, str) else declared
    checks = [_IS[name] for name in names if name in _IS]
    if value is not None and checks and not any(check(value) for check in checks):
        kind = next(name for name in names if name != "null")
        yield f"cannot unmarshal {type(value).__name__} into field {path} of type {kind}"
    elif isinstance(value, dict):
        for name, member in value.items():
            yield from type_faults(types.member(name), member, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for item in value:
            yield from type_faults(types.items(), item, path)


_IS: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
}
