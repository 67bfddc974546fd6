"""What a filter is to a chain, and what becomes of one that fails.

A filter never changes what it is given: it returns that very object, or another that may share
parts with it, or None to hide it. So what a chain shows needs no copies, and a filter that fails
half-way has done nothing.
"""

from __future__ import annotations

from collections import Counter
from enum import Flag, auto
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from loguru import Logger

Object = dict[str, Any]


class Depends(Flag):
    """What a filter looks at besides the object."""

    NOTHING = 0
    SERVICES = auto()  # annotations of Services, looked up from their endpoints
    NODES = auto()  # other nodes' pools and zones
    SELF = auto()  # this node's pool, zone and labels
    HUB = auto()  # where pods reach this node's hub


class Step(Protocol):
    """One filter. Equal ones show all objects alike."""

    @property
    def name(self) -> str: ...
    @property
    def depends(self) -> Depends: ...
    def wants(self, key: str, raw: bytes) -> bool:
        """False: this object is none of mine. Cheap: it is asked for every object."""
        ...

    def show(self, key: str, item: Object) -> Object | None: ...


class Troubles:
    """Filters that failed: the object was shown as if they were not there. Logged once each."""

    def __init__(self, log: Logger) -> None:
        self.counts: Counter[str] = Counter()  # by filter; for figures
        self._log = log

    def note(self, name: str, key: str, error: Exception) -> None:
        self.counts[name] += 1
        if self.counts[name] == 1:
            reason = str(error) or repr(error)
            self._log.warning(
                "filter {} leaves {} as it is (further ones go unsaid): {}", name, key, reason
            )


def part(item: Object, name: str) -> Object:
    """A mapping within an object; {} where it is absent or null."""
    return item.get(name) or {}


def annotations_of(item: Object) -> dict[str, str]:
    return part(part(item, "metadata"), "annotations")


def labels_of(item: Object) -> dict[str, str]:
    return part(part(item, "metadata"), "labels")


def with_spec(item: Object, **changes: Any) -> Object:
    """The object with other keys in its `spec`."""
    return {**item, "spec": {**part(item, "spec"), **changes}}


def require_same(before: Object, after: Any) -> None:
    """A filter shows an object otherwise, never another one. Raises ValueError."""
    if not isinstance(after, dict):
        raise TypeError(f"an object is a mapping; not {type(after).__name__}")
    if _identity(before) != _identity(after):
        raise ValueError(
            "kind, name, namespace, uid and resourceVersion are not a filter's to change"
        )


def _identity(item: Object) -> tuple[Any, ...]:
    meta = part(item, "metadata")
    fixed = (meta.get(name) for name in ("name", "namespace", "uid", "resourceVersion"))
    return (item.get("apiVersion"), item.get("kind"), *fixed)
