"""What a delete has done away with: who deleted does not find it again. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from actors.kube.resource import key_of
from actors.kube.serve.api import RequestInfo
from actors.kube.watchcache import WatchCache

Gone = Mapping[str, str]
"""Key -> uid: another object may already have the name."""


class _Meta(msgspec.Struct):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    deleted: str | None = msgspec.field(name="deletionTimestamp", default=None)


class _Object(msgspec.Struct):
    metadata: _Meta = msgspec.field(default_factory=_Meta)


class _Details(msgspec.Struct):
    uid: str = ""


class _Answer(msgspec.Struct):
    details: _Details | None = None
    items: list[_Object] | None = None


def gone_of(info: RequestInfo, answer: bytes) -> Gone:
    """Of a delete's or deletecollection's answer; nothing where objects wait for a finalizer."""
    if "dryRun" in info.query or info.subresource:
        return {}
    try:
        said = msgspec.json.decode(answer, type=_Answer)
    except msgspec.DecodeError:
        return {}
    if info.verb == "delete" and said.details is not None and said.details.uid:
        return {key_of(info.namespace, info.name): said.details.uid}
    if info.verb != "deletecollection":
        return {}
    found = (item.metadata for item in said.items or ())
    return {key_of(meta.namespace, meta.name): meta.uid for meta in found if not meta.deleted}


def is_gone(cache: WatchCache, gone: Gone) -> bool:
    for key, uid in gone.items():
        entry = cache.get(key)
        if entry is not None and msgspec.json.decode(entry.raw, type=_Object).metadata.uid == uid:
            return False
    return True
