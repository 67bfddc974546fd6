"""The bridge between the cloud's feeds and the pool's coordinator."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from actors.actor import Tasks
from bus import subjects
from bus.api import Bus, Handler, Message, Subscription
from bus.errors import BusError

if TYPE_CHECKING:
    from loguru import Logger

SYNC_TIMEOUT = 5.0  # seconds for the cloud's answer; the coordinator asks again on its own
MAX_SYNCS = 32  # asked of the cloud at once; more are dropped (and asked again by who needs them)


@dataclass
class RelayCounters:
    """What crossed, for status and metrics; bytes are payload bytes on the WAN."""

    frames: int = 0
    frame_bytes: int = 0
    syncs: int = 0
    sync_bytes: int = 0
    failures: int = 0  # messages not handed on (the coordinator repairs by sync)


@dataclass
class Relay:
    """Carries frames, ticks and sync answers; `pool` must be fenced with the leader's token.

    Nothing is kept or retried here: frames have numbers, and the coordinator notices gaps.
    """

    cloud: Bus
    pool: Bus
    tasks: Tasks
    log: Logger
    counters: RelayCounters = field(default_factory=RelayCounters)
    _subscriptions: list[Subscription] = field(default_factory=list)
    _syncs: int = 0  # under way

    async def start(self) -> None:
        cloud, up = subjects.CLOUD_FEEDS, subjects.POOL_UP_FEEDS
        # Answers first: a coordinator that hears a tick may ask at once.
        await self._add(self.pool, up.sync + "*", self._on_sync)
        await self._add(self.cloud, cloud.frames + "*", self._on_frame)
        await self._add(self.cloud, cloud.tick, self._on_tick)

    async def stop(self) -> None:
        while self._subscriptions:
            await self._subscriptions.pop().unsubscribe()

    async def _add(self, bus: Bus, subject: str, handler: Handler) -> None:
        self._subscriptions.append(await bus.subscribe(subject, handler))

    async def _on_frame(self, message: Message) -> None:
        feed = message.subject.removeprefix(subjects.CLOUD_FEEDS.frames)
        self.counters.frames += 1
        self.counters.frame_bytes += len(message.data)
        await self._hand_on(subjects.POOL_UP_FEEDS.frames + feed, message.data)

    async def _on_tick(self, message: Message) -> None:
        self.counters.frame_bytes += len(message.data)
        await self._hand_on(subjects.POOL_UP_FEEDS.tick, message.data)

    def _on_sync(self, message: Message) -> None:
        """Side by side, not in turn: on a far link each answer is a round trip of its own."""
        if not message.reply or self._syncs >= MAX_SYNCS:
            self.counters.failures += 1
            return
        self._syncs += 1
        self.tasks.spawn("relay-sync", self._sync(message))

    async def _sync(self, message: Message) -> None:
        feed = message.subject.removeprefix(subjects.POOL_UP_FEEDS.sync)
        self.counters.syncs += 1
        try:
            answer = await self.cloud.request(
                subjects.CLOUD_FEEDS.sync + feed, message.data, timeout=SYNC_TIMEOUT
            )
        except BusError as error:
            self._failed(f"sync of {feed}", error)
            return
        finally:
            self._syncs -= 1
        self.counters.sync_bytes += len(answer.data)
        await self._hand_on(message.reply, answer.data)

    async def _hand_on(self, subject: str, data: bytes) -> None:
        try:
            await self.pool.publish(subject, data)
        except BusError as error:
            self._failed(subject, error)

    def _failed(self, what: str, error: BusError) -> None:
        self.counters.failures += 1
        self.log.debug("not handed on: {}: {}", what, error)
