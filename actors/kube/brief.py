"""Short answers: who has the object by a watch needs its name and version only."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

BRIEF = ("Atoll-Brief", "1")
"""Of a write or a GET: a short answer will do. Of an answer: it is one."""


class _Metadata(msgspec.Struct, omit_defaults=True):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    version: str = msgspec.field(name="resourceVersion", default="")


class _Object(msgspec.Struct):
    kind: str
    api_version: str = msgspec.field(name="apiVersion")
    metadata: _Metadata


def is_marked(headers: Iterable[tuple[str, str]]) -> bool:
    return any((name.lower(), value) == (BRIEF[0].lower(), BRIEF[1]) for name, value in headers)


def brief_of(raw: bytes) -> bytes | None:
    """What identifies an object and its version; None for what is not one object of JSON."""
    found = _read(raw)
    if found is None or found.kind == "Status":
        return None
    meta = found.metadata
    return msgspec.json.encode(found) if meta.name and meta.uid and meta.version else None


def identified(raw: bytes) -> tuple[str, str, str, int] | None:
    """(namespace, name, uid, version) of an object; None where it lacks any of them."""
    found = _read(raw)
    if found is None or not found.metadata.version.isdecimal():
        return None
    meta = found.metadata
    return meta.namespace, meta.name, meta.uid, int(meta.version)


def _read(raw: bytes) -> _Object | None:
    try:
        return msgspec.json.decode(raw, type=_Object)
    except msgspec.DecodeError:
        return None
