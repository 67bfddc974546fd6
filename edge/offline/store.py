"""The queue's file: SQLite, every commit forced to the medium before anybody is answered.

The opposite bargain to `edge.cache`: what waits here is known to nobody else. WAL with
synchronous=FULL forces the log at each commit; a power cut may take only what was not answered yet.
Several writers that wait share one commit. A row that does not hold is told of, the others stay; a
file that SQLite cannot read is set aside, and its readable rows move to a new one.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from bus.errors import DecodeError
from edge.cache.database import FAILURES, SIDES, Unreadable, aside, is_damage, remove
from edge.cache.rows import checksum, pack, unpack
from edge.offline.entry import Entry
from edge.offline.reports import Report
from edge.offline.tokens import Token

if TYPE_CHECKING:
    from loguru import Logger

_T = TypeVar("_T")
_FORMAT = 1
_WAIT = 5.0  # seconds for a lock: somebody's `sqlite3` on the file
_TYPES: dict[str, type] = {"entries": Entry, "reports": Report, "tokens": Token}
_SCHEMA = "".join(
    f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, data BLOB, sum INTEGER);" for table in _TYPES
)


class StoreFailed(Exception):
    """Nothing of it was kept."""


@dataclass(frozen=True)
class Ops:
    """One transaction."""

    puts: tuple[Entry, ...] = ()
    removes: tuple[int, ...] = ()
    reports: tuple[tuple[int, Report], ...] = ()  # numbered
    oldest_report: int = 0  # what is below goes
    tokens: tuple[Token, ...] = ()
    old_tokens: tuple[int, ...] = ()


@dataclass
class Loaded:
    entries: list[Entry] = field(default_factory=list)
    reports: list[tuple[int, Report]] = field(default_factory=list)
    tokens: list[Token] = field(default_factory=list)
    damaged: int = 0  # rows that do not hold


@dataclass
class Waiting:
    """A transaction and what became of it."""

    ops: Ops
    error: Exception | None = None


class Store:
    def __init__(self, path: Path, log: Logger) -> None:
        self._path = path
        self._log = log
        self._db: sqlite3.Connection | None = None
        self._waiting: deque[Waiting] = deque()
        self._is_closed = False
        self._thread = ThreadPoolExecutor(1, "offline-writes")
        self.saved = 0  # rows that came over from a damaged file
        self.repairs = 0

    async def load(self) -> Loaded:
        """Raises StoreFailed."""
        return await self._in_thread(self._load)

    def enqueue(self, ops: Ops) -> Waiting:
        """To be committed in the order of these calls; nothing happens before `done` is awaited."""
        waiting = Waiting(ops)
        self._waiting.append(waiting)
        return waiting

    async def done(self, waiting: Waiting) -> None:
        """On the medium when it returns. Raises StoreFailed."""
        await self._in_thread(self._drain)  # or an earlier one's has taken it along
        if waiting.error is not None:
            raise StoreFailed(str(waiting.error)) from waiting.error

    async def close(self) -> None:
        """Idempotent."""
        if not self._is_closed:
            self._is_closed = True
            await self._in_thread(self._close)
            self._thread.shutdown(wait=False)

    async def _in_thread(self, act: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, act)

    # -- the thread's -----------------------------------------------------------------------------

    def _load(self) -> Loaded:
        try:
            return self._retrying(self._read)
        except FAILURES as error:
            raise StoreFailed(str(error)) from error

    def _read(self) -> Loaded:
        db, loaded = self._opened(), Loaded()
        (found,) = db.execute("PRAGMA integrity_check(1)").fetchone()  # all of it is read anyway
        if found != "ok":
            raise Unreadable(str(found))
        rows: dict[str, list[Any]] = {table: [] for table in _TYPES}
        for table in _TYPES:
            for row in db.execute(f"SELECT id, data, sum FROM {table} ORDER BY id"):
                found = _unpacked(table, row)
                loaded.damaged += found is None
                if found is not None:
                    rows[table].append((row[0], found))
        loaded.entries = [entry for _, entry in rows["entries"]]
        loaded.reports = rows["reports"]
        loaded.tokens = [token for _, token in rows["tokens"]]
        return loaded

    def _drain(self) -> None:
        batch: list[Waiting] = []
        while self._waiting:
            batch.append(self._waiting.popleft())
        if not batch:
            return
        try:
            self._retrying(lambda: self._transact(batch))
        except Exception as error:  # each of them is told
            for waiting in batch:
                waiting.error = error

    def _retrying(self, act: Callable[[], _T]) -> _T:
        """Once more after a repair."""
        try:
            return act()
        except FAILURES as error:
            if not is_damage(error):
                raise
            self._repair(error)
            return act()

    def _transact(self, batch: list[Waiting]) -> None:
        db = self._opened()
        try:
            db.execute("BEGIN IMMEDIATE")
            for waiting in batch:
                _run(db, waiting.ops)
            db.execute("COMMIT")
        except BaseException:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        try:
            if self._db is not None and self._db.in_transaction:
                self._db.execute("ROLLBACK")
        except sqlite3.Error:
            self._close()

    def _opened(self) -> sqlite3.Connection:
        if self._db is None:
            self._db = connect(self._path)
        return self._db

    def _close(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            db.close()

    def _repair(self, error: Exception) -> None:
        self._close()
        self.saved = _replace(self._path)
        self.repairs += 1
        self._log.error(
            "the queue of offline writes was damaged ({}): set aside as {}, {} rows saved",
            error, aside(self._path), self.saved,
        )  # fmt: skip


def connect(path: Path) -> sqlite3.Connection:
    """Raises what FAILURES lists."""
    is_new = not path.exists()
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # tokens are nobody else's to read
    if is_new:
        _force_folder(path.parent)
    db = sqlite3.connect(path, timeout=_WAIT, isolation_level=None, check_same_thread=False)
    try:
        db.text_factory = _text
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "cell_size_check=ON"):
            db.execute(f"PRAGMA {pragma}").fetchall()
        (found,) = db.execute("PRAGMA user_version").fetchone()
        (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if found == 0 and tables == 0:
            db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version={_FORMAT}; COMMIT;")
        elif found != _FORMAT:
            raise Unreadable(f"its format is {found}, not {_FORMAT}")
    except BaseException:
        db.close()
        raise
    return db


def _text(raw: bytes) -> str:
    """What damage made undecodable must fail its checksum, not the query."""
    return raw.decode(errors="surrogateescape")


def _force_folder(folder: Path) -> None:
    """A file whose name is lost is lost."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _run(db: sqlite3.Connection, ops: Ops) -> None:
    for number in ops.removes:
        db.execute("DELETE FROM entries WHERE id=?", (number,))
    for entry in ops.puts:
        _put(db, "entries", entry.id, entry)
    for number, report in ops.reports:
        _put(db, "reports", number, report)
    if ops.oldest_report:
        db.execute("DELETE FROM reports WHERE id<?", (ops.oldest_report,))
    for number in ops.old_tokens:
        db.execute("DELETE FROM tokens WHERE id=?", (number,))
    for token in ops.tokens:
        _put(db, "tokens", token.id, token)


