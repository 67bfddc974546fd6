"""Messages that are no objects in JSON: times, quantities, numbers or names. Pure.

Each takes the message's fields by name and returns its JSON; None: as if it were not there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from actors.kube.protobuf.errors import NotKnown, Undecodable

Fields = dict[str, Any]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _time(fields: Fields, timespec: str = "seconds") -> str | None:
    if not fields:
        return None  # Go's zero time
    try:
        moment = _EPOCH + timedelta(
            seconds=fields.get("seconds", 0), microseconds=fields.get("nanos", 0) // 1000
        )
    except OverflowError as error:
        raise Undecodable("a time beyond the years 1 to 9999") from error
    return moment.isoformat(timespec=timespec).removesuffix("+00:00") + "Z"


def _micro_time(fields: Fields) -> str | None:
    return _time(fields, "microseconds")


def _quantity(fields: Fields) -> str:
    return fields.get("string") or "0"


def _int_or_string(fields: Fields) -> int | str:
    kind = fields.get("type", 0)
    if kind == 0:
        number: int = fields.get("intVal", 0)
        return number
    if kind == 1:
        return str(fields.get("strVal", ""))
    raise NotKnown(f"an IntOrString of type {kind}")


def _fields_v1(fields: Fields) -> Any:
    raw = fields.get("Raw", b"")
    try:
        return msgspec.json.decode(raw) if raw else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Undecodable(f"managed fields that are no JSON: {error}") from error


def _extra_value(fields: Fields) -> list[str]:
    return list(fields.get("items", ()))


CONVERT: Mapping[str, Callable[[Fields], Any]] = {
    "meta.Time": _time,
    "meta.MicroTime": _micro_time,
    "meta.Quantity": _quantity,
    "meta.IntOrString": _int_or_string,
    "meta.FieldsV1": _fields_v1,
    "authentication.ExtraValue": _extra_value,
    "authorization.ExtraValue": _extra_value,
}
