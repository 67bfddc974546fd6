"""From one request's objects to the entries that its object gets: for the writer. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from actors.kube.resource import Resource
from cloud.apiserver.apply import config as configs
from cloud.apiserver.apply import ownership
from cloud.apiserver.apply.ownership import Application, Conflicts, Entries, Manager
from cloud.apiserver.apply.structure import Structure

Object = dict[str, Any]

# Members of a Service's spec that nobody owns who did not ask for them.
_ALLOCATED = ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "healthCheckNodePort")
_IDENTITY = ("name", "namespace", "uid", "resourceVersion")


@dataclass(frozen=True)
class Scope:
    """One write: by whom, to what kind of object, through which of its endpoints."""

    structure: Structure
    resource: Resource
    subresource: str
    is_custom: bool
    manager: str
    time: str
    force: bool = False

    @property
    def without(self) -> tuple[str, ...]:
        """What this endpoint leaves alone, and so gives nobody."""
        has_status = "status" in self.resource.subresources
        return ("status",) if has_status and not self.subresource else ()

    def by(self, operation: str) -> Manager:
        return Manager(self.manager, operation, self.resource.api_version, self.subresource)


def entries_of(obj: Object) -> Entries:
    """Shared: not to be changed. Unreadable ones, which only bulk loading can leave, are none."""
    entries: Entries = obj["metadata"].get("managedFields") or []
    return entries if ownership.is_readable(entries) else []


def put_entries(obj: Object, entries: Entries) -> None:
    if entries:
        obj["metadata"]["managedFields"] = entries
    else:
        obj["metadata"].pop("managedFields", None)


def start_of_update(scope: Scope, metadata: Object, held: Entries) -> Entries:
    """The entries that an update starts from: the held ones, unless the client gives others.

    Takes them out of `metadata` where there is nothing in them to check.
    """
    raw = metadata.get("managedFields")
    if raw is None or raw == held or scope.subresource:
        metadata.pop("managedFields", None)
        return held
    given = ownership.given(raw)
    return held if given is None else given


def created(scope: Scope, obj: Object, asked: Object) -> Entries:
    """Entries of a new object; `asked`: as its client sent it."""
    shown = ownership.tracked(obj, scope.without)
    if scope.resource.plural == "services" and not scope.resource.group:
        shown["spec"] = _without_allocated(shown["spec"], asked.get("spec") or {})
    who, frames = scope.by(ownership.UPDATE), not scope.is_custom
    return ownership.created(scope.structure, shown, who, scope.time, frames)


def _without_allocated(spec: Object, asked: Object) -> Object:
    kept = {n: v for n, v in spec.items() if n not in _ALLOCATED or n in asked}
    if "ports" in spec:
        pairs = zip(spec["ports"], asked.get("ports") or (), strict=False)
        kept["ports"] = [_without_node_port(port, of) for port, of in pairs]
    return kept


def _without_node_port(port: Object, asked: Object) -> Object:
    return {n: v for n, v in port.items() if n != "nodePort" or n in asked}


def updated(scope: Scope, entries: Entries, old: Object, new: Object) -> Entries:
    """The same list where nothing changed that anybody owns."""
    one, other = ownership.tracked(old), ownership.tracked(new)
    who = scope.by(ownership.UPDATE)
    return ownership.updated(scope.structure, entries, one, other, who, scope.time)


def applied_new(scope: Scope, config: Object) -> Entries:
    return ownership.applied_new(_application(scope, None), config)


def applied(scope: Scope, live: Object, config: Object) -> tuple[Object, Entries]:
    """(the object, its entries). The object may share with both. Raises ApiError 409."""
    config = _in_scope(scope, config)
    is_kubectl = scope.manager == configs.KUBECTL
    try:
        new, entries = ownership.applied(
            _application(scope, live if is_kubectl else None), live, config, entries_of(live)
        )
    except Conflicts as error:
        raise ownership.conflict_error(error.conflicts) from error
    if is_kubectl and configs.last_applied(live):
        new = configs.note_applied(new, config)
    return new, entries


def _application(scope: Scope, live: Object | None) -> Application:
    """`live`: where what client-side apply set may change without a conflict."""
    allowed = None
    if live is not None and configs.last_applied(live):
        allowed = configs.still_applied(scope.structure, live)
    return Application(
        scope.structure,
        scope.by(ownership.APPLY),
        scope.time,
        scope.force,
        scope.without,
        allowed,
    )


def _in_scope(scope: Scope, config: Object) -> Object:
    """To a status, only that is applied, and to built-in kinds what metadata clients may write."""
    if scope.subresource != "status":
        return config
    kept = _only(config, ("apiVersion", "kind", "metadata", "status"))
    if scope.is_custom:
        kept["metadata"] = _only(config["metadata"], _IDENTITY)
    return kept


def _only(obj: Object, names: Sequence[str]) -> Object:
    return {name: obj[name] for name in names if name in obj}
