"""The tables: whole, sound, and as published."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
import pytest

from actors.kube.protobuf.groups import (
    KINDS,
    KINDS_OF_ANY_GROUP,
    apps,
    authentication,
    authorization,
    batch,
    coordination,
    core,
    discovery,
    events,
    messages,
    meta,
    networking,
    node,
    rbac,
    storage,
)
from actors.kube.protobuf.tables import SCALARS, Field, Many, Message, read_tables
from actors.kube.protobuf.values import CONVERT

MODULES = (
    apps,
    authentication,
    authorization,
    batch,
    coordination,
    core,
    discovery,
    events,
    meta,
    networking,
    node,
    rbac,
    storage,
)
NAMES = sorted(messages())


def test_notation() -> None:
    text = "\nA: 1 *b B, 2 c {str},\n  3 d [int64], 4 e bool!\nB: 1 x meta.Time\nC:\n"
    assert read_tables("g", text) == {
        "g.A": Message(
            "g.A",
            {
                1: Field(1, "b", "g.B", is_inline=True),
                2: Field(2, "c", "str", Many.MAP),
                3: Field(3, "d", "int64", Many.LIST),
                4: Field(4, "e", "bool", tells_zero=True),
            },
        ),
        "g.B": Message("g.B", {1: Field(1, "x", "meta.Time")}),
        "g.C": Message("g.C"),
    }


@pytest.mark.parametrize("text", ["A: x y z", "A: 1 a", "A: 1 a [str}", "A: 1 a str; 2 b str"])
def test_what_is_no_notation(text: str) -> None:
    with pytest.raises((ValueError, KeyError)):
        read_tables("g", text)


def test_nothing_is_lost_in_reading() -> None:
    """Neither lines that are no notation nor numbers given twice."""
    written = "".join(module.TABLE for module in MODULES)
    assert len(re.findall(r"\b\d+ ", written)) == sum(len(m.fields) for m in messages().values())
    assert len(re.findall(r"^\S", written, re.MULTILINE)) == len(messages())


def below(name: str) -> Iterator[str]:
    return (each.type for each in messages()[name].fields.values() if not each.is_scalar)


@pytest.mark.parametrize("name", NAMES)
def test_types_are_there(name: str) -> None:
    assert set(below(name)) <= messages().keys()


def test_no_message_contains_itself() -> None:
    """So that nothing can be nested without end."""

    def walk(name: str, above: tuple[str, ...]) -> int:
        assert name not in above
        return 1 + max((walk(each, (*above, name)) for each in below(name)), default=0)

    assert max(walk(name, ()) for name in (*KINDS.values(), "meta.Unknown")) < 20


def test_every_message_is_used() -> None:
    seen: set[str] = set()
    todo = [*KINDS.values(), *KINDS_OF_ANY_GROUP.values(), "meta.Unknown"]
    while todo:
        name = todo.pop()
        seen.add(name)
        todo += set(below(name)) - seen
    assert messages().keys() == seen
    assert CONVERT.keys() <= seen


# -- as published ---------------------------------------------------------------------------------

_PREFIXES = {"meta": "io.k8s.apimachinery.pkg.apis.meta.v1"}
_HEAD = {"apiVersion", "kind"}
_WITHDRAWN = {"core.PodSpec": {"workloadRef"}}
"""Only Kubernetes 1.35 had it, as an alpha."""
_LATER = {
    "core.NodeSystemInfo": {"runningInUserNamespace"},
    "core.VolumeMountStatus": {"volumeStatus"},
    "storage.CSIDriverSpec": {"preventPodSchedulingIfMissing"},
    "storage.CSINode": {"status"},
}
"""What the tables have beyond 1.35."""
_INLINED = {"core.EphemeralContainerCommon", "core.ProbeHandler", "core.VolumeSource"}
_NEWER = {
    "core.ImageVolumeStatus",
    "core.VolumeStatus",
    "storage.CSINodeStatus",
    "storage.StorageHealth",
    "storage.StorageHealthCondition",
}
_WITHOUT_SCHEMA = {"meta.TypeMeta", "meta.Unknown", *CONVERT, *_INLINED, *_NEWER}


@cache
def published() -> dict[str, Any]:
    """Of 1.35, whose tables these are."""
    spec = find_spec("kubernetes_validate")
    assert spec is not None
    assert spec.submodule_search_locations
    root = Path(spec.submodule_search_locations[0]) / "kubernetes-json-schema"
    text = (root / "v1.35.0-local" / "_definitions.json").read_bytes()
    found = msgspec.json.decode(text)
    definitions: dict[str, Any] = found["$defs"] if "$defs" in found else found["definitions"]
    return definitions


def schema_of(name: str) -> dict[str, Any] | None:
    group, _, message = name.partition(".")
    prefix = _PREFIXES.get(group, f"io.k8s.api.{group}.v1")
    found: dict[str, Any] | None = published().get(f"{prefix}.{message}")
    return found


def members(name: str) -> dict[str, Field]:
    found: dict[str, Field] = {}
    for field in messages()[name].fields.values():
        more = members(field.type) if field.is_inline else {field.name: field}
        assert not found.keys() & more.keys()
        found |= more
    return found


def shape(schema: dict[str, Any]) -> str:
    declared = schema.get("type", "object")
    names = {declared} if isinstance(declared, str) else set(declared)
    [name] = names - {"null"}
    return str(name)


def shape_of(field: Field) -> str:
    if field.many is not Many.ONE:
        return "array" if field.many is Many.LIST else "object"
    kinds = {"bool": "boolean", "int32": "integer", "int64": "integer"}
    return kinds.get(field.type, "string") if field.type in SCALARS else "object"


@pytest.mark.parametrize("name", sorted(messages().keys() - _WITHOUT_SCHEMA))
def test_members_are_those_published(name: str) -> None:
    schema = schema_of(name)
    assert schema is not None
    properties = schema.get("properties", {})
    ours = members(name)
    if "x-kubernetes-group-version-kind" in schema:
        properties = {each: held for each, held in properties.items() if each not in _HEAD}
    expected = (properties.keys() - _WITHDRAWN.get(name, set())) | _LATER.get(name, set())
    assert ours.keys() == expected
    for each in properties.keys() & ours.keys():
        assert shape_of(ours[each]) == shape(properties[each]), each
