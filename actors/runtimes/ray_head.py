"""A Ray of our own: trimmed, on this machine, with our token, in the hands of a guard process.

`ray.init` alone would start 100 MB more and leave processes behind if we are killed; `ray stop`
ends every Ray of the machine. So: `ray start` with what can be left out left out, below
`bus.guard`, which ends it in the one order that works (raylet, wait, GCS) however we end ourselves.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

import bus.guard
from actors.runtimes.api import HostGone

START_SECONDS = 90.0  # usually 3; 22 were seen on two busy cores
GRACE_SECONDS = 5.0  # for Ray's processes to end by themselves; usually 0.3
MAX_DIRECTORY = 40  # characters: Ray's unix socket paths must stay below 108
OBJECT_STORE = 75 << 20  # bytes; Ray's minimum, and we keep nothing in it
TOKEN = "RAY_AUTH_TOKEN"
ESSENTIAL = ("raylet", "gcs_server")  # in their stop order

START = (
    *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--port=0", "--num-cpus=0"),
    *("--no-monitor", "--include-log-monitor=false", "--include-dashboard=false"),
    *("--disable-usage-stats", f"--object-store-memory={OBJECT_STORE}", "--log-style=record"),
)

SETTINGS = {
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    # A machine short of memory is for its administrator to judge, not for Ray to kill hubs on.
    "RAY_memory_monitor_refresh_ms": "0",
    "RAY_event_stats": "0",
    "RAY_enable_metrics_collection": "0",
    # Ray's own logs are for looking into Ray; its default is 600 MB for each of its processes.
    "RAY_ROTATION_MAX_BYTES": str(2 << 20),
    "RAY_ROTATION_BACKUP_COUNT": "1",
}


def process_token() -> str:
    """The token of all Rays of this process: Ray reads it from the environment, once."""
    return os.environ.setdefault(TOKEN, secrets.token_hex(32))


def short_directory() -> Path:
    """A new directory for Ray's files, with a path short enough for its sockets."""
    for parent in dict.fromkeys((tempfile.gettempdir(), "/tmp", "/var/tmp", "/dev/shm")):
        if len(parent) + len("/atoll-xxxxxxxx") <= MAX_DIRECTORY and os.access(parent, os.W_OK):
            return Path(tempfile.mkdtemp(prefix="atoll-", dir=parent))
    raise OSError(f"Ray needs a writable temporary directory of at most {MAX_DIRECTORY} characters")


class RayHead:
    """One life of Ray's own processes. Its methods block: call them in a thread.

    `on_exit(reason)` is called, in another thread, when it ended without being asked to.
    """

    def __init__(self, environment: Mapping[str, str], on_exit: Callable[[str], None]) -> None:
        self.directory = short_directory()
        self.address = ""
        self._environment = environment
        self._on_exit = on_exit
        self._output: deque[str] = deque(maxlen=50)
        self._started = threading.Event()
        self._code: int | None = None  # of `ray start`
        self._stopping = False
        self._changing = threading.Lock()
        # systemd-tmpfiles deletes what is old from /tmp, but not below a locked directory.
        self._lock = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(self._lock, fcntl.LOCK_SH)
        self._guard: subprocess.Popen[str] | None = None
        self._known: list[psutil.Process] = []
        self._reader = threading.Thread(target=self._follow, name="ray-head", daemon=True)

    def start(self) -> None:
        """Raises HostGone, with Ray's last words, if it does not come up."""
        with self._changing:
            if self._stopping:
                raise HostGone("Ray was stopped before it started")
            self._guard = self._spawn()
        self._reader.start()
        came_up = self._started.wait(START_SECONDS) and self._code == 0
        if not came_up:
            self.kill()
            self._reader.join()
            raise HostGone(f"Ray did not start: {' / '.join(self._output) or 'no word from it'}")
        self.address = (self.directory / "ray_current_cluster").read_text().strip()
        self._drop_dashboard()
        self._known = self.processes()

    def _spawn(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self._command(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self._full_environment(),
            text=True,
            errors="replace",
            start_new_session=True,  # a terminal's Ctrl-C is for us alone
        )

    def _command(self) -> list[str]:
        guard = [sys.executable, "-I", "-S", bus.guard.__file__, "--grace", str(GRACE_SECONDS)]
        order = [word for name in ESSENTIAL for word in ("--first", name)]
        directory = str(self.directory)
        return [*guard, *order, "--remove", directory, "--", *START, f"--temp-dir={directory}"]

    def _full_environment(self) -> dict[str, str]:
        ours = {**os.environ, **SETTINGS, TOKEN: process_token(), **self._environment}
        ours.pop("RAY_ADDRESS", None)  # somebody else's cluster
        return ours

    def _follow(self) -> None:
        """Reads what the guard and `ray start` say until the guard is gone."""
        assert self._guard is not None
        assert self._guard.stdout is not None
        for line in self._guard.stdout:
            self._output.append(line.strip())
            if line.startswith("guard: ended with "):
                self._code = int(line.split()[-1])
                self._started.set()
        self._guard.wait()
        self._started.set()
        if not self._stopping:
            self._on_exit("Ray's own processes ended")

    def _drop_dashboard(self) -> None:
        """70 MB that start even with `--include-dashboard=false`, and that nothing misses."""
        for process in self.processes():
            try:
                if any(word.endswith("dashboard/dashboard.py") for word in process.cmdline()):
                    process.terminate()
            except psutil.Error:  # gone meanwhile
                continue

    def processes(self) -> list[psutil.Process]:
        """Everything below the guard, workers included."""
        try:
            below: list[psutil.Process] = psutil.Process(self._pid()).children(recursive=True)
        except psutil.Error:
            return []
        return below

    def _pid(self) -> int:
        return self._guard.pid if self._guard is not None else -1

    @property
    def is_alive(self) -> bool:
        return self._guard is not None and self._guard.poll() is None and self._reader.is_alive()

    def stop(self) -> None:
        """In order, by force after GRACE_SECONDS; returns when no process is left. Idempotent."""
        with self._changing:
            self._stopping = True
        if self._guard is not None and self._guard.stdin is not None:
            self._guard.stdin.close()
        self._ended(GRACE_SECONDS + 5.0)

    def kill(self) -> None:
        """At once. Does not wait for long: a kill takes the guard milliseconds."""
        self._stopping = True
        if self._guard is not None:
            self._guard.terminate()
        self._ended(2.0)

    def _ended(self, timeout: float) -> None:
        """Waits for the guard, and ends what it may have left: somebody could have killed it."""
        # psutil knows a process by pid and start time: a number used again is not touched.
        left = [*self._known, *self.processes()]
        if self._guard is not None:
            try:
                self._guard.wait(timeout)
            except subprocess.TimeoutExpired:
                self._guard.kill()
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
        self._release()

    def _release(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)
        with contextlib.suppress(OSError):  # closed already
            os.close(self._lock)
        self._lock = -1
        if self._guard is not None and not self._reader.is_alive():
            for pipe in (self._guard.stdin, self._guard.stdout):
                if pipe is not None:
                    pipe.close()
