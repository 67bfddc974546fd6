"""How a write that waited is replayed, and what is shown meanwhile. Pure.

* status: ours is the newest, and only what we changed of it is sent: conditions that others set
  meanwhile survive;
* all else: the server's state wins, what it did not change since becomes ours; what it did change
  is reported;
* an object that is gone, or another one of its name, is left alone and reported;
* a lease that has run out is of no use to anyone, nor one that the server has newer: no request;
* what is found done already is done: a process that died between an answer and its note repeats
  itself without harm.

Every request names the uid or the version that the plan rests on, so that a plan that rests on
something else fails with 409, and is made anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec

from actors.kube.patch import MERGE_PATCH, STRATEGIC_MERGE_PATCH
from actors.kube.resource import path_of
from edge.offline.entry import (
    SYSTEM,
    Entry,
    Kind,
    decoded,
    encoded,
    has_status,
    meta_of,
    metadata_types,
    status_of,
    types_of,
    uid_of,
    written,
)
from edge.offline.merge import Merge, Object, Types, covers, difference, patched, three_way
from edge.offline.policy import MIRROR

JSON = "application/json"


class Step(StrEnum):
    SEND = "send"
    DONE = "done"  # nothing to do (any more)
    DROP = "drop"  # it cannot be done, which is reported
    ASK = "ask"  # only what the server has can tell


@dataclass(frozen=True)
class Call:
    method: str
    path: str
    content_type: str
    body: Object


@dataclass(frozen=True)
class Action:
    """`why` is of DONE and DROP; `dropped` paths are reported though the rest is sent."""

    step: Step
    calls: tuple[Call, ...] = ()
    why: str = ""
    dropped: tuple[str, ...] = ()


def assumed(entry: Entry) -> Object | None:
    """What the server is taken to have, to save asking: what it had when we last heard."""
    return decoded(entry.base) if entry.base is not None else None


def plan(entry: Entry, server: Object | None, now: float, *, is_asked: bool = True) -> Action:
    """`server` is its object, None if it has none; not `is_asked`: it is as `assumed`."""
    if entry.is_lease and entry.kind is not Kind.DELETE and (skip := _useless(entry, server, now)):
        return Action(Step.DONE, why=skip)
    if entry.kind is Kind.CREATE:
        return _create(entry, server)
    if entry.kind is Kind.DELETE:
        return _delete(entry, server, is_asked)
    return _change(entry, server)


# -- creates --------------------------------------------------------------------------------------


def _create(entry: Entry, server: Object | None) -> Action:
    if server is None:
        path = path_of(entry.resource, entry.namespace)
        return Action(Step.SEND, (Call("POST", path, JSON, _fresh(entry.new)),))
    if is_same_thing(entry, server):
        return _create_over(entry, server)
    return Action(Step.DROP, why="another object of this name was created meanwhile")


def _create_over(entry: Entry, server: Object) -> Action:
    """It is there already: our own creation, of which we did not hear, or one before the cut."""
    ours = written(entry.new)
    if covers(written(server), ours) or not (entry.is_event or entry.is_lease):
        return Action(Step.DONE, why="it is there")
    if entry.is_event and _told(server) > _told(entry.new):
        return Action(Step.DONE, why="the API server's is newer")
    patch = difference(types_of(entry.resource), _common(written(server), ours), ours)
    return Action(Step.SEND, (_main_call(entry, server, patch),))


def _common(theirs: Object, ours: Object) -> Object:
    """Theirs without what only they have, which is not ours to remove."""
    return {
        name: _common(value, ours[name])
        if isinstance(value, dict) and isinstance(ours[name], dict)
        else value
        for name, value in theirs.items()
        if name in ours
    }


def is_same_thing(entry: Entry, server: Object) -> bool:
    ours = entry.new
    if entry.is_event:
        return all(bool(_of_event(ours, n) == _of_event(server, n)) for n in _EVENT_NAMES)
    if entry.is_lease:
        return bool(_holder(ours) == _holder(server))
    mine = (meta_of(ours).get("annotations") or {}).get(MIRROR)
    if entry.resource.plural == "pods":
        other = (meta_of(server).get("annotations") or {}).get(MIRROR)
        return mine is not None and bool(mine == other)
    return covers(written(server), written(ours))


_EVENT_NAMES = (("involvedObject", "regarding"), ("reason",))


def _of_event(event: Object, names: tuple[str, ...]) -> Any:
    """What it is about; the object's version and path in it may differ."""
    value = next((event[name] for name in names if name in event), None)
    if isinstance(value, dict):
        return tuple(value.get(name) for name in ("kind", "namespace", "name", "uid"))
    return value


def _told(event: Object) -> tuple[int, float]:
    """How often and when last."""
    series = event.get("series") or {}
    count = series.get("count") or event.get("count") or event.get("deprecatedCount") or 0
    at = series.get("lastObservedTime") or event.get("lastTimestamp")
    moment = _moment(at or event.get("deprecatedLastTimestamp"))
    return int(count), moment.timestamp() if moment else 0.0


