"""Opens the SQLite file, and saves what can be saved of a damaged one.

WAL with synchronous=NORMAL: a commit is not forced to the medium, a checkpoint is (the log first,
then the pages). So a power cut may take the last seconds' commits, whole ones from the end, but
never leaves a half of one: the copy is then as old as it says. FULL would force the flash at every
event of every watch, to keep what the cloud or the pool will tell again; what nobody can tell again
(writes made offline) does not live here. `DiskCache` checkpoints when writes pause, and now and
then while they do not, so that little is at stake. A killed process loses nothing that was
committed: the kernel has it.

Damage is not searched for at the start, which would read the whole file: checksums find it as rows
are read, and SQLite as it meets a broken page. Then the file is set aside and what still holds
moves to a new one.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edge.cache.rows import Row, ViewRow, is_document, is_object

_FORMAT = 1  # of the tables; a file of another one is started anew
_PAGE = 4096
_LOG_LIMIT = 4 << 20  # bytes that the write-ahead log keeps after a checkpoint
_WAIT = 5.0  # seconds for a lock: a checkpoint of our own, or somebody's `sqlite3` on the file
_HARD = 4  # the file may exceed the limit by 1/4 before SQLite itself refuses
SIDES = ("", "-wal", "-shm")
COLUMNS = {
    "objects": "id, resource, key, version, data, sum",
    "views": "id, component, query, lineage, version, at, count, digest, sum",
    "documents": "id, path, variant, media, at, body, sum",
}
_SCHEMA = """
CREATE TABLE objects (
  id INTEGER PRIMARY KEY, resource TEXT, key TEXT, version INTEGER, data BLOB, sum INTEGER);
CREATE TABLE views (
  id INTEGER PRIMARY KEY, component TEXT, query TEXT, lineage INTEGER, version INTEGER, at INTEGER,
  count INTEGER, digest INTEGER, sum INTEGER, used INTEGER);
CREATE INDEX views_by_component ON views (component);
CREATE TABLE members (
  view INTEGER, object INTEGER, version INTEGER, PRIMARY KEY (view, object)) WITHOUT ROWID;
CREATE INDEX members_by_object ON members (object);
CREATE TABLE documents (
  id INTEGER PRIMARY KEY, path TEXT, variant TEXT, media TEXT, at INTEGER, body BLOB, sum INTEGER,
  used INTEGER);
