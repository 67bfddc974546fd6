"""What the shells share: a `run()` that somebody owns.

When it raises, its owner must fail too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

Spawn: TypeAlias = Callable[[str, Coroutine[Any, Any, None]], asyncio.Task[None]]


def _spawn(name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    return asyncio.create_task(work, name=name)


class Running:
    """Something with a `run()` that somebody owns."""

    name: str
    _task: asyncio.Task[None] | None = None
    _is_ours = False  # nobody else sees how the task ends

    async def run(self) -> None:
        raise NotImplementedError

    def start(self, spawn: Spawn | None = None) -> asyncio.Task[None]:
        """`spawn` is the owner's: it sees how `run()` ends. Without it `stop` tells."""
        self._is_ours = spawn is None
        self._task = (spawn or _spawn)(f"{type(self).__name__} {self.name}", self.run())
        return self._task

    async def stop(self) -> None:
        """Idempotent. Started without a `spawn` it raises what `run()` has raised."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        await asyncio.wait([task])
        if self._is_ours and not task.cancelled():
            task.result()
