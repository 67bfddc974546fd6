"""What a write asks for: its options and its body. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import msgspec

from actors.kube import protobuf
from actors.kube.patch import JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH
from actors.kube.resource import Resource
from actors.kube.serve.routes import is_true
from actors.kube.status_errors import (
    ApiError,
    Cause,
    bad_request,
    invalid,
    unsupported_media_type,
)
from actors.kube.yamls import from_yaml
from cloud.apiserver import names

if TYPE_CHECKING:
    from multidict import MultiMapping

Object = dict[str, Any]

JSON = "application/json"
YAML = "application/yaml"
_OBJECT_TYPES = (JSON, YAML, protobuf.CONTENT_TYPE)
APPLY_PATCH = "application/apply-patch+yaml"
_PATCH_TYPES = (JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH, APPLY_PATCH)
MAX_MANAGER = 128  # characters of a field manager's name


class FieldValidation(StrEnum):
    IGNORE = "Ignore"
    WARN = "Warn"
    STRICT = "Strict"


@dataclass(frozen=True, slots=True)
class WriteOptions:
    dry_run: bool = False
    validation: FieldValidation = FieldValidation.WARN
    manager: str = ""  # of fields, if the client names one
    force: bool = False  # an apply takes fields from others


def write_options(query: MultiMapping[str], kind: str = "CreateOptions") -> WriteOptions:
    """Raises ApiError 422."""
    manager = query.get("fieldManager", "")
    causes: list[Cause] = []
    dry_run = query.getall("dryRun", [])
    causes += [names.not_supported("dryRun", v, ("All",)) for v in dry_run if v not in ("", "All")]
    validation = query.get("fieldValidation", "") or FieldValidation.WARN
    if validation not in list(FieldValidation):
        known = tuple(sorted(FieldValidation))
        causes.append(names.not_supported("fieldValidation", validation, known))
    causes += _manager_faults(manager)
    if causes:
        raise invalid("meta.k8s.io", kind, "", causes)
    force = is_true(query["force"]) if "force" in query else False
    return WriteOptions(bool(any(dry_run)), FieldValidation(validation), manager, force)


def _manager_faults(manager: str) -> Iterator[Cause]:
    if len(manager) > MAX_MANAGER:
        text = f"Too long: may not be more than {MAX_MANAGER} bytes"
        yield Cause("FieldValueTooLong", text, "fieldManager")
    if not manager.isprintable():
        why = "should only contain printable characters"
        yield names.invalid_value("fieldManager", manager, why)


def check_patch(options: WriteOptions, content_type: str) -> None:
    """Options that only one type of patch needs, or takes. Raises ApiError 422."""
    causes = []
    if content_type == APPLY_PATCH and not options.manager:
        causes.append(names.required("fieldManager", "is required for apply patch"))
    if content_type != APPLY_PATCH and options.force:
        causes.append(names.forbidden("force", "may not be specified for non-apply patch"))
    if causes:
        raise invalid("meta.k8s.io", "PatchOptions", "", causes)


def manager_name(options: WriteOptions, user_agent: str) -> str:
    """Whose fields this write sets: as the client says, else its program's name."""
    if options.manager:
        return options.manager
    program = "".join(c for c in user_agent.partition("/")[0] if c.isprintable())
    return program[:MAX_MANAGER] or "unknown"


def decode_body(body: bytes, content_type: str) -> Any:
    """Raises ApiError 400 or 415. The type is without parameters; "" is JSON."""
    if content_type in (JSON, "application/octet-stream", ""):
        return _json(body)
    if content_type in (YAML, "text/yaml", "application/x-yaml"):
        try:
            return from_yaml(body)
        except ValueError as error:
            raise bad_request(f"error converting YAML to JSON: {error}") from error
    if content_type == protobuf.CONTENT_TYPE:
        return _protobuf(body)
    raise unsupported_media_type(_OBJECT_TYPES)


def _protobuf(body: bytes) -> Object:
    try:
        return protobuf.decode(body)
    except protobuf.Undecodable as error:
        raise bad_request(f"couldn't get version/kind; protobuf error: {error}") from error
    except protobuf.NotKnown as error:
        others = ", ".join(_OBJECT_TYPES[:-1])
        message = (
            f"this API server cannot read {error} in {protobuf.CONTENT_TYPE};"
            f" accepted media types for it include: {others}"
        )
        raise ApiError(415, "UnsupportedMediaType", message) from error


