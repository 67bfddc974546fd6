"""Who owns whom."""

from __future__ import annotations

from typing import Any

from cloud.apiserver.owners import (
    Owners,
    Ref,
    has_other_owner,
    without_finalizer,
    without_owner,
)

A, B = Ref("pods", "n/a"), Ref("pods", "n/b")


def owned(*uids: str) -> dict[str, Any]:
    return {"metadata": {"ownerReferences": [{"uid": uid} for uid in uids]}}


def test_index() -> None:
    owners = Owners()
    assert not owners
    owners.note(A, owned("1", "2"))
    owners.note(B, owned("1"))
    owners.note(Ref("pods", "n/c"), {"metadata": {}})
    assert owners.dependents("1") == [A, B]
    owners.note(A, owned("2"))
    assert owners.dependents("1") == [B]
    owners.note(B, None)
    owners.note(A, {"metadata": {}})
    assert not owners


def test_letting_go() -> None:
    obj = owned("1", "2")
    assert without_owner(obj, "1") == owned("2")
    assert without_owner(owned("1"), "1") == {"metadata": {}}
    assert obj == owned("1", "2")
    held = {"metadata": {"finalizers": ["a", "b"]}}
    assert without_finalizer(held, "a") == {"metadata": {"finalizers": ["b"]}}
    assert without_finalizer({"metadata": {"finalizers": ["a"]}}, "a") == {"metadata": {}}


def test_other_owners() -> None:
    assert not has_other_owner(owned("1"), "1", lambda _: True)
    assert has_other_owner(owned("1", "2"), "1", lambda _: True)
    assert not has_other_owner(owned("1", "2"), "1", lambda _: False)
