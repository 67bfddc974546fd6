"""A history whose every state is known, caches to write it into, and a log that is kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loguru import logger

from bus.feed.types import Change, Item
from edge.cache import CacheSettings, DiskCache, list_query

PODS = "pods.v1"
KEYS = 20
MINE = list_query(PODS, fields="spec.nodeName=n1")
QUICK = CacheSettings(linger=0.0)


@dataclass
class Clock:
    now: float = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Told:
    """Messages of a logger, by level."""

    errors: list[str] = field(default_factory=list)

    def __call__(self, message: Any) -> None:
        if message.record["level"].no >= 40:
            self.errors.append(message.record["message"])


@asynccontextmanager
async def told() -> AsyncIterator[Told]:
    messages = Told()
    sink = logger.add(messages, level="DEBUG")
    try:
        yield messages
    finally:
        logger.remove(sink)


def spawn(name: str, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    return asyncio.create_task(coroutine, name=name)


@asynccontextmanager
async def opened(
    path: Path, settings: CacheSettings = QUICK, clock: Clock | None = None
) -> AsyncIterator[DiskCache]:
    cache = DiskCache(path, settings, clock or Clock(), log=logger)
    await cache.start(spawn)
    try:
        yield cache
    finally:
        await cache.close()


def item(version: int, text: str = "") -> Item:
    return Item(version, f'{{"text":"{text}","version":{version}}}'.encode())


def key(number: int) -> str:
    return f"default/pod-{number}"


def change(version: int) -> Change:
    """What happened at this version: every seventh time something went."""
    data = None if version % 7 == 0 else f"{version}:".encode() * (30 * (1 + version % 9))
    return Change(key(version % KEYS), version, data)


def state(version: int) -> dict[str, Item]:
    """What there was at this version."""
    held: dict[str, Item] = {}
    for number in range(1, version + 1):
        then = change(number)
        held.pop(then.key, None)
        if then.data is not None:
            held[then.key] = Item(number, then.data)
    return held