def _json(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        why = str(error) or "invalid JSON"
        raise bad_request(
            f"couldn't get version/kind; json parse error: {why[0].lower()}{why[1:]}"
        ) from error


def decode_object(body: bytes, content_type: str, resource: Resource) -> Object:
    """An object of that resource. Raises ApiError 400 or 415."""
    obj = decode_body(body, content_type)
    if not isinstance(obj, dict):
        raise bad_request(f"the object provided is unrecognized (must be of type {resource.kind})")
    return _of_kind(obj, resource)


def _of_kind(obj: Object, resource: Resource) -> Object:
    api_version = obj.get("apiVersion") or resource.api_version
    kind = obj.get("kind") or resource.kind
    if kind != resource.kind:
        raise bad_request(
            f"the kind in the data ({kind}) does not match the expected kind ({resource.kind})"
        )
    if api_version != resource.api_version:
        raise bad_request(
            f"the API version in the data ({api_version}) does not match the expected API version"
            f" ({resource.api_version})"
        )
    metadata = obj.get("metadata")
    if metadata is not None and not isinstance(metadata, dict):
        raise bad_request("json: cannot unmarshal metadata into field metadata of type object")
    head: Object = {"kind": kind, "apiVersion": api_version, "metadata": metadata or {}}
    return head | {name: value for name, value in obj.items() if name not in head}


def decode_patch(body: bytes, content_type: str, accepted: tuple[str, ...] = _PATCH_TYPES) -> Any:
    """Raises ApiError 400 or 415. An apply's body is not decoded here: see `decode_apply`."""
    if content_type not in accepted:
        raise unsupported_media_type(accepted)
    return None if content_type == APPLY_PATCH else _json(body)


def patch_types(is_custom: bool) -> tuple[str, ...]:
    return (JSON_PATCH, MERGE_PATCH, APPLY_PATCH) if is_custom else _PATCH_TYPES


def decode_apply(body: bytes, resource: Resource) -> Object:
    """What is to be applied, with its type told in full. Raises ApiError 400."""
    try:  # JSON is YAML that is read much faster
        obj = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        obj = _yaml(body)
    if not isinstance(obj, dict):
        raise bad_request("error decoding YAML: the configuration is no object")
    for head in ("apiVersion", "kind"):
        if not obj.get(head):
            raise bad_request(f"Object '{head[0].upper()}{head[1:]}' is missing in the patch")
    return _of_kind(obj, resource)


def _yaml(body: bytes) -> Any:
    try:
        return from_yaml(body)
    except ValueError as error:
        raise bad_request(f"error decoding YAML: {error}") from error


def delete_options(body: bytes, content_type: str, query: MultiMapping[str]) -> Object:
    """DeleteOptions from the body, else the query. Raises ApiError 400, 415 or 422."""
    given = decode_body(body, content_type) if body.strip() else _from_query(query)
    if not isinstance(given, dict) or given.get("kind", "DeleteOptions") != "DeleteOptions":
        raise bad_request("the object provided is unrecognized (must be of type DeleteOptions)")
    options: Object = given
    _check_delete(options)
    return options


def _from_query(query: MultiMapping[str]) -> Object:
    options: Object = {}
    if "gracePeriodSeconds" in query:
        try:
            options["gracePeriodSeconds"] = int(query["gracePeriodSeconds"])
        except ValueError as error:
            raise bad_request(f"gracePeriodSeconds: {error}") from error
    if "propagationPolicy" in query:
        options["propagationPolicy"] = query["propagationPolicy"]
    if "orphanDependents" in query:
        options["orphanDependents"] = is_true(query["orphanDependents"])
    return options


POLICIES = ("Background", "Foreground", "Orphan")


def _check_delete(options: Object) -> None:
    causes = []
    policy = options.get("propagationPolicy")
    if policy is not None and policy not in POLICIES:
        causes.append(names.not_supported("propagationPolicy", policy, POLICIES))
    dry_run = options.get("dryRun") or ()
    causes += [names.not_supported("dryRun", v, ("All",)) for v in dry_run if v != "All"]
    grace = options.get("gracePeriodSeconds")
    if grace is not None and (not isinstance(grace, int) or grace < 0):
        why = "must be a non-negative integer"
        causes.append(names.invalid_value("gracePeriodSeconds", grace, why))
    if causes:
        raise invalid("meta.k8s.io", "DeleteOptions", "", causes)


def propagation(options: Object) -> str:
    """The policy asked for; background is the default of all kinds we keep."""
    policy = options.get("propagationPolicy")
    if policy:
        return str(policy)
    return "Orphan" if options.get("orphanDependents") else "Background"
