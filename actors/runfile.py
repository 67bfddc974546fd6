"""What a running site leaves in its state directory: locks against a second start, and where it is.

`<state>/run/<site>[.<node>].json` says how to reach it (`atoll status` reads that); it is replaced
as a whole and removed at the stop. Locks are the kernel's: they end with the process that holds
them, however it ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from pathlib import Path
from typing import IO, Any


def run_directory(state: Path) -> Path:
    return state / "run"


class AlreadyRunning(Exception):
    """Something of this site runs already; the text names what, and the process."""


class Locks:
    """Names held by this process in one state directory."""

    def __init__(self, state: Path) -> None:
        self._directory = run_directory(state)
        self._held: dict[str, IO[str]] = {}

    def take(self, name: str) -> None:
        """Raises AlreadyRunning if another process (or another site object) holds the name."""
        self._directory.mkdir(parents=True, exist_ok=True)
        file = (self._directory / f"{name}.lock").open("a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            file.close()
            raise AlreadyRunning(
                f"{name} runs already, as process {holder} (state directory "
                f"{self._directory.parent}); stop it first"
            ) from error
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        self._held[name] = file

    def release(self) -> None:
        """All of them. The files stay: removing one could part two processes that wait for it."""
        while self._held:
            _, file = self._held.popitem()
            file.close()


class RunFile:
    """Written whole or not at all."""

    def __init__(self, state: Path, name: str) -> None:
        self.path = run_directory(state) / f"{name}.json"
        self._is_ours = False

    def write(self, content: dict[str, Any]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_suffix(f".{os.getpid()}.tmp")
        draft.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        draft.replace(self.path)
        self._is_ours = True

    def remove(self) -> None:
        """Ours alone, and once. A file whose process is gone tells of a crash."""
        if self._is_ours:
            self._is_ours = False
            with contextlib.suppress(FileNotFoundError):
                self.path.unlink()
