"""One write that waits: what was, and what shall be. Pure.

Not a pile of patches: the object as it was before the first write and as it is after the last. What
is in between is computed when it is needed, against whatever the API server then has.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache
from typing import Any

import msgspec

from actors.kube.resource import Resource, key_of
from actors.kube.schemas import OBJECT_META, published
from edge.offline.merge import Object, Types

NO_UID = ""
EVENTS = frozenset({("", "events"), ("events.k8s.io", "events")})
SYSTEM = (
    "uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp",
    "deletionGracePeriodSeconds", "selfLink", "managedFields",
)  # fmt: skip
"""Members of metadata that only the API server sets."""


class Kind(StrEnum):
    CREATE = "create"
    CHANGE = "change"
    DELETE = "delete"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """`base` is None of what is created, `current` of what is deleted at once."""

    id: int  # in the order of first writes
    revision: int = 0  # grows with every write into it
    resource: Resource
    namespace: str
    name: str
    kind: Kind
    base: bytes | None
    current: bytes | None
    identity: str  # as whom it was written, and is replayed
    component: str
    at: float  # of the last write, seconds since 1970
    is_main: bool = False  # something was written to the object itself, not to /status only
    is_local: bool = False  # of a delete: `base` was created here, its uid is nobody's
    options: dict[str, Any] = {}  # of a delete
    dropped: tuple[str, ...] = ()  # paths that the cloud has changed meanwhile: to be reported

    @property
    def place(self) -> tuple[str, str]:
        return self.resource.name, self.key

    @property
    def key(self) -> str:
        return key_of(self.namespace, self.name)

    @property
    def is_event(self) -> bool:
        return (self.resource.group, self.resource.plural) in EVENTS

    @property
    def is_lease(self) -> bool:
        return self.resource.group == "coordination.k8s.io" and self.resource.plural == "leases"

    @property
    def order(self) -> tuple[bool, int]:
        """Of replay: objects as they were first written, then events likewise."""
        return self.is_event, self.id

    @property
    def size(self) -> int:
        return len(self.base or b"") + len(self.current or b"") + 512

    @property
    def old(self) -> Object:
        return decoded(self.base)

    @property
    def new(self) -> Object:
        return decoded(self.current)

    @property
    def uid(self) -> str:
        return uid_of(decoded(self.base or self.current))


def decoded(raw: bytes | None) -> Object:
    return msgspec.json.decode(raw, type=dict[str, Any]) if raw is not None else {}


def encoded(obj: Object) -> bytes:
    return msgspec.json.encode(obj)


def uid_of(obj: Mapping[str, Any]) -> str:
    return str(meta_of(obj).get("uid", NO_UID))


def version_of(obj: Object) -> int:
    text = str(meta_of(obj).get("resourceVersion", ""))
    return int(text) if text.isdecimal() else 0


def meta_of(obj: Mapping[str, Any]) -> Object:
    metadata = obj.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


@lru_cache(256)
def types_of(resource: Resource) -> Types:
    definitions = published()
    name = definitions.name_of(resource.group, resource.version, resource.kind)
    return Types(definitions, definitions.schema(name) if name else {})


@lru_cache(1)
def metadata_types() -> Types:
    """Custom resources' metadata is as everyone's."""
    return Types(published(), published().schema(OBJECT_META))


def has_status(resource: Resource) -> bool:
    """Whether its status is written apart from the rest."""
    return "status" in resource.subresources


def written(obj: Object) -> Object:
    """What clients write of an object, beside its status: without the server's own fields."""
    kept = {name: value for name, value in obj.items() if name not in _NOT_WRITTEN}
    metadata = meta_of(obj)
    return kept | {"metadata": {n: v for n, v in metadata.items() if n not in SYSTEM}}


_NOT_WRITTEN = frozenset({"apiVersion", "kind", "metadata", "status"})


def status_of(obj: Object) -> Object:
    status = obj.get("status")
    return status if isinstance(status, dict) else {}
