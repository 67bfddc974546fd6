"""What selectors look at: an object's labels and the values of its resource's selectable fields.

Read straight from the raw JSON by a decoder made for the resource, which skips all the rest: an
EndpointSlice of 100 endpoints costs a few microseconds instead of a few hundred.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from actors.kube.resource import Resource

Leaf = str | int | float | bool | None


class Selected(NamedTuple):
    """Labels, and field values in the order of `FieldReader.names`."""

    labels: Mapping[str, str]
    values: tuple[str, ...]


class _Meta(msgspec.Struct):
    labels: dict[str, str] | None = None


_NO_LABELS: Mapping[str, str] = {}

# Fields that upstream computes: (group, plural, field) -> where else to look, or what "" means.
_INSTEAD: dict[tuple[str, str, str], tuple[str, ...]] = {
    ("", "events", "source"): ("source.component", "reportingComponent"),
    ("", "events", "reportingComponent"): ("reportingComponent",),
    ("events.k8s.io", "events", "reportingController"): ("reportingController",),
    ("", "pods", "status.podIPs"): ("status.podIP",),
}
_DEFAULTS: dict[tuple[str, str, str], str] = {
    ("", "nodes", "spec.unschedulable"): "false",
    ("", "pods", "spec.hostNetwork"): "false",
    ("batch", "jobs", "status.successful"): "0",
    ("apps", "replicasets", "status.replicas"): "0",
    ("", "replicationcontrollers", "status.replicas"): "0",
}


def _text(value: object) -> str:
    if value is None or isinstance(value, dict | list):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return sys.intern(str(value))


def dig(value: object, path: tuple[str, ...]) -> object:
    """The value at a path of member names, None where any is missing."""
    for name in path:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


def split_path(path: str) -> tuple[str, ...]:
    """ "spec.nodeName", or as CRDs write it, ".spec.nodeName"."""
    return tuple(path.lstrip(".").split("."))


def _struct_of(tree: dict[str, Any], name: str) -> type:
    """A Struct type with the tree's members; every level may be absent or null."""
    fields: list[tuple[str, Any, Any]] = []
    rename: dict[str, str] = {}
    for index, (member, below) in enumerate(tree.items()):
        attribute = f"f{index}"
        rename[attribute] = member
        kind: Any = _struct_of(below, f"{name}_{index}") if isinstance(below, dict) else below
        fields.append((attribute, kind | None, None))
    return msgspec.defstruct(name, fields, rename=rename)


def _tree(paths: list[tuple[str, ...]]) -> dict[str, Any]:
    """Paths as nested dicts down to a type. Raises ValueError where one runs through another."""
    tree: dict[str, Any] = {"metadata": {"labels": dict[str, str]}}
    for path in paths:
        level: Any = tree
        for name in path[:-1]:
            level = level.setdefault(name, {})
            if not isinstance(level, dict):
                raise ValueError(f"selectable field {'.'.join(path)} lies below another one")
        level.setdefault(path[-1], Leaf)
    return tree


def _getter(tree: dict[str, Any], path: tuple[str, ...]) -> Callable[[Any], object]:
    attributes: list[str] = []
    level: Any = tree
    for name in path:
        attributes.append(f"f{list(level).index(name)}")
        level = level[name]

    def get(value: Any) -> object:
        for attribute in attributes:
            if value is None:
                return None
            value = getattr(value, attribute)
        return value

    return get


class FieldReader:
    """Reads `Selected` of one resource's objects. Never raises: what is not there reads as ""."""

    def __init__(self, resource: Resource) -> None:
        self.names = {
            path.lstrip("."): index for index, path in enumerate(resource.selectable_fields)
        }
        ids = [(resource.group, resource.plural, name) for name in self.names]
        self._paths = [
            [split_path(p) for p in _INSTEAD.get(id_, (name,))]
            for id_, name in zip(ids, self.names, strict=True)
        ]
        self._defaults = [_DEFAULTS.get(id_, "") for id_ in ids]
        tree = _tree([path for paths in self._paths for path in paths])
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(
            _struct_of(tree, "Selectable")
        )
        self._labels = _getter(tree, ("metadata", "labels"))
        self._getters = [[_getter(tree, path) for path in paths] for paths in self._paths]

    def read(self, raw: bytes) -> Selected:
        try:
            found = self._decoder.decode(raw)
        except msgspec.DecodeError:
            return self._read_slowly(raw)
        labels: Any = self._labels(found)
        values = [_first(get(found) for get in getters) for getters in self._getters]
        return Selected(_interned(labels), self._with_defaults(values))

    def _read_slowly(self, raw: bytes) -> Selected:
        """For an object with unexpected types on the way (a custom resource may hold anything)."""
        found = msgspec.json.decode(raw)
        labels = dig(found, ("metadata", "labels"))
        texts = labels if isinstance(labels, dict) else {}
        values = [_first(dig(found, path) for path in paths) for paths in self._paths]
        return Selected({k: _text(v) for k, v in texts.items()}, self._with_defaults(values))

    def _with_defaults(self, values: list[str]) -> tuple[str, ...]:
        return tuple(v or default for v, default in zip(values, self._defaults, strict=True))


def _first(values: Any) -> str:
    for value in values:
        if text := _text(value):
            return text
    return ""


def _interned(labels: dict[str, str] | None) -> Mapping[str, str]:
    """Many objects share label values; 10,000 slices should not hold them 10,000 times."""
    if not labels:
        return _NO_LABELS
    return {key: sys.intern(value) for key, value in labels.items()}
