"""What two answers have in common, without what must differ: names of sides, times, versions."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

import yaml

_MASKED = frozenset(
    {"uid", "resourceVersion", "creationTimestamp", "continue", "time", "deletionTimestamp"}
)
_DIGITS = re.compile(r"\d+")
_UID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_HEADERS = ("Content-Type", "Retry-After")


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


def essence(answer: Answer, namespace: str, *, is_watch: bool) -> dict[str, Any]:
    kept = {name: answer.headers.get(name, "") for name in _HEADERS}
    text = answer.body.decode(errors="replace").replace(namespace, "NS")
    return {
        "status": answer.status,
        "headers": kept,
        "body": _events(text) if is_watch and answer.status == 200 else _parsed(text, kept),
    }


def _parsed(text: str, headers: dict[str, str]) -> Any:
    try:
        found = yaml.safe_load(text) if "yaml" in headers["Content-Type"] else json.loads(text)
    except (ValueError, yaml.YAMLError):
        return text.strip()
    return _masked(found)


def _events(text: str) -> list[Any]:
    """Initial events come in no order."""
    found = [_masked(json.loads(line)) for line in text.splitlines()]
    return sorted(found, key=lambda event: json.dumps(event, sort_keys=True))


def _masked(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        if value.get("kind") == "Table":
            value = _without_ages(value)
        return {
            key: "*" if key in _MASKED and below not in (None, "") else _masked(below, key)
            for key, below in value.items()
        }
    if isinstance(value, list):
        return [_masked(each) for each in value]
    if name == "message" and isinstance(value, str):
        return _DIGITS.sub("N", _UID.sub("UID", value))
    return value


def _without_ages(table: dict[str, Any]) -> dict[str, Any]:
    names = [column["name"] for column in table.get("columnDefinitions") or ()]
    rows = []
    for row in table.get("rows") or ():
        cells = row["cells"]
        if len(names) == len(cells):
            pairs = zip(names, cells, strict=True)
            cells = ["*" if name == "Age" else cell for name, cell in pairs]
        rows.append(row | {"cells": [c if not _is_age(c) else "*" for c in cells]})
    return table | {"rows": rows}


def _is_age(cell: Any) -> bool:
    return isinstance(cell, str) and re.fullmatch(r"\d+[smhd]", cell) is not None


def without_managed_fields(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: without_managed_fields(v) for k, v in value.items() if k != "managedFields"}
    if isinstance(value, list):
        return [without_managed_fields(each) for each in value]
    return value