"""


class Unreadable(Exception):
    """The file is not one of ours, or beyond use."""


FAILURES = (sqlite3.Error, OSError, Unreadable, UnicodeDecodeError)
"""Of the file or its disk. `sqlite3` cannot decode what SQLite says of names that are damaged."""


def connect(path: Path, limit: int, *, to_rescue: bool = False) -> sqlite3.Connection:
    """Ready for use, made if there is none. Raises what FAILURES lists.

    Used from one thread at a time, though not always the same. `to_rescue` opens even a file whose
    end is missing.
    """
    # Secrets are cached: nobody else reads them. SQLite gives its log the same mode.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    connection = sqlite3.connect(path, timeout=_WAIT, isolation_level=None, check_same_thread=False)
    try:
        connection.text_factory = _text
        if to_rescue:
            connection.execute("PRAGMA writable_schema=ON")
        _set_up(connection, limit)
    except BaseException:
        connection.close()
        raise
    return connection


def connect_to_full_disk(path: Path) -> sqlite3.Connection:
    """To read where `connect` cannot, since it makes a file (the log's index) beside the database.

    Alone and with that index in memory; on a medium that takes no write at all, without the log: as
    of the last checkpoint. To be closed at once, since nobody else gets in. Raises FAILURES.
    """
    try:
        return _checked(path.absolute().as_uri() + "?mode=rw", "EXCLUSIVE")
    except sqlite3.OperationalError:
        return _checked(path.absolute().as_uri() + "?immutable=1", "NORMAL")


def _checked(uri: str, locking: str) -> sqlite3.Connection:
    connection = sqlite3.connect(uri, uri=True, isolation_level=None)
    try:
        connection.text_factory = _text
        connection.execute(f"PRAGMA locking_mode={locking}")
        if (found := number(connection, "user_version")) != _FORMAT:
            raise Unreadable(f"its format is {found}, not {_FORMAT}")
    except BaseException:
        connection.close()
        raise
    return connection


def _text(raw: bytes) -> str:
    """What damage made undecodable must fail its checksum, not the query."""
    return raw.decode(errors="surrogateescape")


def _set_up(connection: sqlite3.Connection, limit: int) -> None:
    if not number(connection, "page_count"):  # while it can be chosen
        connection.execute(f"PRAGMA page_size={_PAGE}")
        connection.execute("PRAGMA auto_vacuum=INCREMENTAL")  # what is evicted leaves the file
    for pragma in (
        "journal_mode=WAL",  # of a file that has it, this writes nothing: a reader never waits
        "synchronous=NORMAL",
        f"journal_size_limit={_LOG_LIMIT}",
        f"max_page_count={(limit + limit // _HARD) // _PAGE}",
        "cell_size_check=ON",  # broken pages are told early
        "trusted_schema=OFF",
    ):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    if (found := number(connection, "user_version")) == _FORMAT:
        return
    if found or connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise Unreadable(f"its format is {found}, not {_FORMAT}")
    connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version={_FORMAT}; COMMIT;")


def number(connection: sqlite3.Connection, pragma: str) -> int:
    return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])


def is_sound(path: Path, limit: int) -> bool:
    """Reads all of the file, past any page that another connection remembers."""
    connection = connect(path, limit)
    try:
        (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    finally:
        connection.close()
    return bool(found == "ok")


def bytes_used(connection: sqlite3.Connection) -> int:
    pages = number(connection, "page_count") - number(connection, "freelist_count")
    return pages * number(connection, "page_size")


def is_damage(error: Exception) -> bool:
    """Whether it tells of the file's contents, not of a disk that is full or fails to write."""
    if not isinstance(error, sqlite3.Error):
        return isinstance(error, Unreadable | UnicodeDecodeError)
    code: int | None = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return False  # of the Python module itself: a mistake of ours
    return code in _UNREADABLE_DISK or (code & 0xFF) not in _PASSING


# A sector that cannot be read stays so; the rest of the file is better off elsewhere.
_UNREADABLE_DISK = frozenset({
    sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_CORRUPTFS,
})  # fmt: skip
_PASSING = frozenset({
    sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_PROTOCOL,
})  # fmt: skip


def aside(path: Path) -> Path:
    """Where a damaged file goes. Only the last one is kept: disks are small."""
    return path.with_name(path.name + ".damaged")


def replace_damaged(path: Path, limit: int) -> int:
    """Sets `path` aside for a new file with all that still holds; returns how many rows that were.

    Nobody may have it open. Raises FAILURES, and leaves it, where there is no room for a new one.
    """
    fresh = path.with_name(path.name + ".new")
    remove(fresh)
    saved = 0
    try:
        saved = _save(path, fresh, limit)
    except FAILURES as error:
        remove(fresh)
        if not is_damage(error):
            raise
        # Beyond repair: start with nothing.
    remove(aside(path))
    for side in SIDES:
        _move(Path(f"{path}{side}"), Path(f"{aside(path)}{side}"))
    _move(fresh, path)
    return saved


def remove(path: Path) -> None:
    for side in SIDES:
        Path(f"{path}{side}").unlink(missing_ok=True)


def _move(source: Path, target: Path) -> None:
    if source.exists():
        source.replace(target)


def _save(path: Path, fresh: Path, limit: int) -> int:
    old = connect(path, limit, to_rescue=True)
    try:
        new = connect(fresh, limit)
        try:
            new.execute("BEGIN")
            saved = sum(_copy_view(old, new, row) for row in _scan(old, "views"))
            saved += sum(_copy_document(new, row) for row in _scan(old, "documents"))
            new.execute("COMMIT")
        finally:
            new.close()
    finally:
        old.close()
    return saved


def _scan(connection: sqlite3.Connection, table: str) -> Iterator[Row]:
    """Whatever can be read, from both ends towards what cannot."""
    seen: set[Any] = set()
    for order in ("ASC", "DESC"):
        query = f"SELECT {COLUMNS[table]}, used FROM {table} ORDER BY id {order}"
        for row in _readable(connection, query):
            if row[0] in seen:
                return
            seen.add(row[0])
            yield row
        # A scan without an error has seen all; the way back then ends at its first row.


def _readable(connection: sqlite3.Connection, query: str, *values: object) -> Iterator[Row]:
    try:
        yield from connection.execute(query, values)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        if not is_damage(error):
            raise


def _copy_view(old: sqlite3.Connection, new: sqlite3.Connection, row: Row) -> int:
    """With the members and objects that are left; whether they are all its checksum tells later."""
    if ViewRow.unpack(row[:-1]) is None:
        return 0
    new.execute(_insert(10, "views"), row)
    copied = 1
    for member in _readable(old, "SELECT view, object, version FROM members WHERE view=?", row[0]):
        if not all(isinstance(value, int) for value in member):
            continue
        new.execute(_insert(3, "members"), member)
        query = f"SELECT {COLUMNS['objects']} FROM objects WHERE id=?"
        for thing in _readable(old, query, member[1]):
            if is_object(thing):
                copied += new.execute(_insert(6, "objects"), thing).rowcount > 0
    return copied


def _copy_document(new: sqlite3.Connection, row: Row) -> int:
    if not is_document(row[:-1]):
        return 0
    return new.execute(_insert(8, "documents"), row).rowcount


def _insert(columns: int, table: str) -> str:
    return f"INSERT OR IGNORE INTO {table} VALUES ({', '.join('?' * columns)})"
