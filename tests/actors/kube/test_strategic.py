"""Strategic merge patch, driven by the published schemas."""

from __future__ import annotations

from typing import Any

import pytest

from actors.kube.schemas import published
from actors.kube.status_errors import ApiError
from actors.kube.strategic import strategic_merge


def merge(kind: str, target: Any, patch: Any) -> Any:
    definitions = published()
    return strategic_merge(definitions, definitions.schema(f"io.k8s.api.{kind}"), target, patch)


def containers(*names: str, **rest: Any) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": name, "image": "i", **rest} for name in names]}}


def test_lists_are_merged_by_their_key() -> None:
    patch = {"spec": {"containers": [{"name": "b", "image": "new"}, {"name": "c"}]}}
    merged = merge("core.v1.Pod", containers("a", "b"), patch)
    assert merged["spec"]["containers"] == [
        {"name": "a", "image": "i"},
        {"name": "b", "image": "new"},
        {"name": "c"},
    ]


def test_nested_lists_are_merged_by_their_key() -> None:
    old = containers("a", env=[{"name": "X", "value": "1"}])
    patch = {"spec": {"containers": [{"name": "a", "env": [{"name": "Y", "value": "2"}]}]}}
    merged = merge("core.v1.Pod", old, patch)
    env = merged["spec"]["containers"][0]["env"]
    assert env == [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]


def test_patch_delete_removes_one_item() -> None:
    patch = {"spec": {"containers": [{"name": "a", "$patch": "delete"}]}}
    merged = merge("core.v1.Pod", containers("a", "b"), patch)
    assert [c["name"] for c in merged["spec"]["containers"]] == ["b"]


def test_patch_replace_of_a_list() -> None:
    patch = {"spec": {"containers": [{"$patch": "replace"}, {"name": "z"}]}}
    merged = merge("core.v1.Pod", containers("a", "b"), patch)
    assert merged["spec"]["containers"] == [{"name": "z"}]


def test_patch_replace_of_an_object() -> None:
    old = {"spec": {"selector": {"a": "1"}, "type": "ClusterIP"}}
    patch = {"spec": {"$patch": "replace", "type": "NodePort"}}
    assert merge("core.v1.Service", old, patch) == {"spec": {"type": "NodePort"}}


def test_null_deletes_and_maps_merge() -> None:
    old = {"metadata": {"labels": {"a": "1", "b": "2"}}}
    patch = {"metadata": {"labels": {"a": None, "c": "3"}}}
    assert merge("core.v1.Service", old, patch)["metadata"]["labels"] == {"b": "2", "c": "3"}


def test_service_ports_merge_by_port() -> None:
    old = {"spec": {"ports": [{"port": 80, "name": "a"}]}}
    patch = {"spec": {"ports": [{"port": 80, "targetPort": 8080}, {"port": 81}]}}
    merged = merge("core.v1.Service", old, patch)
    assert merged["spec"]["ports"] == [
        {"port": 80, "name": "a", "targetPort": 8080},
        {"port": 81},
    ]


def test_atomic_lists_are_replaced() -> None:
    old = {"endpoints": [{"addresses": ["10.0.0.1"]}, {"addresses": ["10.0.0.2"]}]}
    patch = {"endpoints": [{"addresses": ["10.0.0.3"]}]}
    assert merge("discovery.v1.EndpointSlice", old, patch) == patch


def test_primitive_lists_merge_and_delete() -> None:
    old = {"metadata": {"finalizers": ["a", "b"]}}
    patch = {
        "metadata": {"finalizers": ["c", "b"], "$deleteFromPrimitiveList/finalizers": ["a"]},
    }
    assert merge("core.v1.Pod", old, patch)["metadata"]["finalizers"] == ["b", "c"]


def test_delete_from_a_primitive_list_alone() -> None:
    old = {"metadata": {"finalizers": ["a", "b"]}}
    patch = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}}
    assert merge("core.v1.Pod", old, patch) == {"metadata": {"finalizers": ["b"]}}


def test_set_element_order_sorts() -> None:
    patch = {
        "spec": {
            "$setElementOrder/containers": [{"name": "c"}, {"name": "b"}, {"name": "a"}],
            "containers": [{"name": "c", "image": "i"}],
        }
    }
    merged = merge("core.v1.Pod", containers("a", "b"), patch)
    assert [c["name"] for c in merged["spec"]["containers"]] == ["c", "b", "a"]


def test_order_keeps_items_it_does_not_know() -> None:
    order = [{"name": "c"}, {"name": "a"}]
    patch = {"spec": {"$setElementOrder/containers": order}}
    merged = merge("core.v1.Pod", containers("a", "server", "c"), patch)
    assert [c["name"] for c in merged["spec"]["containers"]] == ["c", "server", "a"]


def test_retain_keys_drops_the_rest() -> None:
    old = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}
    patch = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    assert merge("apps.v1.Deployment", old, patch)["spec"]["strategy"] == {"type": "Recreate"}


def test_conditions_merge_by_type() -> None:
    """What a kubelet sends every few minutes."""
    old = {"status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Disk"}]}}
    patch = {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}
    merged = merge("core.v1.Node", old, patch)
    assert merged["status"]["conditions"] == [
        {"type": "Ready", "status": "False"},
        {"type": "Disk"},
    ]


def test_target_is_left_alone() -> None:
    old = containers("a")
    merge("core.v1.Pod", old, {"spec": {"containers": [{"name": "a", "image": "x"}]}})
    assert old == containers("a")


@pytest.mark.parametrize(
    "patch",
    [
        [],
        {"spec": {"containers": [{"image": "no key"}]}},
        {"spec": {"containers": ["text"]}},
        {"spec": {"$patch": "explode"}},
        {"spec": {"$retainKeys": "type"}},
    ],
)
def test_bad_patches(patch: Any) -> None:
    with pytest.raises(ApiError) as caught:
        merge("core.v1.Pod", containers("a"), patch)
    assert caught.value.code == 400
