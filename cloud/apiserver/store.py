"""What the embedded API server keeps: objects, recent history and the one resourceVersion. SQLite.

`objects` holds what is, `history` what was: each write leaves the superseded bytes there (an undo
log), so nothing is stored twice and the watch window of every resource can be built again after a
restart. Versions grow by one per write over all resources, as etcd's revisions do.

WAL with synchronous=NORMAL: a commit is a write to the page cache (about 40 µs) and survives the
death of this process; FULL would add an fsync to each, milliseconds on the disks of small sites. A
crash of the *machine* may lose the last commits, and clients may have seen their versions, so the
store then starts far ahead of them and without history: clients list anew and nothing goes back.

All calls are short and made from one thread, but `checkpoint`, whose fsync belongs into another.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from bus.feed.types import Change, Item

_SCHEMA = """
create table if not exists meta (name text primary key, value text not null);
create table if not exists resources (
    id integer primary key, name text not null unique, floor integer not null);
create table if not exists objects (
    resource integer not null, key text not null, version integer not null, data blob not null,
    unique (resource, key));
create table if not exists history (
    version integer primary key, resource integer not null, key text not null,
    old_version integer, old blob);
create index if not exists history_of on history (resource, version);
"""
_PUT = (
    "insert into objects (resource, key, version, data) values (?, ?, ?, ?)"
    " on conflict (resource, key) do update set version = excluded.version, data = excluded.data"
)
_DELETE = "delete from objects where resource = ? and key = ?"
_NOTE = "insert into history (version, resource, key, old_version, old) values (?, ?, ?, ?, ?)"
_OLDEST = "select version, length(old) from history where resource = ? order by version limit ?"
_FORGET = "delete from history where resource = ? and version <= ?"
_FLOOR = "update resources set floor = ? where id = ?"

FIRST_VERSION = 1  # etcd's first revision; the first write gets 2
LEAP = 1_000_000  # more writes than a crash of the machine can have lost since the last checkpoint
FORGET_STEP = 64  # history rows dropped at a time: a few hundred microseconds


class Write(NamedTuple):
    """A put, or a delete (`data` None), of an object that was `old` before."""

    resource: str
    key: str
    version: int
    data: bytes | None
    old: Item | None


class Loaded(NamedTuple):
    """A resource as it was at version `floor`, and every change since."""

    items: dict[str, Item]
    floor: int
    changes: list[Change]


@dataclass
class _Kept:
    """One resource's row, and how much history it has."""

    id: int
    floor: int
    events: int = 0
    bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class StoreSettings:
    history_events: int = 10_000  # kept per resource, so that watches resume after a restart
    history_bytes: int = 16 * 1024 * 1024  # per resource; as the watch cache
    checkpoint_bytes: int = 8 * 1024 * 1024  # of the write-ahead log, before it is folded in
    wal_bytes: int = 256 * 1024 * 1024  # from here on a write waits for the folding


