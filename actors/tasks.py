"""Background tasks, named, guarded and owned: none fails unseen, none outlives its owner."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loguru import Logger

OnFailure = Callable[[str, BaseException], None]


class OwnedTasks:
    """The tasks of one owner. A task that raises is logged at once and reported to `on_failure`.

    A task that returns, or is cancelled by its owner, is fine.
    """

    def __init__(self, owner: str, log: Logger, on_failure: OnFailure) -> None:
        self._owner = owner
        self._log = log
        self._on_failure = on_failure
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def __repr__(self) -> str:
        return f"<OwnedTasks of {self._owner}: {self.names()}>"

    def names(self) -> list[str]:
        return sorted(task.get_name() for task in self._tasks)

    def spawn(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Raises RuntimeError once closed: nothing would await the task."""
        if self._closed:
            work.close()
            raise RuntimeError(f"{self._owner} has stopped: no task {name} any more")
        task = asyncio.create_task(self._guard(name, work), name=f"{self._owner}:{name}")
        # Cancelled before its first step, a guard never awaits `work`; closing it is harmless else.
        task.add_done_callback(lambda _: work.close())
        task.add_done_callback(self._tasks.discard)
        self._tasks.add(task)
        return task

    async def _guard(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:
            self._log.opt(exception=error).error("task {} failed: {!r}", name, error)
            self._on_failure(name, error)

    def cancel(self) -> set[asyncio.Task[None]]:
        """Cancels all but the caller's own task and takes no more; returns what was cancelled."""
        self._closed = True
        mine = {task for task in self._tasks if task is not asyncio.current_task()}
        for task in mine:
            task.cancel()
        return mine

    async def close(self, timeout: float) -> list[str]:
        """Cancels and awaits all; returns the names of those that do not end within `timeout`."""
        mine = self.cancel()
        if mine:
            await asyncio.wait(mine, timeout=timeout)
        left = sorted(task.get_name() for task in mine if not task.done())
        if left:
            self._log.warning("did not end when cancelled: {}", ", ".join(left))
        return left


async def bounded(
    name: str, work: Coroutine[Any, Any, None], timeout: float, log: Logger
) -> Exception | None:
    """Runs `work` for at most `timeout` seconds; then it is cancelled and named in the log.

    Returns what went wrong instead of raising it: stops go on whatever happens.
    """
    task = asyncio.create_task(work, name=name)
    try:
        await asyncio.wait({task}, timeout=timeout)
        if not task.done():
            return await _overrun(task, timeout, log)
    except asyncio.CancelledError:
        task.cancel()
        raise
    return _outcome(task, log)


async def _overrun(task: asyncio.Task[None], timeout: float, log: Logger) -> Exception:
    log.warning("{} overran its {:.1f} s and is cancelled", task.get_name(), timeout)
    task.cancel()
    await asyncio.wait({task}, timeout=0.5)
    if not task.done():
        log.error("{} ignores its cancellation and is abandoned", task.get_name())
    return TimeoutError(f"{task.get_name()} overran its {timeout:.1f} s")


def _outcome(task: asyncio.Task[None], log: Logger) -> Exception | None:
    error = asyncio.CancelledError() if task.cancelled() else task.exception()
    if error is None:
        return None
    log.opt(exception=error).error("{} failed: {!r}", task.get_name(), error)
    return error if isinstance(error, Exception) else RuntimeError(repr(error))
