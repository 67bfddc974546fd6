"""Statuses worded as upstream words them."""

from __future__ import annotations

import msgspec

from actors.kube.status_errors import (
    Cause,
    forbidden,
    internal_error,
    invalid,
    method_not_allowed,
    success,
    too_many_requests,
    unsupported_media_type,
)


def test_one_cause() -> None:
    status = invalid("", "Service", "x", [Cause("FieldValueRequired", "Required value", "spec.p")])
    assert status.message == 'Service "x" is invalid: spec.p: Required value'
    assert status.status()["details"] == {
        "name": "x",
        "kind": "Service",
        "causes": [
            {"reason": "FieldValueRequired", "message": "Required value", "field": "spec.p"}
        ],
    }


def test_several_causes() -> None:
    causes = [Cause("A", "one", "a"), Cause("B", "two", "b")]
    status = invalid("apps", "Deployment", "x", causes)
    assert status.message == 'Deployment.apps "x" is invalid: [a: one, b: two]'


def test_method() -> None:
    status = method_not_allowed("apps", "deployments", "delete")
    assert status.message == 'delete is not supported on resources of kind "deployments.apps"'


def test_forbidden() -> None:
    status = forbidden("", "nodes", "n", "no rights")
    assert (status.code, status.message) == (403, 'nodes "n" is forbidden: no rights')


def test_retry_after_is_in_the_details() -> None:
    assert too_many_requests(7).status()["details"] == {"retryAfterSeconds": 7}


def test_body_is_json() -> None:
    error = internal_error("broken")
    assert msgspec.json.decode(error.body()) == error.status()
    assert error.status()["details"]["causes"] == [{"message": "broken"}]


def test_media_types_and_success() -> None:
    assert "a/b, c/d" in unsupported_media_type(["a/b", "c/d"]).message
    assert success({"name": "x"})["details"] == {"name": "x"}
    assert "details" not in success()
