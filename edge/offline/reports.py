"""What could not be replayed, as records and as Events on the objects. Pure."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import msgspec

from actors.kube.builtin import EVENTS
from edge.offline.entry import Entry, Kind, encoded
from edge.offline.local import FIRST_VERSION, timestamp

REASON = "OfflineWriteDropped"
COMPONENT = "atoll-hub"


class Report(msgspec.Struct, frozen=True, kw_only=True):
    at: float  # seconds since 1970
    verb: str  # create, change, delete; "" for a file that was damaged
    resource: str
    namespace: str
    name: str
    uid: str
    identity: str
    component: str
    why: str
    fields: tuple[str, ...] = ()  # those that were dropped; none: all of the write


def report_of(entry: Entry, why: str, fields: tuple[str, ...], now: float) -> Report:
    return Report(
        at=now,
        verb=entry.kind.value,
        resource=entry.resource.name,
        namespace=entry.namespace,
        name=entry.name,
        uid=entry.uid,
        identity=entry.identity,
        component=entry.component,
        why=why,
        fields=fields,
    )


def event_of(entry: Entry, report: Report, number: int, node: str) -> Entry | None:
    """Tells of it in the cloud, by the queue as well; None for what is itself an event."""
    if entry.is_event:
        return None
    what = blake2b(f"{entry.place}{entry.id}{report.at}".encode(), digest_size=8).hexdigest()
    name = f"{entry.name}.{what}"
    namespace = entry.namespace or "default"
    event = _event(entry, report, name, namespace, node)
    return Entry(
        id=number,
        resource=EVENTS,
        namespace=namespace,
        name=name,
        kind=Kind.CREATE,
        base=None,
        current=encoded(event),
        identity="",  # the node's own
        component=COMPONENT,
        at=report.at,
        is_main=True,
    )


def _event(entry: Entry, report: Report, name: str, namespace: str, node: str) -> dict[str, Any]:
    at = timestamp(report.at)
    about = {
        "apiVersion": entry.resource.api_version,
        "kind": entry.resource.kind,
        "namespace": entry.namespace,
        "name": entry.name,
        "uid": report.uid,
    }
    fields = f" ({', '.join(report.fields)})" if report.fields else ""
    return {
        "kind": "Event",
        "apiVersion": "v1",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": name,
            "resourceVersion": FIRST_VERSION,
            "creationTimestamp": at,
        },
        "involvedObject": {key: value for key, value in about.items() if value},
        "reason": REASON,
        "message": f"{report.verb} by {report.component or 'a client'} made while the API server"
        f" could not be reached was dropped{fields}: {report.why}"[:1000],
        "type": "Warning",
        "count": 1,
        "firstTimestamp": at,
        "lastTimestamp": at,
        "source": {"component": COMPONENT} | ({"host": node} if node else {}),
    }