@dataclass
class Store:
    """Raises sqlite3.Error where the disk fails; a failed commit changed nothing."""

    path: Path
    settings: StoreSettings = field(default_factory=StoreSettings)

    def __post_init__(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._db = self._open()
        self._db.executescript(_SCHEMA)
        self._kept: dict[str, _Kept] = {}
        self._closed = False
        self._unfolded = 0  # bytes written since the last checkpoint
        self.version = int(self.meta("version") or FIRST_VERSION)
        self._begin()
        self._read_resources()

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=5)
        try:
            db.execute("pragma journal_mode = wal")
            db.execute("pragma synchronous = normal")
            db.execute("pragma wal_autocheckpoint = 0")
            db.execute(f"pragma journal_size_limit = {self.settings.checkpoint_bytes}")
            db.executescript(_SCHEMA)
        except BaseException:
            db.close()
            raise
        return db

    def _begin(self) -> None:
        """Leap ahead if the machine, not just the process, died since the last write."""
        boot = boot_id()
        lost = self.meta("clean") == "no" and self.meta("boot") != boot
        self.set_meta("boot", boot)
        self.set_meta("clean", "no")
        if lost:
            self.version += LEAP
            self.wipe_history()

    def _read_resources(self) -> None:
        counts = "select resource, count(*), coalesce(sum(length(old)), 0) from history group by 1"
        held = {row[0]: row[1:] for row in self._db.execute(counts)}
        for id_, name, floor in self._db.execute("select id, name, floor from resources"):
            events, size = held.get(id_, (0, 0))
            self._kept[name] = _Kept(id_, floor, events, size)

    # -- small things -----------------------------------------------------------------------------

    def meta(self, name: str) -> str | None:
        row = self._db.execute("select value from meta where name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def set_meta(self, name: str, value: str) -> None:
        self._db.execute("insert or replace into meta values (?, ?)", (name, value))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("begin immediate")
        try:
            yield
            self._db.execute("commit")
        except BaseException:
            if self._db.in_transaction:  # a full disk may have ended it already
                self._db.execute("rollback")
            raise

    # -- resources --------------------------------------------------------------------------------

    def load(self, resource: str) -> Loaded:
        """What is kept of a resource; one never seen before is empty, from the present version."""
        kept = self._of(resource)
        select = "select key, version, data from objects where resource = ?"
        items = {key: Item(v, data) for key, v, data in self._db.execute(select, (kept.id,))}
        return _rewound(items, kept.floor, self._newest_first(kept.id))

    def _newest_first(self, id_: int) -> Iterator[tuple[int, str, int | None, bytes | None]]:
        select = (
            "select version, key, old_version, old from history"
            " where resource = ? order by version desc"
        )
        yield from self._db.execute(select, (id_,))

    def _of(self, resource: str) -> _Kept:
        kept = self._kept.get(resource)
        if kept is None:
            insert = "insert into resources (name, floor) values (?, ?)"
            cursor = self._db.execute(insert, (resource, self.version))
            kept = self._kept[resource] = _Kept(int(cursor.lastrowid or 0), self.version)
        return kept

    def drop(self, resource: str) -> None:
        """Forget a resource with all its objects and history (its CRD is gone)."""
        kept = self._kept.pop(resource, None)
        if kept is not None:
            with self._transaction():
                self._db.execute("delete from objects where resource = ?", (kept.id,))
                self._db.execute("delete from history where resource = ?", (kept.id,))
                self._db.execute("delete from resources where id = ?", (kept.id,))

    # -- writes -----------------------------------------------------------------------------------

    def commit(self, writes: Sequence[Write]) -> None:
        """All or nothing. Versions go up by one from `version`."""
        db, size = self._db, 0
        ids = {write.resource: self._of(write.resource).id for write in writes}
        with self._transaction():
            for write in writes:
                id_ = ids[write.resource]
                old_version, old = write.old or (None, None)
                db.execute(_NOTE, (write.version, id_, write.key, old_version, old))
                if write.data is None:
                    db.execute(_DELETE, (id_, write.key))
                else:
                    db.execute(_PUT, (id_, write.key, write.version, write.data))
                size += len(write.data or b"") + len(old or b"")
            self.set_meta("version", str(writes[-1].version))
        self.version = writes[-1].version
        self._unfolded += size + 1024 * len(writes)  # pages are larger than what is in them
        with suppress(sqlite3.Error):  # all is kept; what fails here is tried at the next commit
            self._tidy(writes)

    def _tidy(self, writes: Sequence[Write]) -> None:
        for write in writes:
            kept = self._kept[write.resource]
            kept.events += 1
            kept.bytes += len(write.old.data) if write.old else 0
        for resource in {write.resource for write in writes}:
            self._forget_oldest(self._kept[resource])
        if self._unfolded > self.settings.wal_bytes:  # folding beside us does not keep up
            self.checkpoint()

    def _forget_oldest(self, kept: _Kept) -> None:
        limits = self.settings
        while (
            kept.events >= limits.history_events + FORGET_STEP or kept.bytes > limits.history_bytes
        ) and kept.events:
            rows = self._db.execute(_OLDEST, (kept.id, FORGET_STEP)).fetchall()
            with self._transaction():
                self._db.execute(_FORGET, (kept.id, rows[-1][0]))
                self._db.execute(_FLOOR, (rows[-1][0], kept.id))
            kept.floor = rows[-1][0]
            kept.events -= len(rows)
            kept.bytes -= sum(size or 0 for _, size in rows)

    # -- upkeep -----------------------------------------------------------------------------------

    def wipe_history(self) -> None:
        """Forget all that was: watches from older versions get 410 after the next start."""
        with self._transaction():
            self._db.execute("delete from history")
            self._db.execute("update resources set floor = ?", (self.version,))
            self.set_meta("version", str(self.version))
        for kept in self._kept.values():
            kept.floor, kept.events, kept.bytes = self.version, 0, 0

    @property
    def checkpoint_due(self) -> bool:
        return self._unfolded > self.settings.checkpoint_bytes

    def checkpoint(self) -> None:
        """Fold the write-ahead log into the database. Made for a thread: it has its fsyncs."""
        self._unfolded = 0
        db = sqlite3.connect(self.path, isolation_level=None, timeout=5)
        try:
            db.execute("pragma wal_checkpoint(passive)")
        finally:
            db.close()

    def close(self) -> None:
        """May be called twice."""
        if self._closed:
            return
        self._closed = True
        self.set_meta("clean", "yes")
        self._db.execute("pragma wal_checkpoint(truncate)")
        self._db.close()


def boot_id() -> str:
    """Names this run of the machine."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return "unknown"


def _rewound(
    items: dict[str, Item],
    floor: int,
    newest_first: Iterator[tuple[int, str, int | None, bytes | None]],
) -> Loaded:
    """Undo the history; each undone step, read forwards, is a change."""
    changes: list[Change] = []
    for version, key, old_version, old in newest_first:
        now = items.get(key)
        changes.append(Change(key, version, None if now is None else now.data))
        if old is None or old_version is None:
            items.pop(key, None)
        else:
            items[key] = Item(old_version, old)
    changes.reverse()
    return Loaded(items, floor, changes)
