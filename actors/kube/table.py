"""Objects as rows of a `Table`, which is what `kubectl get` asks for.

Columns come from the built-in printers, a CRD's additionalPrinterColumns, or are name and age.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from actors.kube import durations
from actors.kube.jsonpath import PathError, compile_path
from actors.kube.meta import metadata_only
from actors.kube.printers import EVENTS, PRINTERS, Cells
from actors.kube.resource import Column, Resource

NAME = Column(
    name="Name",
    format="name",
    description="Name must be unique within a namespace.",
)
AGE = Column(name="Age", description="CreationTimestamp is a timestamp of the creation.")


class Layout(NamedTuple):
    """A resource's columns, and the cells of one object at a time (seconds since the epoch)."""

    columns: tuple[Column, ...]
    cells: Cells


def layout_of(resource: Resource) -> Layout:
    if resource.columns:
        return _from_paths(resource.columns)
    if resource.kind == "Event" and resource.group in ("", "events.k8s.io"):
        return Layout(*EVENTS)  # the one whose first column is not the name
    printer = PRINTERS.get((resource.group, resource.plural))
    if printer is not None:
        return Layout((NAME, *printer.columns), printer.cells)
    return Layout((NAME, AGE), _name_and_age)


def is_known(resource: Resource) -> bool:
    """Whether its columns are more than the guess of a name and an age."""
    layout = layout_of(resource)
    return layout.cells is not _name_and_age


def _name_and_age(obj: dict[str, Any], now: float) -> list[Any]:
    metadata = obj.get("metadata") or {}
    return [metadata.get("name", ""), durations.age(metadata.get("creationTimestamp"), now)]


def _from_paths(columns: tuple[Column, ...]) -> Layout:
    finders = [(column, _finder(column.path)) for column in columns]

    def cells(obj: dict[str, Any], now: float) -> list[Any]:
        name = (obj.get("metadata") or {}).get("name", "")
        return [name, *(_cell(column, find(obj), now) for column, find in finders)]

    return Layout((NAME, *columns), cells)


def _finder(path: str) -> Callable[[object], list[object]]:
    try:
        return compile_path(path)
    except PathError:
        return lambda _: []  # the column stays empty, as upstream does


def _cell(column: Column, found: list[object], now: float) -> Any:
    """A cell by the column's type; None where there is no value of that type."""
    if not found or found[0] is None:
        return None
    value = found[0]
    if column.type == "date":
        return durations.age(value, now)
    if column.type == "integer":
        return int(value) if isinstance(value, int | float) else None
    if column.type == "number":
        return value if isinstance(value, int | float) else None
    if column.type == "boolean":
        return value if isinstance(value, bool) else None
    return " ".join(_text(v) for v in found) if len(found) > 1 else _text(value)


def _text(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def row(layout: Layout, raw: bytes, now: float, include: str = "Metadata") -> bytes:
    """One row; `include` is None, Metadata or Object (the parameter includeObject)."""
    cells = layout.cells(msgspec.json.decode(raw), now)
    encoded: dict[str, Any] = {"cells": cells}
    if include == "Object":
        encoded["object"] = msgspec.Raw(raw)
    elif include != "None":
        encoded["object"] = msgspec.Raw(metadata_only(raw))
    return msgspec.json.encode(encoded)


def head(layout: Layout, version: str, metadata: dict[str, Any], no_columns: bool = False) -> bytes:
    """The Table up to its rows: close it with `]}`."""
    table = {
        "kind": "Table",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": metadata,
        "columnDefinitions": None if no_columns else [definition(c) for c in layout.columns],
    }
    return msgspec.json.encode(table)[:-1] + b',"rows":['


def definition(column: Column) -> dict[str, Any]:
    return {
        "name": column.name,
        "type": column.type,
        "format": column.format,
        "description": column.description,
        "priority": column.priority,
    }
