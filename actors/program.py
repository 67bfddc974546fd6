"""Runs an async program on uvloop so that one Ctrl-C ends it in order and a second one at once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any

import uvloop
from loguru import logger

LAST_RESORT_SECONDS = 60.0  # well beyond all deadlines of an orderly stop together
SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run(main: Coroutine[Any, Any, int], kill: Callable[[], None]) -> int:
    """Returns main's exit code; 0 if a signal ended it in order.

    The first SIGINT or SIGTERM cancels `main`, which stops what it runs and is awaited. The second
    calls `kill` and ends the process at once with 128 + the signal's number; so does the last
    resort, with 1, when the orderly stop hangs.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_guarded(main, kill))


async def _guarded(main: Coroutine[Any, Any, int], kill: Callable[[], None]) -> int:
    task = asyncio.create_task(main, name="main")
    handler = _Handler(task, kill, asyncio.get_running_loop())
    before = {number: signal.signal(number, handler) for number in SIGNALS}
    try:
        await asyncio.wait({task})
    finally:
        handler.done()
        for number, old in before.items():
            signal.signal(number, old)
    if task.cancelled() and handler.is_stopping:
        return 0
    return task.result()


class _Handler:
    """Plain signal handlers, not the loop's: they must work while the loop is stuck."""

    def __init__(
        self, task: asyncio.Task[int], kill: Callable[[], None], loop: asyncio.AbstractEventLoop
    ) -> None:
        self.is_stopping = False
        self._task = task
        self._kill = kill
        self._loop = loop
        self._last_resort = threading.Timer(LAST_RESORT_SECONDS, self._give_up)
        self._last_resort.daemon = True

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        if self.is_stopping:
            self._now(128 + number, "ending at once")
        self.is_stopping = True
        self._last_resort.start()
        self._loop.call_soon_threadsafe(self._stop, signal.Signals(number).name)

    def _stop(self, name: str) -> None:
        # In the loop: a log call inside a signal handler could wait for its own lock.
        logger.bind(actor="site").info("{}: stopping in order; once more ends all at once", name)
        self._task.cancel()

    def _give_up(self) -> None:
        self._now(1, f"the orderly stop hangs after {LAST_RESORT_SECONDS:.0f} s: ending by force")

    def _now(self, code: int, why: str) -> None:
        with contextlib.suppress(OSError):
            os.write(2, f"{why}\n".encode())
        try:
            self._kill()
        finally:
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.flush()
            os._exit(code)  # exit hooks could wait for what was just killed

    def done(self) -> None:
        self._last_resort.cancel()
