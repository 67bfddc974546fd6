"""Ears on the buses of a world: when each version was first seen at each hand-over."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable
from typing import Any, Self

from bus import permissions
from bus.api import Message
from bus.connection import BusSettings, Connection
from bus.feed.frames import decode_frame
from bus.feed.settings import FeedSettings
from bus.subjects import CLOUD_FEEDS, POOL_FEEDS, POOL_UP_FEEDS
from tests.bench.world import World

FEED = "endpointslices"  # as the subject starts; the group follows


class Taps:
    """Listens as the cloud's admin and as one of the pool's nodes."""

    def __init__(self, world: World, node: str) -> None:
        self._world = world
        self._node = node
        self._buses: list[Connection] = []
        self._seen: dict[str, list[tuple[int, float]]] = {"cloud": [], "up": [], "pool": []}

    async def __aenter__(self) -> Self:
        cloud = await self._connect(
            self._world.cloud_bus, "cloud/keys/admin.seed", permissions.ADMIN_INBOX
        )
        inbox = permissions.inbox_prefix("pool", self._node)
        pool = await self._connect(self._pool_url(), f"pool/nodes/{self._node}/node.seed", inbox)
        await self._listen(cloud, CLOUD_FEEDS.frames, "cloud")
        await self._listen(pool, POOL_UP_FEEDS.frames, "up")
        await self._listen(pool, POOL_FEEDS.frames, "pool")
        return self

    async def __aexit__(self, *exc: object) -> None:
        for bus in self._buses:
            await bus.close()

    def when(self, tap: str, version: int) -> float | None:
        """When the first frame came whose position has reached `version`; None if none did."""
        seen = self._seen[tap]
        index = bisect_left(seen, (version, 0.0))
        return seen[index][1] if index < len(seen) else None

    def _pool_url(self) -> str:
        if self._world.pool_bus is not None:
            return self._world.pool_bus.url
        return str(self._world.ups[""].run["servers"]["pool"])

    async def _connect(self, url: str, seed: str, inbox: str) -> Connection:
        path = self._world.directory / seed
        settings = BusSettings(
            name="tap", urls=(url,), seed_file=path, client="tap", inbox_prefix=inbox
        )
        bus = Connection(settings)
        self._buses.append(bus)
        await bus.start()
        await bus.wait_up(5.0)
        return bus

    async def _listen(self, bus: Connection, prefix: str, tap: str) -> None:
        await bus.subscribe(prefix + "*", self._noting(self._seen[tap]))

    def _noting(self, seen: list[tuple[int, float]]) -> Callable[[Message], Any]:
        settings = FeedSettings()

        def note(message: Message) -> None:
            now = time.monotonic()
            if FEED in message.subject:
                version = decode_frame(message.data, settings).position.version
                if not seen or version > seen[-1][0]:
                    seen.append((version, now))

        return note
