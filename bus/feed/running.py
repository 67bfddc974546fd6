"""What the shells share: a `run()` that somebody owns.

When it raises, its owner must fail too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

Spawn: TypeAlias = Callable[[str, Coroutine[Any, Any, None]], asyncio.Task[None]]


def spawn_task(name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    return asyncio.create_task(work, name=name)


class Running:
    """Something with a `run()` that somebody owns."""

    name: str
    _task: asyncio.Task[None] | None = None

    async def run(self) -> None:
        raise NotImplementedError

    def start(self, spawn: Spawn = spawn_task) -> asyncio.Task[None]:
        self._task = spawn(f"{type(self).__name__} {self.name}", self.run())
        return self._task

    async def stop(self) -> None:
        """Idempotent. Raises what `run()` had raised before."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()
