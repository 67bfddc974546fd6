"""Changes a running server's users, from whichever process of the machine."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterable
from pathlib import Path

from bus.errors import ServerFailed
from bus.server.binary import nats_server
from bus.server.config import CONFIG, PID, USERS, users_text
from bus.server.settings import ServerUser


def write_users(store: Path, users: Iterable[ServerUser]) -> bool:
    """Replaces the users file; whether it changed. `reload` makes it take effect.

    The old file is kept, and ServerFailed raised, if nats-server finds the new one wrong.
    """
    path = store / USERS
    text = users_text(users)
    old = path.read_text() if path.exists() else None
    if text == old:
        return False
    _replace(path, text)
    try:
        _check(store)
    except ServerFailed:
        if old is not None:
            _replace(path, old)
        raise
    return True


def reload(store: Path) -> None:
    """Tells the server to read its configuration again; nothing happens while it is down."""
    try:
        os.kill(int((store / PID).read_text()), signal.SIGHUP)
    except (FileNotFoundError, ProcessLookupError, ValueError):
        return  # it reads the file when it starts


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(text)
    partial.replace(path)


def _check(store: Path) -> None:
    if not (store / CONFIG).exists():
        return  # never started: `EmbeddedServer` checks at its start
    command = [str(nats_server()), "-t", "-c", str(store / CONFIG)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    if done.returncode:
        raise ServerFailed(f"nats-server refuses the users: {done.stderr.strip()[-500:]}")
