"""From what a client sent to the object that shall be kept. Pure: nothing is read or written here.

Order as upstream: system fields, decoding (unknown members), defaults, validation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from actors.kube.resource import Resource
from actors.kube.status_errors import ApiError, Cause, bad_request, invalid
from cloud.apiserver import metadata, names
from cloud.apiserver.codec import Codec
from cloud.apiserver.kinds.kind import Kind
from cloud.apiserver.requests import FieldValidation

Object = dict[str, Any]
Allocate = Callable[[Object], Iterator[Cause]]


def no_allocation(obj: Object) -> Iterator[Cause]:
    return iter(())


@dataclass(frozen=True)
class Rules:
    """All that decides how one request's object is treated."""

    resource: Resource
    kind: Kind
    codec: Codec
    wall: float
    validation: FieldValidation = FieldValidation.WARN
    is_custom: bool = False
    allocate: Allocate = no_allocation

    @property
    def has_status(self) -> bool:
        return "status" in self.resource.subresources

    def refuse(self, obj: Object, causes: Sequence[Cause]) -> ApiError:
        name = obj["metadata"].get("name", "")
        return invalid(self.resource.group, self.resource.kind, name, causes)


@dataclass(frozen=True)
class Prepared:
    obj: Object
    warnings: tuple[str, ...] = ()


def create(rules: Rules, obj: Object, namespace: str) -> Prepared:
    """Raises ApiError 400 or 422."""
    obj, missing, warnings = _decoded(rules, obj)
    meta = obj["metadata"]
    metadata.fill_new(meta, namespace, rules.wall, rules.kind.generation)
    if not meta.get("name"):
        why = "name or generateName is required"
        raise rules.refuse(obj, [names.required("metadata.name", why)])
    if rules.has_status and not rules.kind.free_status:
        obj.pop("status", None)
    _finish(rules, obj, None, missing)
    return Prepared(obj, warnings)


def update(rules: Rules, obj: Object, old: Object) -> Prepared:
    """An update of all but the status. Raises ApiError 400, 409 or 422."""
    obj, missing, warnings = _decoded(rules, obj)
    _check_target(rules, obj, old)
    metadata.carry_over(obj["metadata"], old["metadata"])
    if rules.has_status:
        _take(obj, old, "status")
    _finish(rules, obj, old, missing)
    if rules.kind.generation and _desired(rules, obj) != _desired(rules, old):
        metadata.bump_generation(obj, old)
    return Prepared(obj, warnings)


def update_status(rules: Rules, obj: Object, old: Object) -> Prepared:
    """Only the status changes, and for built-in kinds what metadata clients may write."""
    obj, _, warnings = _decoded(rules, obj)
    _check_target(rules, obj, old)
    new = dict(old)
    _take(new, obj, "status")
    if not rules.is_custom:
        new["metadata"] = obj["metadata"]
        metadata.carry_over(new["metadata"], old["metadata"])
    new["metadata"] = dict(new["metadata"])
    _check(rules, new, old, ())
    return Prepared(new, warnings)


def _take(obj: Object, source: Object, member: str) -> None:
    if member in source:
        obj[member] = source[member]
    else:
        obj.pop(member, None)


def _decoded(rules: Rules, obj: Object) -> tuple[Object, Sequence[Cause], tuple[str, ...]]:
    """The object with what its schema knows; unknown members as `fieldValidation` asks."""
    decoded = rules.codec.decode(obj)
    if not isinstance(decoded.obj.get("metadata"), dict):
        decoded.obj["metadata"] = {}
    if not decoded.unknown or rules.validation is FieldValidation.IGNORE:
        return decoded.obj, decoded.missing, ()
    texts = [f'unknown field "{path}"' for path in decoded.unknown]
    if rules.validation is FieldValidation.WARN:
        return decoded.obj, decoded.missing, tuple(texts)
    kind = rules.resource.kind
    raise bad_request(
        f'{kind} in version "{rules.resource.version}" cannot be handled as a {kind}:'
        f" strict decoding error: {', '.join(texts)}"
    )


def _check_target(rules: Rules, obj: Object, old: Object) -> None:
    meta, resource = obj["metadata"], rules.resource
    if not (meta.get("resourceVersion") or rules.kind.unconditional):
        cause = names.invalid_value(
            "metadata.resourceVersion", _Zero(), "must be specified for an update"
        )
        raise rules.refuse(obj, [cause])
    metadata.check_update(meta, old["metadata"], resource.group, resource.plural)


class _Zero:
    def __str__(self) -> str:
        return "0x0"  # as Go prints it


def _finish(rules: Rules, obj: Object, old: Object | None, missing: Sequence[Cause]) -> None:
    rules.kind.default(obj, old)
    _check(rules, obj, old, missing)


def _check(rules: Rules, obj: Object, old: Object | None, missing: Sequence[Cause]) -> None:
    causes = [*names.metadata_faults(obj["metadata"], rules.kind.name_check), *missing]
    if old is not None and (fault := metadata.check_finalizers(obj["metadata"], old["metadata"])):
        causes.append(fault)
    if not missing:  # what is not there at all would be told twice, or trip the checks
        causes += rules.kind.validate(obj, old)
    causes += rules.codec.check(obj)
    if not causes:
        causes += rules.allocate(obj)
    if causes:
        raise rules.refuse(obj, causes)


def _desired(rules: Rules, obj: Object) -> Object:
    """What a change of bumps the generation: everything but metadata and status."""
    skip = {"metadata", "apiVersion", "kind"} | ({"status"} if rules.has_status else set())
    return {name: value for name, value in obj.items() if name not in skip}
