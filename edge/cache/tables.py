"""What is read from and written to one connection; within a transaction of the caller's.

Every method may raise sqlite3.Error. Rows that do not hold are counted in `damaged` and absent.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from bus.errors import DecodeError
from bus.feed.types import Change, Item
from edge.cache.database import COLUMNS
from edge.cache.plan import Candidate
from edge.cache.rows import (
    ViewRow,
    add_member,
    document_row,
    identity,
    is_document,
    is_object,
    item_of,
    object_row,
    pack,
    unpack,
)

_VIEW = COLUMNS["views"]
_OBJECT = COLUMNS["objects"]
_DOCUMENT = COLUMNS["documents"]
_ROW_BYTES = 100  # of a row beside its data: names, checksum, indices


@dataclass(frozen=True, slots=True)
class Document:
    """A raw answer: discovery, /version, OpenAPI."""

    media: str  # Content-Type
    body: bytes
    at: float = 0.0  # seconds since 1970 when it was read; set by the cache


@dataclass(frozen=True, slots=True)
class Contents:
    """A view's objects by key; `whole` is false where any is damaged, lost or too old."""

    items: dict[str, Item]
    whole: bool


class Tables:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self.damaged = 0
        self.broken: set[int] = set()  # views that were found damaged

    # Reading

    def view(self, view: int) -> ViewRow | None:
        found = self._views("SELECT {} FROM views WHERE id=?", view)
        return next(found, None)

    def views_of(self, component: str) -> Iterator[ViewRow]:
        for view in self._views("SELECT {} FROM views WHERE component=?", component):
            if view.component == component:  # an index may be damaged, too
                yield view

    def readers(self) -> Iterator[tuple[str, str]]:
        """Component and query of every view."""
        for view in self._views("SELECT {} FROM views"):
            yield view.component, view.query

    def views_with(self, component: str, thing: int) -> list[tuple[ViewRow, int]]:
        """Views of a component that have an object as a member, and since which version."""
        members = self._pairs("SELECT view, version FROM members WHERE object=?", thing)
        views = [(self.view(view), version) for view, version in members]
        return [(v, n) for v, n in views if v is not None and v.component == component]

    def contents(self, view: ViewRow, resource: str) -> Contents:
        """The view's objects, checked to be those that were written into it."""
        items: dict[str, Item] = {}
        count = digest = 0
        rows = self._db.execute(
            "SELECT m.object, m.version, o.id, o.resource, o.key, o.version, o.data, o.sum"
            " FROM members m LEFT JOIN objects o ON o.id = m.object WHERE m.view=?",
            (view.id,),
        )
        for thing, version, *columns in rows:
            if not (isinstance(thing, int) and isinstance(version, int)):
                self.damaged += 1
                continue
            count, digest = count + 1, add_member(digest, thing, version)
            found = item_of(tuple(columns)) if columns[1] == resource else None
            if found is not None and found[1].version >= version:
                items[found[0]] = found[1]
            else:
                self.damaged += 1
        whole = (count, digest) == (view.count, view.digest) and len(items) == count
        if not whole:
            self._is_broken(view.id)
        return Contents(items, whole)

    def has_all_members(self, view: ViewRow) -> bool:
        count = digest = 0
        for thing, version in self._pairs(_MEMBERS, view.id):
            count, digest = count + 1, add_member(digest, thing, version)
        whole = (count, digest) == (view.count, view.digest)
        if not whole:
            self._is_broken(view.id)
        return whole

    def item(self, thing: int) -> Item | None:
        row = self._db.execute(f"SELECT {_OBJECT} FROM objects WHERE id=?", (thing,)).fetchone()
        found = item_of(row) if row is not None else None
        self.damaged += row is not None and found is None
        return found[1] if found is not None else None

    def document(self, path: str, variant: str) -> Document | None:
        query = f"SELECT {_DOCUMENT} FROM documents WHERE id=?"
        row = self._db.execute(query, (identity(path, variant),)).fetchone()
        if row is None:
            return None
        if is_document(row):
            try:
                return Document(row[3], unpack(row[5]), row[4] / 1000)
            except DecodeError:
                pass
        self.damaged += 1
        return None

    def _views(self, query: str, *values: object) -> Iterator[ViewRow]:
        for row in self._db.execute(query.format(_VIEW), values).fetchall():
            view = ViewRow.unpack(row)
            if view is not None:
                yield view
            else:
                self._is_broken(row[0])

    def _pairs(self, query: str, *values: int) -> list[tuple[int, int]]:
        """Of whole numbers; after damage they may be anything."""
        rows = self._db.execute(query, values).fetchall()
        return [(a, b) for a, b in rows if isinstance(a, int) and isinstance(b, int)]

    def _is_broken(self, view: int) -> None:
        self.damaged += 1
        self.broken.add(view)

    # Writing

    def replace(self, view: ViewRow, resource: str, items: Mapping[str, Item], force: bool) -> None:
        """The view is made of `items` from now on. What is the same already is not written."""
        view = replace(view, count=0, digest=0)
        held = dict(self._pairs(_MEMBERS, view.id))
        for key, item in items.items():
            thing = identity(resource, key)
            self._keep(thing, resource, key, item, force)
            view = view.with_member(thing, item.version)
            if held.pop(thing, None) != item.version:
                self._set_member(view.id, thing, item.version)
        for thing in held:
            self._drop_member(view.id, thing)
        self._write_view(view)

    def apply(self, view: ViewRow, resource: str, changes: Iterable[Change], force: bool) -> None:
        """`view` is as read from here, but for its new position."""
        for change in changes:
            thing = identity(resource, change.key)
            held = self._member(view.id, thing)
            if held is not None and change.version < held and not force:
                continue  # told again, and late
            if held is not None:
                view = view.without(thing, held)
            if change.data is None:
                self._drop_member(view.id, thing)
                continue
            item = Item(change.version, change.data)
            self._keep(thing, resource, change.key, item, force)
            self._set_member(view.id, thing, item.version)
            view = view.with_member(thing, item.version)
        self._write_view(view)

    def drop_view(self, view: int) -> None:
        members = self._pairs(_MEMBERS, view)
        self._db.execute("DELETE FROM members WHERE view=?", (view,))
        self._db.executemany(_DROP_UNREAD, ((thing, thing) for thing, _ in members))
        self._db.execute("DELETE FROM views WHERE id=?", (view,))

    def put_document(self, path: str, variant: str, document: Document) -> None:
        at = round(document.at * 1000)
        row = document_row(path, variant, document.media, at, pack(document.body))
        self._db.execute("INSERT OR REPLACE INTO documents VALUES (?,?,?,?,?,?,?,?)", (*row, at))

    def drop_document(self, document: int) -> None:
        self._db.execute("DELETE FROM documents WHERE id=?", (document,))

    def touch(self, table: str, thing: int, used: int) -> None:
        self._db.execute(f"UPDATE {table} SET used=? WHERE id=?", (used, thing))

    def candidates(self, critical: Callable[[str], bool]) -> list[Candidate]:
        """All that may be evicted: not the feeds, which are nobody's ("")."""
        views = self._db.execute(
            "SELECT v.id, v.used, v.component, (SELECT coalesce(sum(length(o.data)), 0)"
            f" + {2 * _ROW_BYTES} * count(*) FROM members m JOIN objects o ON o.id = m.object"
            f" WHERE m.view = v.id) + {2 * _ROW_BYTES} FROM views v WHERE v.component != ''"
        )
        found = [
            Candidate(view, "view", _whole(size), _whole(used), critical(who))
            for view, used, who, size in views
        ]
        documents = self._db.execute("SELECT id, used, length(body) FROM documents")
        return found + [
            Candidate(document, "document", _whole(size) + _ROW_BYTES, _whole(used))
            for document, used, size in documents
        ]

    def _write_view(self, view: ViewRow) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO views VALUES (?,?,?,?,?,?,?,?,?,?)", (*view.pack(), view.at)
        )

    def _keep(self, thing: int, resource: str, key: str, item: Item, force: bool) -> None:
        """The one copy, unless a newer one is held already; one that is damaged is not."""
        row = self._db.execute(f"SELECT {_OBJECT} FROM objects WHERE id=?", (thing,)).fetchone()
        if row is not None and not is_object(row):
            self.damaged += 1
        elif row is not None and item.version < row[3] and not force:
            return
        new = object_row(thing, resource, key, item.version, pack(item.data))
        if new != row:
            self._db.execute("INSERT OR REPLACE INTO objects VALUES (?,?,?,?,?,?)", new)

    def _member(self, view: int, thing: int) -> int | None:
        query = "SELECT object, version FROM members WHERE view=? AND object=?"
        found = self._pairs(query, view, thing)
        return found[0][1] if found else None

    def _set_member(self, view: int, thing: int, version: int) -> None:
        self._db.execute("INSERT OR REPLACE INTO members VALUES (?,?,?)", (view, thing, version))

    def _drop_member(self, view: int, thing: int) -> None:
        self._db.execute("DELETE FROM members WHERE view=? AND object=?", (view, thing))
        self._db.execute(_DROP_UNREAD, (thing, thing))


def _whole(value: object) -> int:
    """What no checksum covers."""
    return value if isinstance(value, int) else 0


_MEMBERS = "SELECT object, version FROM members WHERE view=?"
_DROP_UNREAD = (
    "DELETE FROM objects WHERE id=? AND NOT EXISTS (SELECT 1 FROM members WHERE object=?)"
)
