"""What a client applies: read, checked, and compared with what kubectl applied before. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from actors.kube.resource import Resource
from actors.kube.status_errors import ApiError, bad_request, conflict
from cloud.apiserver.apply import typed
from cloud.apiserver.apply.fieldsets import Fields, difference
from cloud.apiserver.apply.ownership import tracked
from cloud.apiserver.apply.structure import Structure
from cloud.apiserver.codec import Codec
from cloud.apiserver.custom import CustomCodec
from cloud.apiserver.requests import decode_apply

Object = dict[str, Any]
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
KUBECTL = "kubectl"  # the manager by whose applies kubectl's annotation is kept


def read(body: bytes, resource: Resource, codec: Codec, structure: Structure) -> Object:
    """The configuration as its type knows it, without defaults. Raises ApiError 400.

    A member that the type does not have is always a mistake, whatever `fieldValidation` says.
    """
    config = decode_apply(body, resource)
    if config["metadata"].get("managedFields"):
        raise bad_request("metadata.managedFields must be nil")
    decoded = (codec.known if isinstance(codec, CustomCodec) else codec.decode)(config)
    texts = [f".{path}: field not declared in schema" for path in decoded.unknown]
    texts += typed.faults(structure, decoded.obj)
    if texts:
        raise _unreadable(decoded.obj, resource, texts)
    return decoded.obj


def _unreadable(config: Object, resource: Resource, texts: list[str]) -> ApiError:
    """Upstream has the same text in a 500."""
    meta = config["metadata"]
    head = f"{resource.group}/{resource.version}, Kind={resource.kind}"
    name = f"{meta.get('namespace', '')}/{meta.get('name', '')}; {head}"
    why = texts[0] if len(texts) == 1 else "errors:\n" + "\n".join(f"  {each}" for each in texts)
    return bad_request(f"failed to create typed patch object ({name}): {why}")


def check_new(config: Object, resource: Resource, name: str) -> None:
    """Of an object that is not there yet. Raises ApiError 400 or 409."""
    meta = config["metadata"]
    if meta.get("uid"):
        why = (
            f"uid mismatch: the provided object specified uid {meta['uid']},"
            " and no existing object was found"
        )
        raise conflict(resource.group, resource.plural, name, why)
    if meta.get("resourceVersion"):
        raise conflict(resource.group, resource.plural, name)
    check_name(config, name)


def check_name(config: Object, name: str) -> None:
    """Raises ApiError 400."""
    said = config["metadata"].get("name")
    if not said:
        raise bad_request("name must be provided")
    if said != name:
        raise bad_request(
            f"the name of the object ({said}) does not match the name on the URL ({name})"
        )


# -- after client-side apply -----------------------------------------------------------------------


def last_applied(live: Object) -> str:
    """What kubectl noted when it last applied from its side; "" if it never did."""
    text = (live["metadata"].get("annotations") or {}).get(LAST_APPLIED, "")
    return str(text)


def still_applied(structure: Structure, live: Object) -> Fields:
    """Fields that client-side apply set and nobody changed since: no conflict for kubectl."""
    try:
        config = msgspec.json.decode(last_applied(live) or "{}", type=dict)
    except msgspec.DecodeError:
        return {}
    said, held = tracked(config), tracked(live)
    changed, removed = typed.compare(structure, said, held)
    fields = typed.fields_of(structure, said)
    return difference(difference(fields, changed), removed)


def note_applied(obj: Object, config: Object) -> Object:
    """With the annotation brought up to date, so that client-side apply may follow."""
    meta = dict(config["metadata"])
    annotations = dict(meta.pop("annotations", None) or {})
    annotations.pop(LAST_APPLIED, None)
    if annotations:
        meta["annotations"] = annotations
    text = msgspec.json.encode(config | {"metadata": meta}, order="sorted").decode() + "\n"
    held = obj["metadata"].get("annotations") or {}
    metadata = obj["metadata"] | {"annotations": held | {LAST_APPLIED: text}}
    return obj | {"metadata": metadata}
