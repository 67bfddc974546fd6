"""Who manages which fields: what each write does to `metadata.managedFields`. Pure.

An entry is one manager's set of fields, told apart by manager, operation, version and subresource
(`Apply` is one row whatever the version). All updates are tracked, as upstream, but for objects
that have no entries at all: those that were loaded past the API, or whose entries were reset.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from actors.kube.status_errors import ApiError
from cloud.apiserver.apply import typed
from cloud.apiserver.apply.fieldsets import (
    Fields,
    Path,
    canonical,
    difference,
    intersection,
    paths,
    shown,
    union,
)
from cloud.apiserver.apply.structure import Structure

Object = dict[str, Any]
Entries = list[Object]

APPLY = "Apply"
UPDATE = "Update"
MAX_UPDATERS = 10  # more are merged, oldest first
BEFORE = "before-first-apply"  # owns what an object without entries had
ANCIENT = "ancient-changes"

# The server's own: nobody manages them.
_STRIPPED = frozenset(
    [
        "name",
        "namespace",
        "creationTimestamp",
        "selfLink",
        "uid",
        "clusterName",
        "generation",
        "managedFields",
        "resourceVersion",
    ]
)


class Manager(NamedTuple):
    """Whose fields an entry holds."""

    name: str
    operation: str
    api_version: str
    subresource: str = ""

    def same(self) -> tuple[str, ...]:
        version = "" if self.operation == APPLY else self.api_version
        return (self.name, self.operation, version, self.subresource)


class Conflict(NamedTuple):
    entry: Object
    path: Path


class Conflicts(Exception):
    """Others own fields that would change."""

    def __init__(self, conflicts: Sequence[Conflict]) -> None:
        super().__init__(f"{len(conflicts)} conflicts")
        self.conflicts = conflicts


# -- entries ---------------------------------------------------------------------------------------


def manager_of(entry: Object) -> Manager:
    return Manager(
        entry.get("manager", ""),
        entry.get("operation", ""),
        entry.get("apiVersion", ""),
        entry.get("subresource", ""),
    )


def entry_of(manager: Manager, fields: Fields, time: str) -> Object:
    entry = {
        "manager": manager.name,
        "operation": manager.operation,
        "apiVersion": manager.api_version,
        "time": time,
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
    }
    return entry | ({"subresource": manager.subresource} if manager.subresource else {})


def given(raw: Any) -> Entries | None:
    """What an update sets explicitly; [] resets. None: nothing, or nothing that can be read."""
    if raw in ([], [{}]):
        return []
    if not isinstance(raw, list):
        return None
    try:
        entries = [_checked(entry) for entry in raw]
    except (TypeError, ValueError, RecursionError):
        return None
    return list({manager_of(entry).same(): entry for entry in entries}.values())


def is_readable(raw: Any) -> bool:
    """Whether these are entries, without a look into their fields."""
    return isinstance(raw, list) and all(
        isinstance(entry, dict)
        and entry.get("operation") in (APPLY, UPDATE)
        and entry.get("fieldsType") == "FieldsV1"
        and isinstance(entry.get("fieldsV1"), dict)
        for entry in raw
    )


def _checked(entry: Any) -> Object:
    if not is_readable([{"fieldsV1": {}} | entry]):
        raise ValueError("managed fields of an unknown operation or type")
    fields = {el: node for el, node in canonical(entry.get("fieldsV1") or {}).items() if el != "."}
    return {**entry, "fieldsV1": fields}


def _sorted(entries: Sequence[Object]) -> Entries:
    """As upstream shows them: appliers first, then by time."""
    order = ("operation", "time", "manager", "apiVersion", "subresource")
    return sorted(entries, key=lambda entry: [entry.get(name) or "" for name in order])


def settled(entries: Entries, held: Entries) -> Entries:
    """The held ones, if the new ones differ only in their times."""
    known = {manager_of(entry): _timeless(entry) for entry in held}
    new = {manager_of(entry): _timeless(entry) for entry in entries}
    return held if new == known else entries


def _timeless(entry: Object) -> Object:
    return {name: value for name, value in entry.items() if name != "time"}


def _reduced(entries: Sequence[Object], fields: Fields) -> Entries:
    """Without these fields, and without those that have none left."""
    result: Entries = []
    for entry in entries:
        left = difference(entry["fieldsV1"], fields)
        if left:
            result.append(entry if left == entry["fieldsV1"] else {**entry, "fieldsV1": left})
    return result


# -- what is tracked of an object ------------------------------------------------------------------


def tracked(obj: Object, without: Sequence[str] = ()) -> Object:
    """The object without what only the server sets, and without these members."""
    skip = ("apiVersion", "kind", *without)
    result = {name: value for name, value in obj.items() if name not in skip}
    metadata = obj.get("metadata") or {}
    left = {name: value for name, value in metadata.items() if name not in _STRIPPED}
    if left:
        result["metadata"] = left
    else:
        result.pop("metadata", None)
    return result


def _blank(structure: Structure, obj: Object, frames: bool) -> Object:
    """As upstream's new object of a built-in type, whose `spec` is always there."""
    return {
        name: {}
        for name, value in obj.items()
        if isinstance(value, dict)
        and value
        and (name == "metadata" or (frames and structure.member(name).is_struct))
    }


# -- writes ----------------------------------------------------------------------------------------


def created(structure: Structure, new: Object, who: Manager, time: str, frames: bool) -> Entries:
    """Entries of a new object. `frames`: the type is built in (see `_blank`). `new` is tracked."""
    changed, _ = typed.compare(structure, _blank(structure, new, frames), new)
    return [entry_of(who, changed, time)] if changed else []


