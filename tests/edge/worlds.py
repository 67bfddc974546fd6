"""Small worlds for the edge's tests: buses in memory, a cloud feed, an owner of tasks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Self

from bus import subjects
from bus.api import Bus
from bus.feed import Change, FeedPublisher, FeedSubjects, Position, Ticker
from bus.fence import Fenced

TICK = 0.02  # seconds; as quick as tests like it


class Tasks:
    """Implements `actors.actor.Tasks`; a failure is raised at the end."""

    def __init__(self) -> None:
        self.running: set[asyncio.Task[None]] = set()

    def spawn(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self.running.add(task)
        return task

    async def close(self) -> None:
        for task in self.running:
            task.cancel()
        results = await asyncio.gather(*self.running, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result


@asynccontextmanager
async def owned_tasks() -> AsyncIterator[Tasks]:
    tasks = Tasks()
    try:
        yield tasks
    finally:
        await tasks.close()


class CloudFeed:
    """One feed of the cloud, as the cloud site publishes it."""

    def __init__(self, bus: Bus, name: str, under: FeedSubjects = subjects.CLOUD_FEEDS) -> None:
        self.publisher = FeedPublisher(bus, under, name)
        self.ticker = Ticker(bus, under, [self.publisher], TICK)

    async def __aenter__(self) -> Self:
        self.publisher.start()
        self.ticker.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.ticker.stop()
        await self.publisher.stop()

    async def put(self, key: str, version: int, data: bytes, lineage: int = 1) -> None:
        await self.publisher.publish([Change(key, version, data)], Position(lineage, version))
        await self.publisher.drain()

    async def delete(self, key: str, version: int, lineage: int = 1) -> None:
        await self.publisher.publish([Change(key, version, None)], Position(lineage, version))
        await self.publisher.drain()


class PoolCatalog(CloudFeed):
    """A pool's catalog that names no resource, as its coordinator publishes it."""

    def __init__(self, bus: Bus) -> None:
        super().__init__(Fenced(bus, lambda: 1), "catalog", subjects.POOL_FEEDS)

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        await self.publisher.publish([], Position(1, 1))
        return self
