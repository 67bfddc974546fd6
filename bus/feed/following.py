"""The following end on a bus: items equal to the publisher's, and how old they are.

Thin: decisions are in `follower.py`.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple, TypeVar

from bus.api import Bus, Message, Subscription
from bus.clock import awake_time
from bus.errors import BusError, RequestTimeout
from bus.feed.follower import FollowerCore, OutRequest
from bus.feed.running import Running
from bus.feed.settings import FeedSettings
from bus.feed.tick import TickEntry
from bus.feed.ticks import Ticks
from bus.feed.types import Batch, FeedSubjects, Item, Position

T = TypeVar("T")
_REQUEST_SECONDS = 2.0  # an answer is made in milliseconds, and a hello's is small
_BULK_SECONDS = 60.0  # at most, after doubling: 64 KiB at 10 kbit/s
_BACKOFF_SECONDS = (0.1, 2.0)  # first and largest, jittered downwards
_SILENCE_SECONDS = 3.0  # without a tick: a link, a publisher or we ourselves stood still
_CALM_ROUNDS = 3  # hellos in a row that may follow each other at once


class _Claim(NamedTuple):
    """A tick that holds for us once the consumer has all that it speaks of."""

    entry: TickEntry
    heard: float  # clock time


class FeedFollower(Running):
    """Follows one feed; calls `on_batch` for each step, one at a time and in order.

    If `on_batch` raises, `run()` does: the state has moved on, so the follower must be made anew
    (restored from what the consumer stored). A slow `on_batch` slows nobody else. `on_live` is
    called behind each sync, also one that found nothing to change.
    """

    def __init__(
        self,
        bus: Bus,
        subjects: FeedSubjects,
        name: str,
        settings: FeedSettings | None,
        on_batch: Callable[[Batch], Awaitable[None]],
        *,
        clock: Callable[[], float] = awake_time,
        request_seconds: float = _REQUEST_SECONDS,
        ticks: Ticks | None = None,
        on_live: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self.core = FollowerCore(name, settings)
        self.synced = asyncio.Event()  # set at the first sync, and left so
        self._bus = bus
        self._subjects = subjects
        self._on_batch = on_batch
        self._on_live = on_live
        self._clock = clock
        self._request_seconds = request_seconds
        self._bulk_seconds = request_seconds  # doubles while a thin link needs it
        self._as_of = -math.inf  # clock time at which our state was (at least) the source's
        self._asked = 0.0  # clock time of the request that was answered last
        self._claim: _Claim | None = None
        self._ticked = 0.0  # clock time of the last tick
        self._was_live = False
        self._ticks = ticks or Ticks()  # share one: the tick then crosses the link once
        self._wake = asyncio.Event()
        self._requests: set[asyncio.Task[None]] = set()
        self._failures = 0
        self._not_before = 0.0
        self._is_running = False
        self._moving = asyncio.Lock()
        self._attached: _Attached | None = None

    @property
    def items(self) -> Mapping[str, Item]:
        return self.core.items

    @property
    def position(self) -> Position:
        return self.core.position

    @property
    def upstream(self) -> bytes:
        """Store it with the items of the batch just handed over; see `restore`."""
        return self.core.upstream

    def age(self) -> float:
        """Seconds since our state was known to be the source's; math.inf before the first sync."""
        return self._clock() - self._as_of

    def restore(
        self,
        items: Mapping[str, Item],
        position: Position,
        upstream: bytes = b"",
        *,
        age: float = math.inf,
    ) -> None:
        """Starts from a stored state, `age` seconds old. Only before `start`."""
        self.core.restore(items, position, upstream)
        self._as_of = self._clock() - age

    async def move(self, bus: Bus, subjects: FeedSubjects) -> None:
        """Follows another publisher of the same feed from now on, with the items we have."""
        async with self._moving:
            await self._detach()
            self._bus, self._subjects = bus, subjects
            self.core.turn()
            self._failures, self._not_before = 0, 0.0
            if self._is_running:
                await self._attach()

    async def run(self) -> None:
        try:
            async with self._moving:
                self._is_running = True
                await self._attach()
            while True:
                await self._wake.wait()
                self._wake.clear()
                self._raise_failure()
                await self._take_batches()
                self._send_requests()
        finally:
            self._is_running = False
            async with self._moving:
                await self._detach()

    # -- subscriptions ----------------------------------------------------------------------------

    async def _attach(self) -> None:
        self._attached = attached = _Attached()
        attached.forget_link = self._bus.on_link(self._on_link)
        on_frame = attached.while_valid(self._on_frame)
        frames = await self._bus.subscribe(self._subjects.frames + self.name, on_frame)
        attached.subscriptions.append(frames)
        on_tick = attached.while_valid(self._on_tick)
        ticks = await self._ticks.listen(self._bus, self._subjects.tick, self.name, on_tick)
        attached.subscriptions.append(ticks)
        self._ticked = self._clock()
        self.core.ask()
        self._wake.set()

    async def _detach(self) -> None:
        attached, self._attached = self._attached, None
        if attached is not None:
            await attached.end()
        requests = list(self._requests)
        for request in requests:
            request.cancel()
        await asyncio.gather(*requests, return_exceptions=True)
        self._requests.clear()

    def _on_link(self, is_up: bool) -> None:
        if is_up:
            self._failures, self._not_before = 0, 0.0
            self.core.ask()
            self._wake.set()

    def _on_frame(self, message: Message) -> None:
        self.core.on_frame(message.data)
        self._sign_of_life()

    def _on_tick(self, entry: TickEntry) -> None:
        now, before = self._clock(), self._ticked
        self._ticked = now
        if now - before > _SILENCE_SECONDS:
            # Who was paused reads first what was sent before. An answer shows what holds now.
            self.core.ask()
        self.core.on_tick(entry)
        # The oldest is kept: where frames never cease, we never have all that the newest speaks of.
        if self._claim is None or self._claim.entry.epoch != entry.epoch:
            self._claim = _Claim(entry, now)
        self._sign_of_life()

    def _sign_of_life(self) -> None:
        """Our publisher is there (again): however long we had to wait, now we need not."""
        if self._failures > 1:
            self._failures = 1
            self._not_before = min(self._not_before, self._clock() + _BACKOFF_SECONDS[0])
        self._wake.set()

    # -- batches ----------------------------------------------------------------------------------

    async def _take_batches(self) -> None:
        while (batch := self.core.next_batch()) is not None:
            await self._on_batch(batch)
            self._believe()
        self._believe()
        if self.core.is_live and not self._was_live:
            self._confirm(self._asked, self.core.source_age)  # the answer may have taken its time
            self._bulk_seconds = self._request_seconds
            self.synced.set()
            self._on_live()
        self._was_live = self.core.is_live

    def _believe(self) -> None:
        """Never while the consumer works on a batch: it does not have that yet."""
        claim = self._claim
        if claim is not None and self.core.has_reached(claim.entry):
            self._claim = None
            self._confirm(claim.heard, claim.entry.age)

    def _confirm(self, at: float, age: float) -> None:
        # A publisher that knows less than we did (a successor, say) takes nothing away from us.
        self._as_of = max(self._as_of, at - age)

    # -- requests ---------------------------------------------------------------------------------

    def _send_requests(self) -> None:
        if not self._bus.is_up:
            return  # its return wakes us
        wait = self._not_before - self._clock()
        if wait > 0:
            self._wake_in(wait)
            return
        for request in self.core.next_requests():
            task = asyncio.create_task(self._request(request), name=f"sync {self.name}")
            self._requests.add(task)
            task.add_done_callback(self._on_done)

    async def _request(self, request: OutRequest) -> None:
        subject = self._subjects.sync + self.name
        timeout = self._bulk_seconds if request.is_bulk else self._request_seconds
        good = slow = False
        asked = self._clock()
        try:
            answer = await self._bus.request(subject, request.data, timeout=timeout)
        except BusError as error:
            slow = isinstance(error, RequestTimeout)
        else:
            self._asked = asked
            good = self.core.on_answer(answer.data)
        if not good:
            self.core.on_failed(request.id, slow=slow)
        if slow and request.is_bulk:
            self._bulk_seconds = min(2 * timeout, _BULK_SECONDS)
        self._pace(good)

    def _pace(self, good: bool) -> None:
        """After failures, or rounds that lead nowhere, waits longer each time."""
        if good and self.core.rounds <= _CALM_ROUNDS:
            self._failures = 0
            return
        self._failures += 1
        first, largest = _BACKOFF_SECONDS
        delay = min(largest, first * 2.0 ** min(self._failures, 10)) * random.uniform(0.5, 1.0)
        self._not_before = self._clock() + delay

    def _wake_in(self, seconds: float) -> None:
        if self._attached is not None:
            self._attached.wake_later(seconds, self._wake)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or task.exception() is None:
            self._requests.discard(task)
        self._wake.set()  # a failed one stays, for the loop to raise

    def _raise_failure(self) -> None:
        for task in self._requests:
            if task.done():
                task.result()


class _Attached:
    """What ties a follower to one bus; ended as a whole."""

    def __init__(self) -> None:
        self.subscriptions: list[Subscription] = []
        self.forget_link: Callable[[], None] = lambda: None
        self._is_valid = True
        self._timer: asyncio.TimerHandle | None = None

    def while_valid(self, handler: Callable[[T], None]) -> Callable[[T], None]:
        return lambda what: handler(what) if self._is_valid else None

    def wake_later(self, seconds: float, event: asyncio.Event) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, event.set)

    async def end(self) -> None:
        self._is_valid = False
        self.forget_link()
        if self._timer is not None:
            self._timer.cancel()
        for subscription in self.subscriptions:
            await subscription.unsubscribe()
