"""JSON patch (RFC 6902) and JSON merge patch (RFC 7386). Pure."""

from __future__ import annotations

from typing import Any

import jsonpatch

from actors.kube.status_errors import ApiError, bad_request

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"

MAX_OPERATIONS = 10_000  # upstream's bound


def unprocessable(why: str) -> ApiError:
    """422 without causes: the patch was understood but does not fit the object."""
    return ApiError(422, "Invalid", f"the server rejected our request: {why}")


def json_patch(target: Any, operations: Any) -> Any:
    """A patched copy. Raises ApiError: 400 for what is no patch, 422 for one that does not fit."""
    if not isinstance(operations, list):
        raise bad_request("json: a JSON patch is an array of operations")
    if len(operations) > MAX_OPERATIONS:
        raise ApiError(
            413,
            "RequestEntityTooLarge",
            f"The allowed maximum operations in a JSON patch is {MAX_OPERATIONS},"
            f" got {len(operations)}",
        )
    try:
        return jsonpatch.JsonPatch(operations).apply(target)
    except jsonpatch.InvalidJsonPatch as error:
        raise bad_request(f"invalid JSON patch: {error}") from error
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException) as error:
        raise unprocessable(str(error)) from error
    except (TypeError, ValueError, KeyError, AttributeError) as error:  # it trusts its input
        raise bad_request(f"invalid JSON patch: {error}") from error


def merge_patch(target: Any, patch: Any) -> Any:
    """A patched copy that shares what did not change."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge_patch(result.get(name), value)
    return result
