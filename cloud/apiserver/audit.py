"""The audit log: one JSON line for each write (and failed request), in files of bounded size."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING

import msgspec

from actors.kube.serve.api import READ_VERBS, RequestInfo

if TYPE_CHECKING:
    from loguru import Logger


class AuditLog:
    """`path`, and `path` + ".1" with what came before it. A full disk is told once, then borne.

    Successful reads are left out: a watch a second would drown what people look for.
    """

    def __init__(
        self,
        path: Path,
        log: Logger,
        max_bytes: int = 8 * 1024 * 1024,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._log = log
        self._max_bytes = max_bytes
        self._wall = wall
        self._file: IO[bytes] | None = None
        self._size = 0
        self._failed = False

    def __call__(self, info: RequestInfo, code: int, seconds: float) -> None:
        if (info.verb in READ_VERBS or not info.is_resource) and code < 400:
            return
        line = msgspec.json.encode(self._record(info, code, seconds)) + b"\n"
        try:
            self._write(line)
            self._failed = False
        except OSError as error:
            if not self._failed:
                self._log.warning("the audit log cannot be written: {}", error)
            self._failed = True

    def _record(self, info: RequestInfo, code: int, seconds: float) -> dict[str, object]:
        record: dict[str, object] = {
            "time": round(self._wall(), 3),
            "user": info.user.name if info.user else "",
            "verb": info.verb,
            "uri": info.path,
            "code": code,
            "ms": round(seconds * 1000, 1),
        }
        if info.user and info.user.acting:
            record["as"] = info.user.acting.name
        return record

    def _write(self, line: bytes) -> None:
        if self._file is None or self._size + len(line) > self._max_bytes:
            self._rotate()
        assert self._file is not None
        self._file.write(line)
        self._size += len(line)

    def _rotate(self) -> None:
        self.close()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if self._path.exists() and self._path.stat().st_size * 2 > self._max_bytes:
            self._path.replace(self._path.with_name(self._path.name + ".1"))
        self._file = self._path.open("ab", buffering=0)
        self._size = self._file.tell()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
