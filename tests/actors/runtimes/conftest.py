"""The runtimes under test. Ray starts once for all of them: it takes seconds."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from loguru import logger

from actors.runtimes import HostHandle, Runtime
from actors.runtimes.local import LocalHandle, LocalRuntime
from actors.runtimes.ray import RayRuntime

REPOSITORY = Path(__file__).parents[3]


class Bench:
    """A runtime, how to kill one of its hosts, and the log lines that reached the site."""

    def __init__(self, name: str) -> None:
        self.lines: list[str] = []
        self.runtime: Runtime
        if name == "ray":
            # Workers unpickle settings of the tests, which are not installed.
            environment = {"PYTHONPATH": str(REPOSITORY)}
            self.runtime = RayRuntime(
                environment=environment, write_logs=lambda data: self._log(data.decode())
            )
        else:
            self.runtime = LocalRuntime()
            logger.add(lambda line: self._log(str(line)), format="{message}")

    def _log(self, text: str) -> None:
        self.lines += text.splitlines()

    def kill(self, handle: HostHandle) -> None:
        if isinstance(handle, LocalHandle):
            handle.kill()
        else:
            os.kill(handle.pid, signal.SIGKILL)


@pytest_asyncio.fixture(scope="session", loop_scope="session", params=["local", "ray"])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    made = Bench(request.param)
    await made.runtime.start()
    yield made
    await made.runtime.stop(5.0)
