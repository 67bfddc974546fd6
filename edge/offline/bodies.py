"""What a client sent, as an object or a patch. Pure.

Answers are JSON whatever was asked for: all clients that send protobuf accept it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from actors.kube import protobuf
from actors.kube.patch import JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH
from actors.kube.resource import Resource
from actors.kube.status_errors import (
    ApiError,
    bad_request,
    service_unavailable,
    unsupported_media_type,
)
from actors.kube.yamls import from_yaml
from edge.offline.merge import Object, pruned

if TYPE_CHECKING:
    from actors.kube.serve.api import RequestInfo

_JSON = frozenset({"application/json", "application/octet-stream", ""})
_YAML = frozenset({"application/yaml", "text/yaml", "application/x-yaml"})
_ACCEPTED = ("application/json", "application/yaml", protobuf.CONTENT_TYPE)
APPLY = "application/apply-patch+yaml"


def decode_object(body: bytes, content_type: str, resource: Resource, retry: int) -> Object:
    """Raises ApiError: 400 and 415 for what is wrong, 503 for what cannot be read here."""
    obj = _decode(body, content_type, retry)
    if not isinstance(obj, dict):
        raise bad_request(f"the object provided is unrecognized (must be of type {resource.kind})")
    for name, wanted in (("kind", resource.kind), ("apiVersion", resource.api_version)):
        said = obj.get(name) or wanted
        if said != wanted:
            raise bad_request(f"the {name} in the data ({said}) does not match {wanted}")
        obj[name] = wanted
    return _checked(obj)


def _checked(obj: Object) -> Object:
    """Raises ApiError 400 for metadata or a status that are no objects."""
    for name in ("metadata", "status"):
        if obj.get(name) is not None and not isinstance(obj[name], dict):
            raise bad_request(f"json: cannot unmarshal into field {name} of type object")
    head = {"kind": obj.pop("kind"), "apiVersion": obj.pop("apiVersion")}
    found: Object = pruned(head | {"metadata": {}} | obj)
    return found


def _decode(body: bytes, content_type: str, retry: int) -> Any:
    if content_type in _JSON:
        return decode_json(body)
    if content_type in _YAML:
        try:
            return from_yaml(body)
        except ValueError as error:
            raise bad_request(f"error converting YAML to JSON: {error}") from error
    if content_type == protobuf.CONTENT_TYPE:
        return _protobuf(body, retry)
    raise unsupported_media_type(_ACCEPTED)


def decode_json(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise bad_request(f"couldn't get version/kind; json parse error: {error}") from error


def _protobuf(body: bytes, retry: int) -> Object:
    try:
        return protobuf.decode(body)
    except protobuf.Undecodable as error:
        raise bad_request(f"couldn't get version/kind; protobuf error: {error}") from error
    except protobuf.NotKnown as error:
        why = (
            f"the API server cannot be reached, and the hub cannot read {error} in"
            f" {protobuf.CONTENT_TYPE}: the write was not queued"
        )
        raise service_unavailable(why, retry) from error


def decode_patch(body: bytes, content_type: str) -> Any:
    """Raises ApiError 400 or 415."""
    accepted = (JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH)
    if content_type not in accepted:
        raise unsupported_media_type(accepted)
    patch = decode_json(body)
    if content_type != JSON_PATCH and not isinstance(patch, dict):
        raise bad_request("a merge patch is a JSON object")
    return patch


def delete_options(body: bytes, content_type: str, info: RequestInfo, retry: int) -> Object:
    """DeleteOptions from the body, else the query. Raises ApiError 400, 415 or 503."""
    options = _decode(body, content_type, retry) if body.strip() else {}
    if not isinstance(options, dict) or options.get("kind", "DeleteOptions") != "DeleteOptions":
        raise bad_request("the object provided is unrecognized (must be of type DeleteOptions)")
    grace = options.get("gracePeriodSeconds", info.query.get("gracePeriodSeconds"))
    try:
        options = options if grace is None else options | {"gracePeriodSeconds": int(grace)}
    except (TypeError, ValueError) as error:
        raise bad_request(f"gracePeriodSeconds: {error}") from error
    if not isinstance(options.get("preconditions", {}), dict):
        raise bad_request("json: cannot unmarshal into field preconditions")
    kept = ("gracePeriodSeconds", "preconditions", "propagationPolicy", "orphanDependents")
    found: Object = pruned({name: options[name] for name in kept if name in options})
    return found | _dry(options)


def _dry(options: Object) -> Object:
    return {"dryRun": options["dryRun"]} if options.get("dryRun") else {}


def as_api_error(code: int, body: bytes) -> ApiError:
    """The API server's refusal."""
    try:
        status = msgspec.json.decode(body, type=dict[str, Any])
        return ApiError(code, str(status.get("reason", "")), str(status.get("message", "")))
    except msgspec.DecodeError:
        return ApiError(code, "", body[:200].decode(errors="replace"))
