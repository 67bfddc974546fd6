"""The publishing end on a bus, and the tick. Thin: decisions are in `publisher.py`."""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from bus.api import Bus, Message
from bus.clock import awake_time
from bus.errors import BusDown, LeaseLost, MessageTooLarge, RequestTimeout
from bus.feed.publisher import PublisherCore
from bus.feed.running import Running
from bus.feed.settings import FeedSettings
from bus.feed.tick import TickEntry, encode_tick
from bus.feed.types import Change, FeedSubjects, Item, Position

_FLUSH_SECONDS = 2.0  # a black-holed link is noticed by then


class _Step(NamedTuple):
    changes: list[Change]
    position: Position
    exact: bool


class FeedPublisher(Running):
    """Publishes one feed. With the bus down it goes on: followers sync once it is back.

    `age`: seconds since our own source was known current, as followers will be told.
    """

    def __init__(
        self,
        bus: Bus,
        subjects: FeedSubjects,
        name: str,
        settings: FeedSettings | None = None,
        *,
        age: Callable[[], float] = lambda: 0.0,
        clock: Callable[[], float] = awake_time,
    ) -> None:
        self.name = name
        self.core = PublisherCore(name, secrets.randbits(32) or 1, settings)
        self.frames = 0  # handed to the bus
        self.frame_bytes = 0
        self.answers = 0
        self.answer_bytes = 0
        self.unsent = 0  # frames made while the bus was down
        self._bus = bus
        self._subjects = subjects
        self._age = age
        self._clock = clock
        self._queued_since = 0.0  # clock time, while there is something in the queue
        self._queue: deque[_Step] = deque()
        self._queued = 0  # bytes
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._room = asyncio.Event()
        self._room.set()
        self._last = Position()

    @property
    def items(self) -> Mapping[str, Item]:
        return self.core.items

    @property
    def position(self) -> Position:
        return self.core.position

    def restore(self, items: Mapping[str, Item], position: Position) -> None:
        """Starts from a known state. Only before `start` and the first `publish`."""
        self.core.restore(items, position)
        self._last = position

    async def publish(
        self, changes: Iterable[Change], position: Position, exact: bool = True
    ) -> tuple[str, ...]:
        """Applies `changes`, after which `position` holds; see `PublisherCore.publish`.

        Returns once they are queued: alone they go out at once, behind a frame in flight they go
        together in the next. Waits while more than `queue_bytes` are queued. Returns the keys of
        objects over the bound (held as deleted). Raises ValueError for a lower lineage.
        """
        if position.lineage < max(1, self._last.lineage):
            raise ValueError(f"feed {self.name}: {position} after {self._last}")
        batch = list(changes)
        self._last = max(self._last, position, key=lambda p: (p.lineage, p.version))
        if not self._queue:
            self._queued_since = self._clock()
        self._queue.append(_Step(batch, position, exact))
        self._queued += sum(map(_weight, batch))
        self._idle.clear()
        self._wake.set()
        if self._queued > self.core.settings.queue_bytes:
            self._room.clear()
        await self._room.wait()
        await asyncio.sleep(0)  # a caller in a loop lets the first change go
        limit = self.core.settings.max_object
        return tuple({c.key: None for c in batch if c.data is not None and len(c.data) > limit})

    async def drain(self) -> None:
        """Returns once all that was published is in `items` and has been handed to the bus."""
        await self._idle.wait()

    def tick_entry(self) -> TickEntry | None:
        return self.core.tick_entry(self._told_age()) if self.core.is_ready else None

    def _told_age(self) -> float:
        """Followers do not get yet what is queued: what they get is as old as the queue."""
        waits = self._clock() - self._queued_since if self._queue else 0.0
        return max(self._age(), waits)

    async def run(self) -> None:
        listening = await self._bus.subscribe(self._subjects.sync + self.name, self._on_request)
        try:
            if self.core.is_ready:
                await self._send(self.core.announce())
            while True:
                await self._wake.wait()
                self._wake.clear()
                await self._pump()
        finally:
            await listening.unsubscribe()

    async def _pump(self) -> None:
        while self._queue:
            sent = await self._send(self.core.publish(*self._take()).frames)
            if not self._queue:
                self._idle.set()
            if sent:
                await self._flush()

    def _take(self) -> _Step:
        """All that is queued, but a step into another lineage goes alone."""
        changes, position, exact = self._queue.popleft()
        if position.lineage == self.core.position.lineage:
            while self._queue and self._queue[0].position.lineage == position.lineage:
                more = self._queue.popleft()
                changes += more.changes
                position = max(position, more.position, key=lambda p: p.version)
                exact = exact and more.exact
        self._queued -= sum(map(_weight, changes))
        if self._queued <= self.core.settings.queue_bytes:
            self._room.set()
        return _Step(changes, position, exact)

    async def _send(self, frames: list[bytes]) -> bool:
        for index, frame in enumerate(frames):
            try:
                await self._bus.publish(self._subjects.frames + self.name, frame)
            except BusDown:
                self.unsent += len(frames) - index
                return False
            self.frames += 1
            self.frame_bytes += len(frame)
        return bool(frames)

    async def _flush(self) -> None:
        """Until then the frames are in flight, and what comes meanwhile goes together."""
        try:
            await self._bus.flush(_FLUSH_SECONDS)
        except (BusDown, RequestTimeout):
            return  # the link's own watcher says so

    async def _on_request(self, message: Message) -> None:
        if not message.reply:
            return
        answer = self.core.answer(message.data, self._told_age())
        self.answers += 1
        self.answer_bytes += len(answer)
        try:
            await self._bus.publish(message.reply, answer)
        except (BusDown, LeaseLost, MessageTooLarge):
            return  # the follower's request times out, and it asks again


def _weight(change: Change) -> int:
    return len(change.key) + len(change.data or b"")


class Ticker(Running):
    """Ticks for all of a site's feeds in one message, once in `interval` seconds.

    `publishers` is looked at anew each time: the owner may add and remove. `poke` ticks at once.
    """

    def __init__(
        self,
        bus: Bus,
        subjects: FeedSubjects,
        publishers: Iterable[FeedPublisher],
        interval: float = 1.0,
    ) -> None:
        self.name = subjects.tick
        self._bus = bus
        self._publishers = publishers
        self._interval = interval
        self._poked = asyncio.Event()

    def poke(self) -> None:
        self._poked.set()

    async def run(self) -> None:
        forget = self._bus.on_link(lambda _: self.poke())
        try:
            while True:
                self._poked.clear()
                await self._tick()
                await self._pause()
        finally:
            forget()

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(self._interval):
                await self._poked.wait()
        except TimeoutError:
            return

    async def _tick(self) -> None:
        found = [entry for p in self._publishers if (entry := p.tick_entry()) is not None]
        if not found:
            return
        try:
            await self._bus.publish(self.name, encode_tick(found))
        except BusDown:
            return  # the link's return pokes us
