"""What is written, as values that wait for their turn; several make one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from bus.feed.types import Change, Item
from edge.cache.rows import ViewRow, identity
from edge.cache.tables import Document, Tables

_EACH = 200  # bytes that a waiting object takes beside its data


class Op(Protocol):
    @property
    def view(self) -> int:
        """Whose continuity depends on it; 0 if nobody's."""

    @property
    def weight(self) -> int:
        """Bytes it holds while it waits."""

    @property
    def is_whole(self) -> bool:
        """Whether it needs nothing written before: a view that froze goes on from here."""

    def run(self, tables: Tables) -> bool:
        """False: it continues a view that is not there. Raises sqlite3.Error, OverflowError."""


@dataclass(frozen=True, slots=True)
class Replace:
    row: ViewRow
    resource: str
    items: Mapping[str, Item]
    force: bool
    is_whole: bool = True

    @property
    def view(self) -> int:
        return self.row.id

    @property
    def weight(self) -> int:
        return sum(len(item.data) + _EACH for item in self.items.values()) + _EACH

    def run(self, tables: Tables) -> bool:
        tables.replace(self.row, self.resource, self.items, self.force)
        return True


@dataclass(frozen=True, slots=True)
class Apply:
    view: int
    resource: str
    changes: Sequence[Change]
    lineage: int
    version: int
    at: int
    force: bool
    is_whole: bool = False

    @property
    def weight(self) -> int:
        return sum(len(change.data or b"") + _EACH for change in self.changes) + _EACH

    def run(self, tables: Tables) -> bool:
        held = tables.view(self.view)
        if held is None:
            return False
        goes_back = self.force or self.lineage != held.lineage
        version = self.version if goes_back else max(self.version, held.version)
        row = replace(held, lineage=self.lineage, version=version, at=self.at)
        tables.apply(row, self.resource, self.changes, self.force)
        return True


@dataclass(frozen=True, slots=True)
class Drop:
    """A view's end."""

    view: int
    weight: int = _EACH
    is_whole: bool = True

    def run(self, tables: Tables) -> bool:
        tables.drop_view(self.view)
        return True


@dataclass(frozen=True, slots=True)
class DropComponent:
    """All that a component has read; what others read, too, stays."""

    component: str
    view: int = 0
    weight: int = _EACH
    is_whole: bool = True

    def run(self, tables: Tables) -> bool:
        for view in list(tables.views_of(self.component)):
            tables.drop_view(view.id)
        return True


@dataclass(frozen=True, slots=True)
class PutDocument:
    path: str
    variant: str
    document: Document
    view: int = 0
    is_whole: bool = True

    @property
    def weight(self) -> int:
        return len(self.document.body) + _EACH

    def run(self, tables: Tables) -> bool:
        tables.put_document(self.path, self.variant, self.document)
        return True


@dataclass(frozen=True, slots=True)
class DropDocument:
    path: str
    variant: str
    view: int = 0
    weight: int = _EACH
    is_whole: bool = True

    def run(self, tables: Tables) -> bool:
        tables.drop_document(identity(self.path, self.variant))
        return True


@dataclass(frozen=True, slots=True)
class Touch:
    """Notes that something was read."""

    table: str
    thing: int
    used: int
    view: int = 0
    weight: int = _EACH
    is_whole: bool = True

    def run(self, tables: Tables) -> bool:
        tables.touch(self.table, self.thing, self.used)
        return True
