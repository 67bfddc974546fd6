"""How many requests a hub works on at a time, and whose: the node's own components come first.

After upstream's API Priority and Fairness, much simplified: each level has seats that nobody else
takes, the rest is for whoever comes. Who finds none waits a while in a short queue, then is told to
come again (429). Watches hold no seats: they last (OpenYurt counted them, and ran out).
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum

from actors.kube.status_errors import too_many_requests


class Level(StrEnum):
    """In order of who gets a free seat first."""

    NODE = "node"  # without its components no pod starts
    WORKLOAD = "workload"  # who comes with credentials of its own: pods, operators
    OTHER = "other"


@dataclass(frozen=True, kw_only=True)
class SeatSettings:
    total: int = 400  # upstream's --max-requests-inflight
    # Of the total, what is kept free for a level: a node's components ask a few dozen at a time.
    kept: tuple[tuple[Level, float], ...] = (
        (Level.NODE, 0.3),
        (Level.WORKLOAD, 0.2),
        (Level.OTHER, 0.05),
    )
    queue: int = 200  # who waits, of each level
    wait: float = 5.0  # seconds; clients give up after 10 or more


class Plan:
    """Who may sit down. Pure."""

    def __init__(self, settings: SeatSettings) -> None:
        self.total = settings.total
        self.kept = {level: int(settings.total * share) for level, share in settings.kept}
        self.taken: Counter[Level] = Counter()

    def may(self, level: Level) -> bool:
        free = self.total - sum(self.taken.values())
        others = (
            max(0, kept - self.taken[other]) for other, kept in self.kept.items() if other != level
        )
        return free > sum(others)


class Seats:
    def __init__(self, settings: SeatSettings | None = None) -> None:
        self.settings = settings or SeatSettings()
        self.refused: Counter[str] = Counter()  # by level
        self._plan = Plan(self.settings)
        self._waiting: dict[Level, deque[asyncio.Future[None]]] = {
            level: deque() for level in Level
        }

    @property
    def taken(self) -> dict[str, int]:
        return {level.value: self._plan.taken[level] for level in Level}

    @asynccontextmanager
    async def of(self, level: Level) -> AsyncIterator[None]:
        """Raises ApiError 429."""
        if self._waiting[level] or not self._plan.may(level):
            await self._wait(level)
        else:
            self._plan.taken[level] += 1
        try:
            yield
        finally:
            self._plan.taken[level] -= 1
            self._call_next()

    async def _wait(self, level: Level) -> None:
        """Returns with a seat taken."""
        queue = self._waiting[level]
        if len(queue) >= self.settings.queue:
            self.refused[level.value] += 1
            raise too_many_requests()
        called: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(called)
        try:
            async with asyncio.timeout(self.settings.wait):
                await called
        except BaseException as error:
            self._leave(level, called)
            if isinstance(error, TimeoutError):
                self.refused[level.value] += 1
                raise too_many_requests() from None
            raise

    def _leave(self, level: Level, called: asyncio.Future[None]) -> None:
        if called in self._waiting[level]:
            self._waiting[level].remove(called)
        elif called.done() and not called.cancelled():  # just called: the seat goes to the next
            self._plan.taken[level] -= 1
            self._call_next()

    def _call_next(self) -> None:
        for level, queue in self._waiting.items():
            while queue and self._plan.may(level):
                called = queue.popleft()
                if not called.done():
                    self._plan.taken[level] += 1
                    called.set_result(None)
