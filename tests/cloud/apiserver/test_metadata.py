"""System fields of metadata."""

from __future__ import annotations

from typing import Any

import pytest

from actors.kube.status_errors import ApiError
from cloud.apiserver import metadata

OLD = {
    "name": "a",
    "namespace": "n",
    "uid": "u",
    "resourceVersion": "5",
    "creationTimestamp": "2020-01-01T00:00:00Z",
    "generation": 3,
}


def test_new_objects_get_what_only_the_server_sets() -> None:
    meta: dict[str, Any] = {
        "generateName": "web-",
        "uid": "mine",
        "generation": 9,
        "deletionTimestamp": "2020-01-01T00:00:00Z",
        "managedFields": [],
        "labels": {"a": "b"},
    }
    metadata.fill_new(meta, "n", 0.9, has_generation=True)
    assert meta["name"].startswith("web-")
    assert meta["uid"] != "mine"
    assert meta["creationTimestamp"] == "1970-01-01T00:00:00Z"
    assert (meta["generation"], meta["namespace"], meta["labels"]) == (1, "n", {"a": "b"})
    assert not {"deletionTimestamp", "managedFields", "resourceVersion"} & set(meta)


@pytest.mark.parametrize("meta", [{"resourceVersion": "1"}, {"namespace": "other"}])
def test_new_objects_that_are_mistakes(meta: dict[str, Any]) -> None:
    with pytest.raises(ApiError) as caught:
        metadata.fill_new({"name": "a"} | meta, "n", 0, has_generation=False)
    assert caught.value.code == 400


def test_updates_keep_system_fields() -> None:
    meta: dict[str, Any] = {"name": "a", "uid": "x", "generation": 8, "deletionTimestamp": "x"}
    metadata.carry_over(meta, OLD)
    assert meta == {name: value for name, value in OLD.items() if name != "resourceVersion"}


@pytest.mark.parametrize(
    ("meta", "code"),
    [
        ({"name": "b"}, 400),
        ({"name": "a", "namespace": "other"}, 400),
        ({"name": "a", "uid": "other"}, 409),
        ({"name": "a", "resourceVersion": "4"}, 409),
    ],
)
def test_updates_of_something_else(meta: dict[str, Any], code: int) -> None:
    with pytest.raises(ApiError) as caught:
        metadata.check_update(meta, OLD, "", "pods")
    assert caught.value.code == code


@pytest.mark.parametrize(
    "meta",
    [{"name": "a"}, {"name": "a", "uid": "u", "resourceVersion": "5", "namespace": "n"}],
)
def test_updates_of_this(meta: dict[str, Any]) -> None:
    metadata.check_update(meta, OLD, "", "pods")


def test_no_new_finalizers_on_the_way_out() -> None:
    old = OLD | {"deletionTimestamp": "x", "finalizers": ["a"]}
    assert metadata.check_finalizers({"finalizers": ["a"]}, old) is None
    assert metadata.check_finalizers({}, old) is None
    fault = metadata.check_finalizers({"finalizers": ["a", "b"]}, old)
    assert fault is not None
    assert '["b"]' in fault.message
    assert metadata.check_finalizers({"finalizers": ["b"]}, OLD) is None


def test_preconditions() -> None:
    metadata.check_preconditions({}, OLD, "", "pods")
    metadata.check_preconditions({"preconditions": {"uid": "u"}}, OLD, "", "pods")
    for wrong in ({"uid": "x"}, {"resourceVersion": "4"}):
        with pytest.raises(ApiError) as caught:
            metadata.check_preconditions({"preconditions": wrong}, OLD, "", "pods")
        assert caught.value.code == 409
