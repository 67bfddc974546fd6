"""How many requests a hub works on at a time, and whose: the node's own components come first.

After upstream's API Priority and Fairness, much simplified: each level has seats that nobody else
takes, the rest is for whoever comes. Who finds none waits a while in a short queue, then is told to
come again (429). On the loopback port a component is who it says it is. Watches
hold no seats: they last (OpenYurt counted them, and ran out).
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum

from actors.kube.status_errors import too_many_requests

Waiting = asyncio.Future[bool]
"""Set when it is called: whether there is a seat."""


class Level(StrEnum):
    """In order of who gets a free seat first."""

    KUBELET = "kubelet"  # without it the node is lost
    NODE = "node"  # the other components that no pod can do without
    WORKLOAD = "workload"  # who comes with credentials of its own: pods, operators
    OTHER = "other"


@dataclass(frozen=True, kw_only=True)
class SeatSettings:
    total: int = 400  # upstream's --max-requests-inflight
    # Of the total, what is kept free for a level: a node's components ask a few dozen at a time.
    kept: tuple[tuple[Level, float], ...] = (
        (Level.KUBELET, 0.2),
        (Level.NODE, 0.15),
        (Level.WORKLOAD, 0.15),
        (Level.OTHER, 0.05),
    )
    queue: int = 200  # who waits, of each level; who takes most loses first
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


class Queue:
    """Who waits, of one level: flows take turns, so that who sends many waits for himself. Pure.

    A flow is whose requests those are, and about what: "kubelet events".
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._flows: OrderedDict[str, deque[Waiting]] = OrderedDict()  # whose turn it is first

    def __len__(self) -> int:
        return sum(map(len, self._flows.values()))

    def add(self, flow: str, waiting: Waiting) -> Waiting | None:
        """Returns who finds no place: the last of those who take most."""
        self._flows.setdefault(flow, deque()).append(waiting)
        if len(self) <= self._most:
            return None
        longest = max(self._flows, key=lambda each: (len(self._flows[each]), each == flow))
        out = self._flows[longest][-1]
        self.remove(longest, out)
        return out

    def next(self) -> Waiting | None:
        if not self._flows:
            return None
        flow, waiting = self._flows.popitem(last=False)
        called = waiting.popleft()
        if waiting:
            self._flows[flow] = waiting  # at the end
        return called

    def remove(self, flow: str, waiting: Waiting) -> bool:
        """Whether it was there."""
        held = self._flows.get(flow, deque())
        if waiting not in held:
            return False
        held.remove(waiting)
        if not held:
            del self._flows[flow]
        return True


class Seats:
    def __init__(self, settings: SeatSettings | None = None) -> None:
        self.settings = settings or SeatSettings()
        self.refused: Counter[str] = Counter()  # by level
        self._plan = Plan(self.settings)
        self._queues = {level: Queue(self.settings.queue) for level in Level}

    @property
    def taken(self) -> dict[str, int]:
        return {level.value: self._plan.taken[level] for level in Level}

    @property
    def waiting(self) -> dict[str, int]:
        return {level.value: len(queue) for level, queue in self._queues.items()}

    @asynccontextmanager
    async def of(self, level: Level, flow: str = "") -> AsyncIterator[None]:
        """Raises ApiError 429."""
        if self._queues[level] or not self._plan.may(level):
            await self._wait(level, flow)
        else:
            self._plan.taken[level] += 1
        try:
            yield
        finally:
            self._plan.taken[level] -= 1
            self._call_next()

    async def _wait(self, level: Level, flow: str) -> None:
        """Returns with a seat taken."""
        called: Waiting = asyncio.get_running_loop().create_future()
        out = self._queues[level].add(flow, called)
        if out is not None and not out.done():
            out.set_result(False)
        try:
            async with asyncio.timeout(self.settings.wait):
                has_seat = await called
        except BaseException as error:
            self._leave(level, flow, called)
            if not isinstance(error, TimeoutError):
                raise
            has_seat = False
        if not has_seat:
            self.refused[level.value] += 1
            raise too_many_requests()

    def _leave(self, level: Level, flow: str, called: Waiting) -> None:
        if self._queues[level].remove(flow, called):
            return
        if called.done() and not called.cancelled() and called.result():
            self._plan.taken[level] -= 1  # just called: the seat goes to the next
            self._call_next()

    def _call_next(self) -> None:
        for level, queue in self._queues.items():
            while queue and self._plan.may(level):
                called = queue.next()
                if called is not None and not called.done():
                    self._plan.taken[level] += 1
                    called.set_result(True)
