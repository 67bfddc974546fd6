"""JSON patch and merge patch."""

from __future__ import annotations

from typing import Any

import pytest

from actors.kube.patch import MAX_OPERATIONS, json_patch, merge_patch
from actors.kube.status_errors import ApiError


@pytest.mark.parametrize(
    ("target", "patch", "expected"),
    [  # the examples of RFC 7386, appendix A
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch(target: Any, patch: Any, expected: Any) -> None:
    assert merge_patch(target, patch) == expected


def test_merge_patch_leaves_the_target_alone() -> None:
    target = {"a": {"b": 1}}
    merge_patch(target, {"a": {"b": 2, "c": None}})
    assert target == {"a": {"b": 1}}


def test_json_patch() -> None:
    operations = [
        {"op": "test", "path": "/a", "value": 1},
        {"op": "replace", "path": "/a", "value": 2},
        {"op": "add", "path": "/l/-", "value": "z"},
        {"op": "remove", "path": "/m~1n"},
    ]
    target = {"a": 1, "l": ["y"], "m/n": 0}
    assert json_patch(target, operations) == {"a": 2, "l": ["y", "z"]}
    assert target == {"a": 1, "l": ["y"], "m/n": 0}


@pytest.mark.parametrize(
    ("operations", "code"),
    [
        ([{"op": "test", "path": "/a", "value": 2}], 422),
        ([{"op": "remove", "path": "/nothing"}], 422),
        ([{"op": "replace", "path": "/nothing/below", "value": 1}], 422),
        ([{"op": "fly", "path": "/a"}], 400),
        ([{"op": "add", "path": "/a"}], 400),
        ([{"path": "/a"}], 400),
        (["text"], 400),
        ({"op": "add"}, 400),
        ([{"op": "add", "path": "/a", "value": 1}] * (MAX_OPERATIONS + 1), 413),
    ],
)
def test_bad_json_patches(operations: Any, code: int) -> None:
    with pytest.raises(ApiError) as caught:
        json_patch({"a": 1}, operations)
    assert caught.value.code == code
