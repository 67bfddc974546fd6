"""The file, worked on from two threads: one writes batches, one reads; never the event loop's.

Neither lets an error out: what cannot be written freezes its views, what cannot be read is absent,
and a damaged file is replaced by what holds of it.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from edge.cache.database import (
    FAILURES,
    aside,
    bytes_used,
    connect,
    connect_to_full_disk,
    is_damage,
    is_sound,
    replace_damaged,
)
from edge.cache.ops import Op
from edge.cache.plan import evictions
from edge.cache.settings import CacheSettings
from edge.cache.tables import Tables

if TYPE_CHECKING:
    from loguru import Logger

_T = TypeVar("_T")
_UNFIT = (OverflowError, UnicodeEncodeError, sqlite3.DataError, sqlite3.InterfaceError)
_CHECK_EVERY = 60.0  # seconds at least: a check reads all of the file
_LOW_WATER = 0.9  # of the limit: evict in larger bites, not at every write


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a batch."""

    is_kept: bool
    frozen: frozenset[int] = field(default_factory=frozenset)  # views that missed something


class Disk:
    def __init__(self, path: Path, settings: CacheSettings, log: Logger) -> None:
        self._path = path
        self._settings = settings
        self._log = log
        self._writer: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None
        self._reading = threading.Lock()  # held while reading, and to swap the file
        self._is_failing = False  # told once
        self._is_sick = False  # a reader met damage that SQLite noticed
        self._is_suspect = False  # or a row that does not hold
        self._checked = float("-inf")
        self.used = 0  # bytes, as of the last batch
        self.counts: Counter[str] = Counter()

    # The writing thread's

    def write(self, ops: Sequence[Op]) -> Written:
        """All of them in one transaction, or none."""
        views = frozenset(op.view for op in ops if op.view)
        try:
            frozen = self._retrying(lambda: self._write(ops))
        except FAILURES as error:
            self._tell_failure(error)
            return Written(False, views)
        if self._is_failing and ops:
            self._is_failing = False
            self._log.info("the disk cache is written again")
        return Written(True, frozenset(frozen))

    def settle(self) -> None:
        """Forces what is committed to the medium."""
        try:
            if self._writer is not None:
                self._writer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except FAILURES as error:
            self._tell_failure(error)

    def open(self) -> None:
        self.write(())

    def close(self) -> None:
        """The last connection's end checkpoints, and removes the log."""
        with self._reading:
            self._close_reader()
        self._close_writer()

    def _retrying(self, act: Callable[[], set[int]]) -> set[int]:
        """Once more after a repair."""
        try:
            self._heal()
            return act()
        except FAILURES as error:
            if not is_damage(error):
                raise
            self._repair(error)
            return act()

    @property
    def needs_care(self) -> bool:
        """Readers have met something that the next batch, an empty one will do, looks after."""
        return self._is_sick or self._is_suspect

    def _heal(self) -> None:
        """One bad row does not come alone: the pages around it may mislead the next writes."""
        now = time.monotonic()
        if self._is_suspect and now - self._checked >= _CHECK_EVERY:
            self._checked = now
            self._is_sick = self._is_sick or not is_sound(self._path, self._settings.limit)
        self._is_suspect = False
        if self._is_sick:
            self._repair(None)

    def _repair(self, error: Exception | None) -> None:
        with self._reading:
            self._close_reader()
            self._close_writer()
            saved = replace_damaged(self._path, self._settings.limit)
            self._is_sick = False
        self.counts["files.damaged"] += 1
        self._log.error(
            "the disk cache was damaged ({}): set aside as {}, {} rows saved",
            error or "found while reading", aside(self._path), saved,
        )  # fmt: skip

    def _write(self, ops: Sequence[Op]) -> set[int]:
        """Once more with room made beforehand, where our own bound was hit, not the disk's."""
        try:
            return self._transact(ops)
        except sqlite3.OperationalError as error:
            weight = sum(op.weight for op in ops)
            too_much = self.used + weight > self._settings.limit
            code = getattr(error, "sqlite_errorcode", None)
            if code != sqlite3.SQLITE_FULL or not too_much:
                raise
            return self._transact(ops, weight)

    def _transact(self, ops: Sequence[Op], room: int = 0) -> set[int]:
        if self._writer is None:
            self._writer = connect(self._path, self._settings.limit)
        db, tables = self._writer, Tables(self._writer)
        try:
            db.execute("BEGIN IMMEDIATE")
            if room:
                self._evict(db, tables, room)
            frozen = self._run_all(db, tables, ops)
            self._evict(db, tables)
            db.execute("COMMIT")
        except BaseException:
            self._roll_back()
            raise
        finally:
            self.counts["rows.damaged"] += tables.damaged
        db.execute("PRAGMA incremental_vacuum").fetchall()
        self.used = bytes_used(db)
        self.counts["batches"] += 1
        return frozen | tables.broken - {op.view for op in ops if op.is_whole}

    def _run_all(self, db: sqlite3.Connection, tables: Tables, ops: Sequence[Op]) -> set[int]:
        """Returns the views that missed something."""
        frozen: set[int] = set()
        for op in ops:
            if not self._run(db, tables, op):
                frozen.add(op.view)
            elif op.is_whole:
                frozen.discard(op.view)
        return frozen

    def _run(self, db: sqlite3.Connection, tables: Tables, op: Op) -> bool:
        """An operation that SQLite can never take must not keep the others from being written."""
        db.execute("SAVEPOINT op")
        try:
            done = op.run(tables)
        except _UNFIT as error:
            self._log.warning("not fit for the disk cache: {}", error)
            self.counts["writes.unfit"] += 1
            db.execute("ROLLBACK TO op")
            done = False
        db.execute("RELEASE op")
        return done

    def _evict(self, db: sqlite3.Connection, tables: Tables, room: int = 0) -> None:
        limit = max(self._settings.limit - room, 0)
        surplus = bytes_used(db) - limit
        while surplus > 0:
            surplus += round(limit * (1 - _LOW_WATER))
            chosen = evictions(tables.candidates(self._settings.critical), surplus)
            for candidate in chosen:
                if candidate.kind == "view":
                    tables.drop_view(candidate.id)
                else:
                    tables.drop_document(candidate.id)
            self.counts["evicted"] += len(chosen)
            surplus = bytes_used(db) - limit if chosen else 0

    def _roll_back(self) -> None:
        """A connection that cannot even do that is given up."""
        if self._writer is None or not self._writer.in_transaction:
            return
        try:
            self._writer.execute("ROLLBACK")
        except sqlite3.Error:
            self._close_writer()

    def _tell_failure(self, error: Exception) -> None:
        self.counts["writes.failed"] += 1
        if not self._is_failing:
            self._is_failing = True
            self._log.error("the disk cache cannot be written, it goes on as it is: {}", error)

    def _close_writer(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    # The reading thread's

    def read(self, act: Callable[[Tables], _T]) -> tuple[_T | None, frozenset[int]]:
        """Its result and the views that were found damaged; None where nothing can be read."""
        with self._reading:
            try:
                return self._read(act)
            except (*FAILURES, *_UNFIT) as error:
                self.counts["reads.failed"] += 1
                self._log.debug("reading the disk cache: {}", error)
                self._is_sick = self._is_sick or is_damage(error)
                self._close_reader()
                return None, frozenset()

    def _read(self, act: Callable[[Tables], _T]) -> tuple[_T, frozenset[int]]:
        try:
            if self._reader is None:
                self._reader = connect(self._path, self._settings.limit)
        except (sqlite3.Error, OSError) as error:
            if is_damage(error):
                raise
            with closing(connect_to_full_disk(self._path)) as passing:
                return self._ask(passing, act)
        return self._ask(self._reader, act)

    def _ask(
        self, db: sqlite3.Connection, act: Callable[[Tables], _T]
    ) -> tuple[_T, frozenset[int]]:
        tables = Tables(db)
        db.execute("BEGIN")  # one view of the file, whatever is written meanwhile
        try:
            result = act(tables)
        finally:
            self.counts["rows.damaged"] += tables.damaged
            self._is_suspect = self._is_suspect or tables.damaged > 0
            db.execute("ROLLBACK")
        return result, frozenset(tables.broken)

    def _close_reader(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None