def _fresh(obj: Object) -> Object:
    metadata = {name: value for name, value in meta_of(obj).items() if name not in SYSTEM}
    return obj | {"metadata": metadata}


def adopted(entry: Entry, answer: Object) -> Entry | None:
    """What is left of a creation once the server has the object: its status, if it has one."""
    ours = status_of(entry.new)
    if not has_status(entry.resource) or not ours or covers(status_of(answer), ours):
        return None
    answer = without_managers(answer)
    merged = answer | {"status": status_of(answer) | ours}
    return msgspec.structs.replace(
        entry, kind=Kind.CHANGE, base=encoded(answer), current=encoded(merged), is_main=False
    )


def renamed(entry: Entry, answer: Object) -> Entry:
    """A later write of an object that was created here: it is about the server's one."""
    fixed = {name: meta_of(answer)[name] for name in SYSTEM[:4] if name in meta_of(answer)}

    def of(raw: bytes | None) -> bytes | None:
        if raw is None:
            return None
        obj = decoded(raw)
        return encoded(obj | {"metadata": meta_of(obj) | fixed})

    if entry.kind is Kind.CREATE:
        return entry
    return msgspec.structs.replace(
        entry, base=of(entry.base), current=of(entry.current), is_local=False
    )


# -- deletes --------------------------------------------------------------------------------------


def _delete(entry: Entry, server: Object | None, is_asked: bool) -> Action:
    if entry.is_local and not is_asked:
        return Action(Step.ASK)
    if server is None:
        return Action(Step.DONE, why="it is gone")
    if not _is_deleted_one(entry, server):
        return Action(Step.DONE, why="it is gone, and another one in its place")
    options = {name: value for name, value in entry.options.items() if name != "preconditions"}
    head = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": uid_of(server)}}
    path = path_of(entry.resource, entry.namespace, entry.name)
    return Action(Step.SEND, (Call("DELETE", path, JSON, head | options),))


def _is_deleted_one(entry: Entry, server: Object) -> bool:
    if not entry.is_local:
        return uid_of(server) == entry.uid
    return is_same_thing(msgspec.structs.replace(entry, current=entry.base), server)


# -- changes --------------------------------------------------------------------------------------


def _change(entry: Entry, server: Object | None) -> Action:
    if server is None:
        if entry.is_event:  # it has run out there; clients that are told so create it anew
            path = path_of(entry.resource, entry.namespace)
            return Action(Step.SEND, (Call("POST", path, JSON, _fresh(entry.new)),))
        return Action(Step.DROP, why="the object is gone")
    if uid_of(server) != entry.uid:
        return Action(Step.DROP, why="the object was replaced by another one of its name")
    if entry.is_event:
        return _event_change(entry, server)
    if entry.is_lease and _holder(server) not in (_holder(entry.old), _holder(entry.new)):
        return Action(Step.DROP, why=f"the lease was taken by {_holder(server)!r} meanwhile")
    main = _merged_main(entry, server)
    patch, status = _main_patch(entry, server, main), _status_patch(entry)
    dropped = (*entry.dropped, *main.dropped)
    calls: list[Call] = []
    if patch and not entry.is_main and status:
        calls = [_main_call(entry, server, patch | {"status": status})]
    else:
        calls += [_main_call(entry, server, patch)] if patch else []
        calls += [_status_call(entry, status)] if status and has_status(entry.resource) else []
    if not calls:
        return Action(Step.DONE, why="it is as written", dropped=dropped)
    return Action(Step.SEND, tuple(calls), dropped=dropped)


def _event_change(entry: Entry, server: Object) -> Action:
    if _told(server) > _told(entry.new):
        return Action(Step.DONE, why="the API server's is newer")
    patch = difference(types_of(entry.resource), written(entry.old), written(entry.new))
    if not patch:
        return Action(Step.DONE, why="it is as written")
    return Action(Step.SEND, (_main_call(entry, server, patch, is_exact=False),))


def _merged_main(entry: Entry, server: Object) -> Merge:
    """All but the status."""
    base, ours, theirs = written(entry.old), written(entry.new), written(server)
    if entry.is_lease and _is_newer(entry.new, server):  # a lease is all status
        theirs = theirs | {"spec": ours["spec"]}
    types = types_of(entry.resource)
    rest = three_way(
        types, _without_metadata(base), _without_metadata(ours), _without_metadata(theirs)
    )
    metadata = three_way(
        metadata_types(), meta_of(base), meta_of(ours), meta_of(theirs), "metadata"
    )
    merged = rest.merged | {"metadata": metadata.merged}
    return Merge(merged, [*rest.dropped, *metadata.dropped])


def _without_metadata(obj: Object) -> Object:
    return {name: value for name, value in obj.items() if name != "metadata"}


def _main_patch(entry: Entry, server: Object, main: Merge) -> Object:
    patch = difference(types_of(entry.resource), written(server), main.merged)
    if not has_status(entry.resource) and (status := _status_patch(entry)):
        patch["status"] = status
    return patch


