"""Events are kept as core/v1 and shown as events.k8s.io/v1, too: the same ones, members renamed.

Source: k8s.io/kubernetes/pkg/apis/events/v1/conversion.go.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cloud.apiserver.registry import View

Object = dict[str, Any]

_TO_NEW = {
    "involvedObject": "regarding",
    "message": "note",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
    "reportingComponent": "reportingController",
}
_TO_OLD = {new: old for old, new in _TO_NEW.items()}


def view_of(view: View) -> View:
    """That of events.k8s.io/v1 over stored core events."""
    return replace(view, from_storage=to_new, to_storage=to_old)


def to_new(event: Object) -> Object:
    return _renamed(event, _TO_NEW) | {"apiVersion": "events.k8s.io/v1"}


def to_old(event: Object) -> Object:
    return _renamed(event, _TO_OLD) | {"apiVersion": "v1"}


def _renamed(event: Object, table: dict[str, str]) -> Object:
    return {table.get(name, name): value for name, value in event.items()}
