"""Structural schemas of custom resources."""

from __future__ import annotations

from typing import Any

import pytest

from cloud.apiserver.structural import Validator, apply_defaults, has_rules, prune

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "required": ["cron"],
            "properties": {
                "cron": {"type": "string", "pattern": "^[0-9* ]+$", "maxLength": 9},
                "kind": {"type": "string", "enum": ["a", "b"]},
                "count": {"type": "integer", "minimum": 1, "maximum": 10, "default": 3},
                "above": {"type": "number", "minimum": 0, "exclusiveMinimum": True},
                "port": {"x-kubernetes-int-or-string": True},
                "maybe": {"type": "string", "nullable": True},
                "when": {"type": "string", "format": "date-time"},
                "list": {
                    "type": "array",
                    "maxItems": 2,
                    "items": {
                        "type": "object",
                        "properties": {"x": {"type": "integer", "default": 1}},
                    },
                },
                "map": {"type": "object", "additionalProperties": {"type": "integer"}},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                "pod": {
                    "type": "object",
                    "x-kubernetes-embedded-resource": True,
                    "properties": {"spec": {"type": "object"}},
                },
            },
        }
    },
}


def pruned(spec: Any) -> tuple[Any, list[str]]:
    unknown: list[str] = []
    return prune(SCHEMA, {"spec": spec}, unknown)["spec"], unknown


def test_prune() -> None:
    kept, unknown = pruned({"cron": "*", "x": 1, "list": [{"x": 1, "y": 2}], "map": {"any": 1}})
    assert kept == {"cron": "*", "list": [{"x": 1}], "map": {"any": 1}}
    assert unknown == ["spec.x", "spec.list[0].y"]


def test_prune_spares_what_is_preserved_or_embedded() -> None:
    spec = {
        "free": {"a": {"b": 1}},
        "pod": {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a"}, "spec": {}},
    }
    assert pruned(spec) == (spec, [])
    assert pruned({"pod": {"status": 1}}) == ({"pod": {}}, ["spec.pod.status"])


def test_prune_bears_wrong_types() -> None:
    spec = {"cron": {"no": "text"}, "list": "text", "map": [1]}
    assert pruned(spec)[0]["list"] == "text"


def test_defaults() -> None:
    obj: dict[str, Any] = {"spec": {"list": [{}, {"x": 5}]}}
    apply_defaults(SCHEMA, obj)
    assert obj == {"spec": {"count": 3, "list": [{"x": 1}, {"x": 5}]}}
    absent: dict[str, Any] = {}
    apply_defaults(SCHEMA, absent)
    assert absent == {}


def test_null_takes_the_default_unless_nullable() -> None:
    obj: dict[str, Any] = {"spec": {"count": None}}
    apply_defaults(SCHEMA, obj)
    assert obj["spec"]["count"] == 3


def test_defaults_are_not_shared() -> None:
    schema = {"properties": {"a": {"type": "array", "default": []}}}
    first: dict[str, Any] = {}
    apply_defaults(schema, first)
    first["a"].append(1)
    second: dict[str, Any] = {}
    apply_defaults(schema, second)
    assert second == {"a": []}


@pytest.mark.parametrize(
    ("spec", "field", "text"),
    [
        ({}, "spec.cron", "Required value"),
        ({"cron": 1}, "spec.cron", 'in body must be of type string: "integer"'),
        ({"cron": "x"}, "spec.cron", "in body should match '^[0-9* ]+$'"),
        ({"cron": "*" * 10}, "spec.cron", "may not be more than 9 bytes"),
        ({"cron": "*", "kind": "c"}, "spec.kind", 'supported values: "a", "b"'),
        ({"cron": "*", "count": 11}, "spec.count", "should be less than or equal to 10"),
        ({"cron": "*", "count": 0}, "spec.count", "should be greater than or equal to 1"),
        ({"cron": "*", "above": 0}, "spec.above", "should be greater than"),
        ({"cron": "*", "port": True}, "spec.port", "must be of type integer,string"),
        ({"cron": "*", "maybe": 1}, "spec.maybe", "must be of type string"),
        ({"cron": "*", "when": "now"}, "spec.when", "must be of type date-time"),
        ({"cron": "*", "list": [{}] * 3}, "spec.list", "must have at most 2 items"),
        ({"cron": "*", "list": [{"x": "1"}]}, "spec.list[0].x", "of type integer"),
        ({"cron": "*", "map": {"a": "b"}}, "spec.map.a", "of type integer"),
    ],
)
def test_faults(spec: dict[str, Any], field: str, text: str) -> None:
    (fault,) = Validator(SCHEMA).faults({"spec": spec})
    assert fault.field == field
    assert text in fault.message


@pytest.mark.parametrize(
    "spec",
    [
        {"cron": "*"},
        {"cron": "*", "port": "http", "above": 0.1},
        {"cron": "*", "port": 80, "maybe": None, "when": "2020-01-01T00:00:00Z"},
    ],
)
def test_good_objects(spec: dict[str, Any]) -> None:
    assert list(Validator(SCHEMA).faults({"spec": spec})) == []


def test_several_faults_come_together() -> None:
    faults = Validator(SCHEMA).faults({"spec": {"count": 0, "kind": "x"}})
    assert sorted(fault.field for fault in faults) == ["spec.count", "spec.cron", "spec.kind"]


def test_patterns_beyond_python_refuse_nothing() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string", "pattern": r"\pN("}}}
    assert list(Validator(schema).faults({"a": "x"})) == []


def test_rules_are_found() -> None:
    assert not has_rules(SCHEMA)
    assert has_rules({"versions": [{"schema": {"x-kubernetes-validations": []}}]})