def _main_call(entry: Entry, server: Object, patch: Object, is_exact: bool = True) -> Call:
    """To where it was written: who may write only /status is not made to write elsewhere.

    `is_exact`: it was computed of this very version.
    """
    fixed = {"uid": uid_of(server)}
    if is_exact:
        fixed["resourceVersion"] = meta_of(server).get("resourceVersion", "")
    subresource = "" if entry.is_main or not has_status(entry.resource) else "status"
    return _patch_call(entry, subresource, patch | {"metadata": patch.get("metadata", {}) | fixed})


def _status_patch(entry: Entry) -> Object:
    return difference(_status_types(entry), status_of(entry.old), status_of(entry.new))


def _status_types(entry: Entry) -> Types:
    return types_of(entry.resource).member("status")


def _status_call(entry: Entry, status: Object) -> Call:
    return _patch_call(entry, "status", {"metadata": {"uid": entry.uid}, "status": status})


def _patch_call(entry: Entry, subresource: str, patch: Object) -> Call:
    path = path_of(entry.resource, entry.namespace, entry.name, subresource)
    is_strategic = types_of(entry.resource).is_strategic
    return Call("PATCH", path, STRATEGIC_MERGE_PATCH if is_strategic else MERGE_PATCH, patch)


# -- leases ---------------------------------------------------------------------------------------


def _useless(entry: Entry, server: Object | None, now: float) -> str:
    """Why this lease is not worth a request; "" if it is."""
    renewed = _renewed(entry.new)
    if renewed is None:
        return ""
    seconds = (entry.new.get("spec") or {}).get("leaseDurationSeconds")
    if isinstance(seconds, int) and renewed + timedelta(seconds=seconds) <= _at(now):
        return "the lease has run out"
    theirs = _renewed(server or {})
    if theirs is not None and theirs > renewed and _holder(server or {}) == _holder(entry.new):
        return "the API server's is newer"
    return ""


def _is_newer(ours: Object, theirs: Object) -> bool:
    """Of one holder."""
    mine, other = _renewed(ours), _renewed(theirs)
    is_later = mine is not None and (other is None or mine > other)
    return is_later and _holder(ours) == _holder(theirs)


def _renewed(lease: Object) -> datetime | None:
    return _moment((lease.get("spec") or {}).get("renewTime"))


def _moment(text: Any) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _at(now: float) -> datetime:
    return datetime.fromtimestamp(now, UTC)


def _holder(lease: Object) -> Any:
    return (lease.get("spec") or {}).get("holderIdentity")


# -- what is shown --------------------------------------------------------------------------------


def shown(entry: Entry, server: Object | None) -> Object | None:
    """The object with what this entry has to do with it still to come."""
    if entry.kind is Kind.CREATE:
        return (
            entry.new
            if server is None or not is_same_thing(entry, server)
            else _over(entry, server)
        )
    if entry.kind is Kind.DELETE:
        return _shown_deleted(entry, server)
    if server is None or uid_of(server) != entry.uid:
        return server
    main = _merged_main(entry, server).merged
    heads = {name: server[name] for name in ("kind", "apiVersion") if name in server}
    fixed = {name: meta_of(server)[name] for name in SYSTEM if name in meta_of(server)}
    result = heads | main | {"metadata": fixed | main["metadata"]}
    status = patched(_status_types(entry), status_of(server), _status_patch(entry))
    return result | ({"status": status} if status or "status" in server else {})


def _over(entry: Entry, server: Object) -> Object:
    """Our creation has arrived: the server's own members, and ours on top."""
    fixed = {name: meta_of(server)[name] for name in SYSTEM if name in meta_of(server)}
    ours = entry.new
    return server | ours | {"metadata": meta_of(server) | meta_of(ours) | fixed}


def _shown_deleted(entry: Entry, server: Object | None) -> Object | None:
    if server is None or not _is_deleted_one(entry, server):
        return server  # another one, which nobody here has deleted
    if entry.current is None:
        return None
    marks = {n: meta_of(entry.new)[n] for n in SYSTEM[4:6] if n in meta_of(entry.new)}
    return server | {"metadata": meta_of(server) | marks}


def rebase(entry: Entry, server: Object | None) -> tuple[Entry, Object | None]:
    """The entry on top of a newer object of the cloud's, and the object to show."""
    visible = shown(entry, server)
    if server is None or visible is None:
        return entry, visible
    if entry.kind is not Kind.CHANGE or uid_of(server) != entry.uid:
        return entry, visible
    base = without_managers(server)
    dropped = [path for path in _merged_main(entry, server).dropped if path not in entry.dropped]
    entry = msgspec.structs.replace(
        entry,
        base=encoded(base),
        current=encoded(without_managers(visible)),
        dropped=(*entry.dropped, *dropped),
    )
    return entry, visible


def without_managers(obj: Object) -> Object:
    """Nobody reads managedFields here, and they are half of an object."""
    if "managedFields" not in meta_of(obj):
        return obj
    metadata = {name: value for name, value in meta_of(obj).items() if name != "managedFields"}
    return obj | {"metadata": metadata}
