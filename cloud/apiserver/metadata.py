"""What the server does with `metadata`: system fields, versions, generations. Pure.

Source: k8s.io/apiserver/pkg/registry/rest (BeforeCreate, BeforeUpdate).
"""

from __future__ import annotations

import datetime
import uuid
from typing import Any

from actors.kube.status_errors import ApiError, Cause, bad_request, conflict
from cloud.apiserver import names

Object = dict[str, Any]

# Members of metadata that only the server sets.
_OWN = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation")
_DROPPED = ("selfLink", "managedFields", "clusterName")  # the writer puts back managedFields


def timestamp(wall: float) -> str:
    """RFC 3339 in whole seconds, as metav1.Time."""
    at = datetime.datetime.fromtimestamp(int(wall), datetime.UTC)
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def check_namespace(metadata: Object, namespace: str) -> None:
    """The URL decides; a body that says otherwise is a mistake. Raises ApiError 400."""
    said = metadata.get("namespace", "")
    if said not in ("", namespace):
        raise bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )


def fill_new(metadata: Object, namespace: str, wall: float, has_generation: bool) -> None:
    """Metadata of an object to be created, in place. Raises ApiError 400."""
    if metadata.get("resourceVersion"):
        raise bad_request("resourceVersion should not be set on objects to be created")
    check_namespace(metadata, namespace)
    for name in (*_OWN, *_DROPPED, "resourceVersion"):
        metadata.pop(name, None)
    if namespace:
        metadata["namespace"] = namespace
    if not metadata.get("name") and metadata.get("generateName"):
        metadata["name"] = names.generate(metadata["generateName"])
    metadata["uid"] = str(uuid.uuid4())
    metadata["creationTimestamp"] = timestamp(wall)
    if has_generation:
        metadata["generation"] = 1


def carry_over(new: Object, old: Object) -> None:
    """System fields of an update are those of the old object, in place."""
    for name in _OWN:
        if name in old:
            new[name] = old[name]
        else:
            new.pop(name, None)
    for name in _DROPPED:
        new.pop(name, None)
    for name in ("name", "namespace", "generateName"):
        if name in old:
            new[name] = old[name]


def check_update(metadata: Object, old: Object, group: str, plural: str) -> None:
    """Is this an update of that object, as it is now? Raises ApiError 400 or 409."""
    name, said = old["name"], metadata.get("name", "")
    if said != name:
        raise bad_request(
            f"the name of the object ({said}) does not match the name on the URL ({name})"
        )
    check_namespace(metadata, old.get("namespace", ""))
    uid = metadata.get("uid") or old["uid"]
    if uid != old["uid"]:
        why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {old['uid']}"
        raise conflict(group, plural, name, why)
    if (metadata.get("resourceVersion") or old["resourceVersion"]) != old["resourceVersion"]:
        raise conflict(group, plural, name)


def check_finalizers(new: Object, old: Object) -> Cause | None:
    """An object on its way out takes no new finalizers."""
    if "deletionTimestamp" not in old:
        return None
    added = [f for f in new.get("finalizers", ()) if f not in old.get("finalizers", ())]
    if not added:
        return None
    why = (
        "no new finalizers can be added if the object is being deleted,"
        f" found new finalizers {added!r}".replace("'", '"')
    )
    return names.forbidden("metadata.finalizers", why)


def bump_generation(new: Object, old: Object) -> None:
    """The desired state changed."""
    new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1


def check_preconditions(options: Object, old: Object, group: str, plural: str) -> None:
    """DeleteOptions.preconditions. Raises ApiError 409."""
    wanted = options.get("preconditions") or {}
    for field, label in (("uid", "UID"), ("resourceVersion", "ResourceVersion")):
        value = wanted.get(field)
        if value is not None and value != old[field]:
            raise _unmet(label, value, old, field, group, plural)


def _unmet(label: str, value: str, old: Object, field: str, group: str, plural: str) -> ApiError:
    why = (
        f"the {label} in the precondition ({value}) does not match the {label} in record"
        f" ({old[field]}). The object might have been deleted and then recreated"
    )
    return conflict(group, plural, old["name"], why)