def updated(
    structure: Structure, entries: Entries, old: Object, new: Object, who: Manager, time: str
) -> Entries:
    """Entries after an update; the same list if it changes nothing. Objects are tracked."""
    if not entries:
        return entries
    changed, removed = typed.compare(structure, old, new)
    if not changed and not removed:
        return entries
    me = who.same()
    others = [entry for entry in entries if manager_of(entry).same() != me]
    mine = [entry for entry in entries if manager_of(entry).same() == me]
    result = _reduced(others, union(changed, removed))
    before = mine[0]["fieldsV1"] if mine else {}
    if changed:
        fields = union(difference(before, removed), changed)
        result.append(entry_of(who, fields, time))
    else:
        result += _reduced(mine, removed)
    return _sorted(_capped(result))


def _capped(entries: Entries) -> Entries:
    """Updates of the longest ago share an entry for each version once there are too many."""
    updaters = [entry for entry in entries if entry["operation"] == UPDATE]
    surplus = len(updaters) - MAX_UPDATERS
    if surplus <= 0:
        return entries
    merged: dict[str, list[Object]] = {}
    for entry in _sorted(updaters):
        of_version = merged.setdefault(entry.get("apiVersion", ""), [])
        of_version.append(entry)
        surplus -= len(of_version) > 1
        if surplus <= 0:
            break
    groups = {version: group for version, group in merged.items() if len(group) > 1}
    gone = {id(entry) for group in groups.values() for entry in group}
    kept = [entry for entry in entries if id(entry) not in gone]
    for version, group in groups.items():
        fields: Fields = {}
        for entry in group:
            fields = union(fields, entry["fieldsV1"])
        time = max(entry.get("time") or "" for entry in group)
        kept.append(entry_of(Manager(ANCIENT, UPDATE, version), fields, time))
    return kept


@dataclass(frozen=True)
class Application:
    """One apply: whose, when, and what of the objects is in its scope."""

    structure: Structure
    who: Manager
    time: str
    force: bool = False
    without: tuple[str, ...] = ()  # members that this endpoint ignores
    allowed: Fields | None = None  # conflicts about these fields are none


def applied_new(application: Application, config: Object) -> Entries:
    """Entries of an object that an apply creates."""
    fields = typed.fields_of(application.structure, tracked(config, application.without))
    return [entry_of(application.who, fields, application.time)] if fields else []


def applied(
    application: Application, live: Object, config: Object, entries: Entries
) -> tuple[Object, Entries]:
    """(the object that results, its entries). Raises Conflicts. `live` may be shared into it."""
    structure, who = application.structure, application.who
    now = tracked(live, application.without)
    if not entries:
        before = Manager(BEFORE, UPDATE, who.api_version)
        entries = created(structure, now, before, application.time, frames=True)
    others = [entry for entry in entries if manager_of(entry).same() != who.same()]
    own = [entry["fieldsV1"] for entry in entries if manager_of(entry).same() == who.same()]
    last: Fields = own[0] if own else {}
    mine = typed.fields_of(structure, tracked(config, application.without))
    new = typed.merge(structure, live, config)
    new = _pruned(structure, new, last, [mine, *(entry["fieldsV1"] for entry in others)])
    changed, removed = typed.compare(structure, now, tracked(new, application.without))
    _refuse_conflicts(application, others, changed)
    result = _reduced(others, union(changed, removed))
    if mine:
        result.append(entry_of(who, mine, application.time))
    return new, _sorted(result)


def _pruned(structure: Structure, obj: Object, last: Fields, owners: Sequence[Fields]) -> Object:
    """Without what the applier had set and no longer does, where nobody else has it."""
    if not last:
        return obj
    owned: Fields = {"f:metadata": {}}  # the frame of what only the server sets
    for fields in owners:
        owned = union(owned, fields)
    gone = difference(
        typed.with_structures(structure, last), typed.with_structures(structure, owned)
    )
    result: Object = typed.remove(structure, obj, gone) if gone else obj
    return result


def _refuse_conflicts(application: Application, others: Sequence[Object], changed: Fields) -> None:
    if application.force:
        return
    conflicts = list(_conflicts(others, difference(changed, application.allowed or {})))
    if conflicts:
        raise Conflicts(conflicts)


def _conflicts(others: Sequence[Object], changed: Fields) -> Iterator[Conflict]:
    for entry in others:
        for path in paths(intersection(entry["fieldsV1"], changed)):
            yield Conflict(entry, path)


# -- conflicts as clients see them -----------------------------------------------------------------


def conflict_error(conflicts: Sequence[Conflict]) -> ApiError:
    """409, with a cause for each field and each who owns it."""
    told = [(_owner(conflict.entry), shown(conflict.path)) for conflict in conflicts]
    causes = [
        {"reason": "FieldManagerConflict", "message": f"conflict with {owner}", "field": path}
        for owner, path in told
    ]
    return ApiError(409, "Conflict", _conflict_text(told), {"causes": causes})


def _conflict_text(told: Sequence[tuple[str, str]]) -> str:
    if len(told) == 1:
        owner, path = told[0]
        return f"Apply failed with 1 conflict: conflict with {owner}: {path}"
    texts = []
    for owner in sorted({owner for owner, _ in told}):
        fields = "\n".join(f"- {path}" for other, path in told if other == owner)
        texts.append(f"conflicts with {owner}:\n{fields}")
    return f"Apply failed with {len(told)} conflicts: " + "\n".join(texts)


def _owner(entry: Object) -> str:
    manager = manager_of(entry)
    text = f'"{manager.name}"'
    if manager.subresource:
        text += f' with subresource "{manager.subresource}"'
    return f"{text} using {manager.api_version}" if manager.operation == UPDATE else text
