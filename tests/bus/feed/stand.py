"""Publishers, tickers and followers to try, and what is needed to watch them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from bus import subjects
from bus.api import Bus
from bus.feed import (
    Batch,
    Change,
    FeedFollower,
    FeedPublisher,
    FeedSettings,
    Position,
    Ticker,
    Ticks,
)
from bus.memory import MemoryBroker, MemoryBus

CLOUD = subjects.CLOUD_FEEDS
NAME = "services_v1"
DEADLINE = 5.0


def at(version: int) -> Position:
    return Position(1, version)


def put(key: str, version: int) -> Change:
    return Change(key, version, b"%s at %d, and more of the same" % (key.encode(), version))


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Taken:
    """A consumer: what it was given, and a way to wait for it."""

    batches: list[Batch] = field(default_factory=list)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def take(self, batch: Batch) -> None:
        self.batches.append(batch)
        self._changed.set()

    async def until(self, position: Position) -> None:
        async with asyncio.timeout(DEADLINE):
            while not self.batches or self.batches[-1].position != position:
                self._changed.clear()
                await self._changed.wait()


class Stand:
    """Starts things and stops them, last first."""

    def __init__(self, stack: AsyncExitStack, source: Bus, sink: Bus) -> None:
        self.source = source
        self.sink = sink
        self._stack = stack

    def publisher(self, *, age: Callable[[], float] = lambda: 0.0) -> FeedPublisher:
        publisher = FeedPublisher(self.source, CLOUD, NAME, age=age)
        publisher.start()
        self._stack.push_async_callback(publisher.stop)
        return publisher

    def ticker(self, *publishers: FeedPublisher, interval: float = 0.02) -> Ticker:
        ticker = Ticker(self.source, CLOUD, publishers, interval)
        ticker.start()
        self._stack.push_async_callback(ticker.stop)
        return ticker

    def follower(
        self,
        on_batch: Callable[[Batch], Awaitable[None]],
        *,
        settings: FeedSettings | None = None,
        clock: Callable[[], float] | None = None,
        ticks: Ticks | None = None,
    ) -> FeedFollower:
        clock = clock or asyncio.get_running_loop().time
        follower = FeedFollower(
            self.sink, CLOUD, NAME, settings, on_batch, clock=clock, ticks=ticks
        )
        follower.start()
        self._stack.push_async_callback(follower.stop)
        return follower


@dataclass
class Memory:
    """A stand in memory whose links can be cut."""

    broker: MemoryBroker
    source: MemoryBus
    sink: MemoryBus
    stand: Stand


async def until(condition: Callable[[], bool]) -> None:
    """Turns of the loop, bounded; for what has no event of its own."""
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)
