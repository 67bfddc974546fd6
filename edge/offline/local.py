"""What a write makes of the object that is held here: as the API server would answer. Pure.

Versions and generations stay the cloud's. So two local clients that update the same version
overwrite each other, each told of the other by its watch.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from actors.kube.patch import JSON_PATCH, STRATEGIC_MERGE_PATCH, json_patch, merge_patch
from actors.kube.resource import Resource
from actors.kube.status_errors import (
    Cause,
    bad_request,
    conflict,
    invalid,
    unsupported_media_type,
)
from actors.kube.strategic import strategic_merge
from edge.offline.bodies import decode_patch
from edge.offline.entry import SYSTEM, has_status, meta_of, types_of, uid_of
from edge.offline.merge import Object, pruned, type_faults

FIRST_VERSION = "1"
"""Of what was created here: older than anything of an API server, so updates of it conflict there,
and clients read anew."""
_NAME_LENGTH = 58  # of generateName that is kept, as upstream
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


def created(resource: Resource, obj: Object, namespace: str, now: float) -> Object:
    """Raises ApiError 400 or 422."""
    metadata = dict(meta_of(obj))
    if metadata.get("resourceVersion"):
        raise bad_request("resourceVersion should not be set on objects to be created")
    check_namespace(metadata, namespace)
    for name in SYSTEM:
        metadata.pop(name, None)
    if not metadata.get("name") and metadata.get("generateName"):
        suffix = "".join(secrets.choice(_ALPHABET) for _ in range(5))
        metadata["name"] = str(metadata["generateName"])[:_NAME_LENGTH] + suffix
    if not metadata.get("name"):
        cause = Cause(
            "FieldValueRequired",
            "Required value: name or generateName is required",
            "metadata.name",
        )
        raise invalid(resource.group, resource.kind, "", [cause])
    if namespace:
        metadata["namespace"] = namespace
    metadata |= {
        "uid": str(uuid4()),
        "resourceVersion": FIRST_VERSION,
        "creationTimestamp": timestamp(now),
    }
    result = obj | {"metadata": metadata}
    check_types(resource, result)
    return result


def timestamp(now: float) -> str:
    return datetime.fromtimestamp(int(now), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def edited(resource: Resource, subresource: str, held: Object, wanted: Object) -> Object:
    """`held` after an update to `wanted`. Raises ApiError 400 or 409."""
    _check_target(resource, held, wanted)
    check_types(resource, wanted)
    if subresource == "status":
        result = held | {"metadata": _metadata(resource, subresource, held, wanted)}
        return _with_status(result, wanted)
    result = wanted | {"metadata": _metadata(resource, subresource, held, wanted)}
    return _with_status(result, held) if has_status(resource) else result


def _with_status(obj: Object, source: Object) -> Object:
    rest = {name: value for name, value in obj.items() if name != "status"}
    return rest | ({"status": source["status"]} if "status" in source else {})


def _metadata(resource: Resource, subresource: str, held: Object, wanted: Object) -> Object:
    """The client's, with the server's own members as they are held."""
    old, new = meta_of(held), meta_of(wanted)
    if subresource and not types_of(resource).is_strategic:
        return old  # of custom resources /status takes the status alone
    fixed = {*SYSTEM, "name", "namespace", "generateName"}
    if subresource:
        fixed |= {"ownerReferences", "finalizers"}
    kept = {name: value for name, value in new.items() if name not in fixed}
    return {name: old[name] for name in old if name in fixed} | kept


def _check_target(resource: Resource, held: Object, wanted: Object) -> None:
    old, new = meta_of(held), meta_of(wanted)
    name = str(old.get("name", ""))
    if (said := new.get("name", "")) != name:
        raise bad_request(
            f"the name of the object ({said}) does not match the name on the URL ({name})"
        )
    check_namespace(new, str(old.get("namespace", "")))
    check_uid(resource, held, str(new.get("uid") or uid_of(held)))
    version = old.get("resourceVersion")
    if (new.get("resourceVersion") or version) != version:
        raise conflict(resource.group, resource.plural, name)


def check_namespace(metadata: Object, namespace: str) -> None:
    """Raises ApiError 400."""
    if metadata.get("namespace", "") not in ("", namespace):
        raise bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )


def check_uid(resource: Resource, held: Object, wanted: str) -> None:
    """Raises ApiError 409."""
    if wanted == (found := uid_of(held)):
        return
    why = f"Precondition failed: UID in precondition: {wanted}, UID in object meta: {found}"
    raise conflict(resource.group, resource.plural, str(meta_of(held).get("name", "")), why)


def check_types(resource: Resource, obj: Object) -> None:
    """Raises ApiError 400 for what no server could read; unknown members are the server's to tell.

    Custom resources have their schema there only.
    """
    for path in ("labels", "annotations"):
        values = meta_of(obj).get(path) or {}
        if not isinstance(values, dict) or any(not isinstance(v, str) for v in values.values()):
            raise bad_request(f"json: metadata.{path} is an object whose values are strings")
    for fault in type_faults(types_of(resource), obj):
        raise bad_request(f'{resource.kind} in version "{resource.version}": json: {fault}')


def patched(resource: Resource, held: Object, body: bytes, content_type: str) -> Object:
    """What a patch makes of `held`, to be taken as an update. Raises ApiError 400, 415, 422."""
    patch = decode_patch(body, content_type)
    result = _applied(resource, held, patch, content_type)
    if not isinstance(result, dict) or not isinstance(result.get("metadata"), dict):
        raise bad_request("the patched object has no metadata")
    for name in ("apiVersion", "kind"):
        if result.get(name) != held.get(name):
            raise bad_request(f"a patch may not change {name}")
    if "status" in result and not isinstance(result["status"] or {}, dict):
        raise bad_request("json: cannot unmarshal into field status of type object")
    found: Object = pruned(result)
    return found


def _applied(resource: Resource, held: Object, patch: Any, content_type: str) -> Any:
    if content_type == JSON_PATCH:
        return json_patch(held, patch)
    if content_type != STRATEGIC_MERGE_PATCH:
        return merge_patch(held, patch)
    types = types_of(resource)
    if not types.is_strategic:
        raise unsupported_media_type((JSON_PATCH, "application/merge-patch+json"))
    return strategic_merge(types.definitions, types.schema, held, patch)


def deleted(resource: Resource, held: Object, options: Object, now: float) -> Object | None:
    """None: it is gone; else it is marked, as it still has to end. Raises ApiError 409."""
    wanted = options.get("preconditions") or {}
    if uid := wanted.get("uid"):
        check_uid(resource, held, str(uid))
    version = meta_of(held).get("resourceVersion")
    if (wanted.get("resourceVersion") or version) != version:
        raise conflict(resource.group, resource.plural, str(meta_of(held).get("name", "")))
    grace = options.get("gracePeriodSeconds")
    if grace is None:
        spec = held.get("spec") or {}
        grace = spec.get("terminationGracePeriodSeconds", 30) if resource.plural == "pods" else 0
    if grace == 0 or resource.plural != "pods":
        return None
    mark = {"deletionTimestamp": timestamp(now + grace), "deletionGracePeriodSeconds": grace}
    return held | {"metadata": meta_of(held) | mark}


def changed_members(old: Object, new: Object) -> frozenset[str]:
    return frozenset(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
