"""What an edit changes, key by key, and whether the running site can take it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from configs.schema import LIVE, SECRET, AnySiteFile

_ABSENT = "absent"


@dataclass(frozen=True)
class Change:
    """One key's change; `old` and `new` are as a file would say them, secrets hidden."""

    key: str  # dotted, list items by name: "nodes[node-1].listen"
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.key}: {self.old} -> {self.new}"


@dataclass(frozen=True)
class Diff:
    """The changes that take effect at once and those that need a restart, in schema order."""

    live: tuple[Change, ...] = ()
    restart: tuple[Change, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.live or self.restart)


def diff(old: AnySiteFile, new: AnySiteFile) -> Diff:
    """All differences. Sites of different kinds differ in `kind` alone: nothing else compares."""
    if type(old) is not type(new):
        return Diff(restart=(Change("kind", old.kind, new.kind),))
    changes = list(_section("", old, new))
    return Diff(
        live=tuple(change for is_live, change in changes if is_live),
        restart=tuple(change for is_live, change in changes if not is_live),
    )


def _section(prefix: str, old: BaseModel, new: BaseModel) -> Iterator[tuple[bool, Change]]:
    for name, field in type(old).model_fields.items():
        before, after = getattr(old, name), getattr(new, name)
        if before == after:
            continue
        key = f"{prefix}{field.alias or name}"
        if isinstance(before, BaseModel) and isinstance(after, BaseModel):
            yield from _section(f"{key}.", before, after)
        elif _is_named(before) or _is_named(after):
            yield from _items(key, before, after, _mark(field, LIVE))
        else:
            shown = _shown(old, name, field), _shown(new, name, field)
            yield _mark(field, LIVE), Change(key, *shown)


def _items(
    key: str, old: tuple[Any, ...], new: tuple[Any, ...], is_live: bool
) -> Iterator[tuple[bool, Change]]:
    before, after = ({item.name: item for item in items} for items in (old, new))
    for name in [*before, *(name for name in after if name not in before)]:
        item = f"{key}[{name}]"
        if name not in after:
            yield is_live, Change(item, "present", _ABSENT)
        elif name not in before:
            yield is_live, Change(item, _ABSENT, "present")
        else:
            yield from _section(f"{item}.", before[name], after[name])
    if list(before) != list(after) and set(before) == set(after):
        yield is_live, Change(f"{key} (order)", ", ".join(before), ", ".join(after))


def _is_named(value: Any) -> bool:
    return isinstance(value, tuple) and bool(value) and _has_name(value[0])


def _has_name(item: Any) -> bool:
    return isinstance(item, BaseModel) and "name" in type(item).model_fields


def _mark(field: FieldInfo, mark: str) -> bool:
    extra = field.json_schema_extra
    return isinstance(extra, dict) and bool(extra.get(mark))


def _shown(section: BaseModel, name: str, field: FieldInfo) -> str:
    if _mark(field, SECRET):
        return "(hidden)"
    if isinstance(getattr(section, name), BaseModel):
        return "present"
    value = section.model_dump(mode="json", include={name})[name]
    if isinstance(value, list):
        return f"[{', '.join(map(str, value))}]"
    return _ABSENT if value is None else str(value)