def _put(db: sqlite3.Connection, table: str, number: int, thing: Any) -> None:
    data = pack(msgspec.msgpack.encode(thing))
    row = (number, data, checksum(table, number, data))
    db.execute(f"INSERT OR REPLACE INTO {table} VALUES (?,?,?)", row)


def _unpacked(table: str, row: tuple[Any, ...]) -> Any:
    """None if it does not hold."""
    number, data, total = row
    if not isinstance(data, bytes) or total != checksum(table, number, data):
        return None
    try:
        return msgspec.msgpack.decode(unpack(data), type=_TYPES[table])
    except (DecodeError, msgspec.DecodeError, msgspec.ValidationError):
        return None


def _replace(path: Path) -> int:
    """Sets a damaged file aside for a new one with all rows that hold; how many those were."""
    fresh = path.with_name(path.name + ".new")
    remove(fresh)
    saved = 0
    new = connect(fresh)
    try:
        new.execute("BEGIN")
        for table, row in _rescued(path):
            new.execute(f"INSERT OR REPLACE INTO {table} VALUES (?,?,?)", row)
            saved += 1
        new.execute("COMMIT")
    finally:
        new.close()
    remove(aside(path))
    for side in SIDES:
        if (source := Path(f"{path}{side}")).exists():
            source.replace(f"{aside(path)}{side}")
    fresh.replace(path)
    _force_folder(path.parent)
    return saved


def _rescued(path: Path) -> Iterator[tuple[str, tuple[Any, ...]]]:
    try:
        old = sqlite3.connect(path, isolation_level=None)
        old.text_factory = _text
    except FAILURES:
        return
    try:
        for table in _TYPES:
            seen: set[Any] = set()
            for order in ("ASC", "DESC"):  # from both ends towards what cannot be read
                for row in _readable(old, f"SELECT id, data, sum FROM {table} ORDER BY id {order}"):
                    if row[0] not in seen and _unpacked(table, row) is not None:
                        seen.add(row[0])
                        yield table, row
    finally:
        old.close()


def _readable(db: sqlite3.Connection, query: str) -> Iterator[tuple[Any, ...]]:
    try:
        yield from db.execute(query)
    except FAILURES:
        return
