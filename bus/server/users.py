"""Changes a running server's users, from whichever process of the machine."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

from bus.errors import ServerFailed
from bus.server.binary import nats_server
from bus.server.config import CONFIG, USERS, users_text
from bus.server.files import running_pid
from bus.server.settings import ServerUser

_CHECK_SECONDS = 10.0


def write_users(store: Path, users: Iterable[ServerUser]) -> bool:
    """Replaces the users file; whether it changed. `reload` makes it take effect.

    Blocks for some 50 ms. The old file is kept, and ServerFailed raised, if nats-server finds the
    new one wrong.
    """
    path, text = store / USERS, users_text(users)
    store.mkdir(parents=True, exist_ok=True)
    with _alone(store):
        old = path.read_text() if path.exists() else None
        if text == old:
            return False
        _replace(path, text)
        try:
            _check(store)
        except ServerFailed:
            _replace(path, old) if old is not None else path.unlink()
            raise
    return True


def reload(store: Path) -> None:
    """Tells the server to read its configuration again; nothing happens while it is down."""
    pid = running_pid(store)
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):  # it reads the file when it starts
            os.kill(pid, signal.SIGHUP)


@contextlib.contextmanager
def _alone(store: Path) -> Iterator[None]:
    """One writer at a time, among all processes."""
    with (store / "users.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _replace(path: Path, text: str) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(text)
    partial.replace(path)


def _check(store: Path) -> None:
    if not (store / CONFIG).exists():
        return  # never started: `EmbeddedServer` hears of it at its start
    command = [str(nats_server()), "-t", "-c", str(store / CONFIG)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_CHECK_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise ServerFailed(
            f"nats-server did not check the users within {error.timeout} s"
        ) from error
    if done.returncode:
        raise ServerFailed(f"nats-server refuses the users: {done.stderr.strip()[-500:]}")
