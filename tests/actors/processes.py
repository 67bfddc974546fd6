"""A site in a process of its own, all that stands below it, and whether any of that is left."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from tests.actors.until import until

REPOSITORY = Path(__file__).parents[2]


class SiteProcess:
    def __init__(self, path: Path) -> None:
        self._run_file = path.parent / "state" / "run" / "pool-a.json"
        self._errors = (path.parent / "stderr").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.actors.toysite", str(path)],
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )
        self.below: list[psutil.Process] = []

    @property
    def log(self) -> str:
        return Path(self._errors.name).read_text()

    async def up(self, timeout: float = 40.0) -> dict[str, Any]:
        """Waits until all is started; returns the run file's content."""
        await until(lambda: self._run_file.exists() or not self._lives, "up", timeout)
        assert self._lives, self.log
        self.below = psutil.Process(self.process.pid).children(recursive=True)
        content: dict[str, Any] = json.loads(self._run_file.read_text())
        return content

    @property
    def _lives(self) -> bool:
        return self.process.poll() is None

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def ended(self, timeout: float = 20.0) -> int:
        await until(lambda: not self._lives, "the end of the site", timeout)
        return int(self.process.returncode)

    def left(self) -> list[psutil.Process]:
        """What once stood below the site and still runs."""
        return [process for process in self.below if is_running(process)]

    def close(self) -> None:
        if self._lives:
            self.process.kill()
            self.process.wait()
        for process in self.left():
            with contextlib.suppress(psutil.Error):
                process.kill()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._errors.close()


def is_running(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


@contextlib.contextmanager
def site_process(path: Path) -> Iterator[SiteProcess]:
    process = SiteProcess(path)
    try:
        yield process
    finally:
        process.close()
