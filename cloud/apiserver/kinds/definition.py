"""CustomResourceDefinitions: defaults, validation, conditions. Pure.

They are established as soon as they are accepted: there is nothing to wait for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from actors.kube.status_errors import Cause
from cloud.apiserver.kinds.kind import Kind, Object
from cloud.apiserver.names import (
    dns_label_1035,
    dns_subdomain,
    immutable,
    invalid_value,
    not_supported,
    required,
)

CRDS = "customresourcedefinitions.apiextensions.k8s.io"
CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
SCOPES = ("Cluster", "Namespaced")
TYPES = ("array", "boolean", "integer", "number", "object", "string")
_SIMPLE_PATH = re.compile(r"(\.[A-Za-z_][A-Za-z0-9_-]*)+")
_FREE = ("int-or-string", "preserve-unknown-fields")


def default(crd: Object, old: Object | None) -> None:
    spec = crd.setdefault("spec", {})
    names = spec.setdefault("names", {})
    if kind := names.get("kind"):
        names.setdefault("singular", kind.lower())
        names.setdefault("listKind", f"{kind}List")
    spec.setdefault("conversion", {}).setdefault("strategy", "None")
    metadata = crd["metadata"]
    if old is None:
        metadata["finalizers"] = [*metadata.get("finalizers", ()), CLEANUP]
    _default_status(crd, names, metadata.get("creationTimestamp"))


def _default_status(crd: Object, names: Object, since: Any) -> None:
    status = crd.setdefault("status", {})
    status["acceptedNames"] = names
    stored = [v["name"] for v in crd["spec"].get("versions", ()) if v.get("storage")]
    known = status.get("storedVersions", [])
    status["storedVersions"] = known + [name for name in stored if name not in known]
    texts = (
        ("NamesAccepted", "NoConflicts", "no conflicts found"),
        ("Established", "InitialNamesAccepted", "the initial names have been accepted"),
    )
    status.setdefault(
        "conditions",
        [
            {
                "type": type_,
                "status": "True",
                "reason": reason,
                "message": message,
                "lastTransitionTime": since,
            }
            for type_, reason, message in texts
        ],
    )


def validate(crd: Object, old: Object | None) -> Iterator[Cause]:
    spec, names = crd["spec"], crd["spec"]["names"]
    group, plural = spec.get("group", ""), names.get("plural", "")
    if fault := dns_subdomain(group):
        yield invalid_value("spec.group", group, fault) if group else required("spec.group")
    elif "." not in group:
        yield invalid_value("spec.group", group, "should be a domain with at least one dot")
    expected = f"{plural}.{group}"
    if crd["metadata"]["name"] != expected:
        why = 'must be spec.names.plural+"."+spec.group'
        yield invalid_value("metadata.name", crd["metadata"]["name"], why)
    if spec.get("scope") not in SCOPES:
        yield not_supported("spec.scope", spec.get("scope", ""), SCOPES)
    yield from _name_faults(names)
    if spec["conversion"]["strategy"] != "None":
        yield not_supported("spec.conversion.strategy", spec["conversion"]["strategy"], ("None",))
    if spec.get("preserveUnknownFields"):
        why = "must be false in order to use defaults in the schema"
        yield invalid_value("spec.preserveUnknownFields", True, why)
    yield from _version_faults(spec.get("versions", []))
    if old is not None:
        yield from _change_faults(spec, old["spec"])


def _name_faults(names: Object) -> Iterator[Cause]:
    for member in ("plural", "singular", "kind", "listKind"):
        name = names.get(member, "")
        if not name:
            yield required(f"spec.names.{member}")
        elif fault := dns_label_1035(name.lower()):
            yield invalid_value(f"spec.names.{member}", name, fault)


def _version_faults(versions: list[Object]) -> Iterator[Cause]:
    if sum(bool(version.get("storage")) for version in versions) != 1:
        why = "must have exactly one version marked as storage version"
        yield invalid_value("spec.versions", [v.get("name") for v in versions], why)
    seen: set[str] = set()
    for index, version in enumerate(versions):
        path, name = f"spec.versions[{index}]", version.get("name", "")
        if fault := dns_label_1035(name):
            yield invalid_value(f"{path}.name", name, fault)
        if name in seen:
            why = "must contain unique version names"
            yield invalid_value("spec.versions", name, why)
        seen.add(name)
        yield from _selectable_faults(version.get("selectableFields", []), path)
        schema = (version.get("schema") or {}).get("openAPIV3Schema")
        if not isinstance(schema, dict):
            yield required(f"{path}.schema.openAPIV3Schema", "schemas are required")
        else:
            yield from _schema_faults(schema, f"{path}.schema.openAPIV3Schema", is_root=True)


def _selectable_faults(fields: list[Object], path: str) -> Iterator[Cause]:
    paths = [each.get("jsonPath", "") for each in fields]
    for index, text in enumerate(paths):
        at = f"{path}.selectableFields[{index}].jsonPath"
        if not _SIMPLE_PATH.fullmatch(text):
            yield invalid_value(at, text, "is an invalid path: must be a simple path of members")
        elif text.startswith(".metadata"):
            yield invalid_value(at, text, "must not point to fields in metadata")
        elif any(other != text and other.startswith(f"{text}.") for other in paths):
            yield invalid_value(at, text, "must point to a string, boolean or integer")


def _schema_faults(schema: Any, path: str, is_root: bool = False) -> Iterator[Cause]:
    """That it is structural: every value has a type, or is said to be free."""
    if not isinstance(schema, dict):
        yield invalid_value(path, schema, "must be a schema")
        return
    kind = schema.get("type", "")
    free = (
        "x-kubernetes-int-or-string" in schema or "x-kubernetes-preserve-unknown-fields" in schema
    )
    if is_root and kind != "object":
        yield invalid_value(f"{path}.type", kind, "must be object at the root")
    elif not kind and not free:
        yield required(f"{path}.type", "must not be empty for specified object fields")
    elif kind and kind not in TYPES:
        yield not_supported(f"{path}.type", kind, TYPES)
    for name, below in (schema.get("properties") or {}).items():
        yield from _schema_faults(below, f"{path}.properties[{name}]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from _schema_faults(schema["additionalProperties"], f"{path}.additionalProperties")
    if "items" in schema:
        yield from _schema_faults(schema["items"], f"{path}.items")
    elif kind == "array":
        yield required(f"{path}.items", "must be specified")


def _change_faults(spec: Object, old: Object) -> Iterator[Cause]:
    for member in ("group", "scope"):
        if spec.get(member) != old.get(member):
            yield immutable(f"spec.{member}", spec.get(member))
    for member in ("plural", "kind"):
        if spec["names"].get(member) != old["names"].get(member):
            yield immutable(f"spec.names.{member}", spec["names"].get(member))


KIND = Kind(default=default, validate=validate, generation=True, unconditional=False)
