"""What a running nats-server leaves in its store for us: its pid, its port, its last words."""

from __future__ import annotations

import json
from pathlib import Path

from bus.server.config import CONFIG, LOG, PID

STDERR = "nats.err"  # what it says before it has opened its log
PORT = "port"  # the port of the last start
_TAIL = 4096  # bytes


def running_pid(store: Path) -> int | None:
    """The pid of the nats-server that runs on this store, from whichever process we look.

    A pid file outlives a killed server, and its number may by now be somebody else's.
    """
    try:
        pid = int((store / PID).read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return None
    return pid if str(store / CONFIG).encode() in command else None


def announced_port(store: Path, pid: int) -> int:
    """The port that the server `pid` listens on; 0 as long as it has not said so."""
    try:
        told = json.loads((store / f"nats-server_{pid}.ports").read_text())
        return int(str(told["nats"][0]).rpartition(":")[2])
    except (OSError, ValueError, LookupError):
        return 0


def forget_run(store: Path) -> None:
    """Removes what a server that was killed left behind."""
    for path in (store / PID, *store.glob("nats-server_*.ports")):
        path.unlink(missing_ok=True)


def last_port(store: Path) -> int:
    """The port of the last start; 0 if there was none."""
    try:
        return int((store / PORT).read_text())
    except (OSError, ValueError):
        return 0


def last_words(store: Path, count: int = 3) -> str:
    """The last lines of what the server said in its last run."""
    lines = [*_tail(store / LOG)[-count:], *_tail(store / STDERR)[-count:]]
    return " | ".join(lines[-count:]) or "it said nothing"


def _tail(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL))
            return file.read().decode(errors="replace").splitlines()
    except OSError:
        return []
