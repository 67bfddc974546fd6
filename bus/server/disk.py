"""Notices that nats-server can no longer write its store, and when there is room again.

After one failed write (disk full, I/O error) nats-server refuses every later write of that stream
until it is restarted, also once there is room again (2.15). It tells this in its log alone.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from bus.server.config import LOG

_BROKEN = re.compile(
    rb"\[(?:ERR|FTL)\] (.*(?:critical write error|no space left on device|"
    rb"input/output error|read-only file system).*)",
    re.IGNORECASE,
)
_MOST = 1 << 20  # bytes of log read at once; of more, the newest
_ROOM = 32 << 20  # bytes, or ...
_SHARE = 10  # ... a tenth of a small disk


class DiskWatch:
    """`look` as often as you like: it reads what the log has grown by. Never raises."""

    def __init__(self, store: Path) -> None:
        self._store = store
        self._log = store / LOG
        self._read_to = self._size()

    def look(self) -> str:
        """The newest complaint since the last look; "" if there is none."""
        size = self._size()
        start = self._read_to if size >= self._read_to else 0  # it was rotated
        self._read_to = size
        found = _BROKEN.findall(self._read(max(start, size - _MOST), size))
        return found[-1].decode(errors="replace").strip() if found else ""

    def has_room(self) -> bool:
        try:
            disk = os.statvfs(self._store)
        except OSError:
            return False
        room = min(_ROOM, disk.f_blocks * disk.f_frsize // _SHARE)
        return disk.f_bavail * disk.f_frsize >= room

    def _size(self) -> int:
        try:
            return self._log.stat().st_size
        except OSError:
            return 0

    def _read(self, start: int, end: int) -> bytes:
        if start >= end:
            return b""
        try:
            with self._log.open("rb") as file:
                file.seek(start)
                return file.read(end - start)
        except OSError:
            return b""
