"""What a delete does to an object."""

from __future__ import annotations

from typing import Any

from cloud.apiserver.deletion import deleted, grace_of, is_over, marked


def obj(spec: Any = None, status: Any = None, **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": "a"} | metadata, "spec": spec or {}, "status": status or {}}


def test_plain_objects_go_at_once() -> None:
    assert deleted("Service", obj(), "Background", None, 0) is None


def test_finalizers_hold() -> None:
    left = deleted("Service", obj(finalizers=["x"], generation=1), "Background", None, 0)
    assert left is not None
    assert left["metadata"]["deletionTimestamp"] == "1970-01-01T00:00:00Z"
    assert left["metadata"]["deletionGracePeriodSeconds"] == 0
    assert left["metadata"]["generation"] == 2
    assert deleted("Service", left, "Background", None, 5) is left


def test_policies_are_finalizers() -> None:
    for policy, finalizer in (("Orphan", "orphan"), ("Foreground", "foregroundDeletion")):
        left = deleted("Service", obj(), policy, None, 0)
        assert left is not None
        assert left["metadata"]["finalizers"] == [finalizer]


def test_pods_on_nodes_get_their_grace() -> None:
    running = obj({"nodeName": "n", "terminationGracePeriodSeconds": 40})
    assert grace_of("Pod", running, None) == 40
    assert grace_of("Pod", running, 5) == 5
    assert grace_of("Pod", obj({"nodeName": "n"}), None) == 30
    assert grace_of("Pod", obj(), None) == 0
    assert grace_of("Pod", obj({"nodeName": "n"}, {"phase": "Failed"}), None) == 0
    assert grace_of("Service", running, 10) == 0


def test_grace_only_shrinks() -> None:
    running = obj({"nodeName": "n"})
    first = deleted("Pod", running, "Background", 30, 100)
    assert first is not None
    assert first["metadata"]["deletionTimestamp"] == "1970-01-01T00:02:10Z"
    assert deleted("Pod", first, "Background", 60, 101) is first
    second = deleted("Pod", first, "Background", 1, 101)
    assert second is not None
    assert second["metadata"]["deletionGracePeriodSeconds"] == 1
    assert deleted("Pod", first, "Background", 0, 101) is None


def test_namespaces_wait_for_their_contents() -> None:
    namespace = obj({"finalizers": ["kubernetes"]}, {"phase": "Active"})
    left = deleted("Namespace", namespace, "Background", None, 0)
    assert left is not None
    assert left["status"]["phase"] == "Terminating"
    assert not is_over("Namespace", left)
    assert is_over("Namespace", left | {"spec": {}})


def test_marking_leaves_the_old_object_alone() -> None:
    old = obj(finalizers=["x"])
    marked(old, "Foreground", 0, 0)
    assert old == obj(finalizers=["x"])
