"""What a delete does to an object: away at once, or marked and waiting. Pure.

Source: k8s.io/apiserver/pkg/registry/rest/delete.go and the pod strategy's grace periods.
"""

from __future__ import annotations

from typing import Any

from cloud.apiserver.kinds.pod import GRACE
from cloud.apiserver.metadata import timestamp

Object = dict[str, Any]

ORPHAN = "orphan"
FOREGROUND = "foregroundDeletion"
_FINALIZERS = {"Orphan": ORPHAN, "Foreground": FOREGROUND}


def marked(obj: Object, policy: str, grace: int, wall: float) -> Object:
    """The object as it is once its deletion was asked for; the same one if nothing changes."""
    old = obj["metadata"]
    meta = dict(old)
    finalizer = _FINALIZERS.get(policy)
    if finalizer and finalizer not in meta.get("finalizers", ()):
        meta["finalizers"] = [*meta.get("finalizers", ()), finalizer]
    left = meta.get("deletionGracePeriodSeconds")
    if "deletionTimestamp" not in meta or (left or 0) > grace:
        meta["deletionTimestamp"] = timestamp(wall + grace)
        meta["deletionGracePeriodSeconds"] = grace
        if "generation" in meta and "deletionTimestamp" not in old:
            meta["generation"] += 1
    if meta == old:
        return obj
    return obj | {"metadata": meta}


def grace_of(kind: str, obj: Object, asked: int | None) -> int:
    """Seconds that the object may take. Only pods on a node take any."""
    if kind != "Pod" or not obj.get("spec", {}).get("nodeName"):
        return 0
    if obj.get("status", {}).get("phase") in ("Succeeded", "Failed"):
        return 0
    own = obj["spec"].get("terminationGracePeriodSeconds", GRACE)
    return max(0, own if asked is None else asked)


def deleted(kind: str, obj: Object, policy: str, asked: int | None, wall: float) -> Object | None:
    """What a delete leaves of an object: None, or one that waits (the same, if it did already)."""
    new = marked(obj, policy, grace_of(kind, obj, asked), wall)
    if kind == "Namespace" and obj.get("status", {}).get("phase") != "Terminating":
        new = new | {"status": new.get("status", {}) | {"phase": "Terminating"}}
    return None if is_over(kind, new) else new


def is_over(kind: str, obj: Object) -> bool:
    """Marked, and nothing waits any longer: it goes."""
    meta = obj["metadata"]
    if "deletionTimestamp" not in meta or meta.get("finalizers"):
        return False
    if meta.get("deletionGracePeriodSeconds"):
        return False
    return not (kind == "Namespace" and obj.get("spec", {}).get("finalizers"))
