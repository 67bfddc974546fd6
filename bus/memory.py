"""The bus in memory, for tests: same contract, same errors, links that can be cut.

`tests/bus/contract` holds it to what the real one does.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping
from dataclasses import replace

from bus.api import BusStats, Handler, LinkListener, Message
from bus.delivery import Delivery
from bus.errors import NoResponders, RequestTimeout
from bus.linkstate import LinkState
from bus.permissions import Permissions
from bus.sizes import check_size
from bus.subjects import INBOX, check_pattern, check_subject, matches

_ANSWERS_OWED = 1024  # requests remembered whose answer is allowed wherever it goes


class MemoryBroker:
    """The server: knows every bus that is connected to it."""

    def __init__(self) -> None:
        self._buses: dict[MemoryBus, None] = {}
        self._numbers = itertools.count(1)
        self._turn = itertools.count()  # of queue groups

    def join(self, bus: MemoryBus) -> int:
        self._buses[bus] = None
        return next(self._numbers)

    def leave(self, bus: MemoryBus) -> None:
        self._buses.pop(bus, None)

    def cut(self, bus: MemoryBus) -> None:
        """The link goes down and is noticed at once."""
        bus.set_link(False)

    def heal(self, bus: MemoryBus) -> None:
        bus.set_link(True)

    def route(self, message: Message) -> bool:
        """Whether anybody was there to hear it."""
        groups: dict[tuple[str, str], list[MemorySubscription]] = {}
        heard = False
        for subscription in self._interested(message.subject):
            if subscription.queue:
                key = (subscription.pattern, subscription.queue)
                groups.setdefault(key, []).append(subscription)
            else:
                subscription.owner.take(subscription, message)
                heard = True
        for members in groups.values():
            chosen = members[next(self._turn) % len(members)]
            chosen.owner.take(chosen, message)
            heard = True
        return heard

    def _interested(self, subject: str) -> list[MemorySubscription]:
        buses = [bus for bus in self._buses if bus.is_up]
        return [
            subscription
            for bus in buses
            for subscription in list(bus.subscriptions)
            if subscription.hears(subject)
        ]

    def answer(self, message: Message) -> bool:
        """Whether it was an answer to a request (those have inboxes of their own)."""
        return any(bus.take_answer(message) for bus in list(self._buses) if bus.is_up)


class MemorySubscription:
    def __init__(
        self, owner: MemoryBus, pattern: str, queue: str, delivery: Delivery, *, allowed: bool
    ) -> None:
        self.owner = owner
        self.pattern = pattern
        self.queue = queue
        self.delivery = delivery
        self._allowed = allowed

    def hears(self, subject: str) -> bool:
        return self._allowed and matches(self.pattern, subject)

    async def unsubscribe(self) -> None:
        self.owner.subscriptions.pop(self, None)
        await self.delivery.close()


class MemoryBus:
    """Implements `bus.api.Bus`; up from the start. `permissions` None: all is allowed."""

    def __init__(
        self,
        broker: MemoryBroker,
        name: str,
        *,
        permissions: Permissions | None = None,
        inbox_prefix: str = f"{INBOX}.memory",
        max_payload: int = 8 << 20,
        pending_bytes: int = 64 << 20,
    ) -> None:
        self.name = name
        self.subscriptions: dict[MemorySubscription, None] = {}
        self.denied = 0
        self._broker = broker
        self._permissions = permissions
        self._max_payload = max_payload
        self._pending_bytes = pending_bytes
        self._link = LinkState(name)
        self._is_up = False
        self._stats = BusStats(0, 0, 0, 0, -1, 0)  # the first time up is no reconnect
        self._answers: dict[str, asyncio.Future[Message | None]] = {}
        self._owed: dict[str, None] = {}
        self._asked = itertools.count(1)
        self._inbox_prefix = inbox_prefix
        self._inbox = f"{inbox_prefix}.m{broker.join(self)}."
        self.set_link(True)

    # -- the link ---------------------------------------------------------------------------------

    @property
    def is_up(self) -> bool:
        return self._is_up

    def on_link(self, listener: LinkListener) -> Callable[[], None]:
        return self._link.on_change(listener)

    async def wait_up(self, timeout: float | None = None) -> None:
        await self._link.wait(timeout, lambda: "cut")

    def set_link(self, up: bool) -> None:
        """For the broker's `cut` and `heal`."""
        if up == self._is_up or (up and self._link.is_closed):
            return
        self._is_up = up
        if up:
            self._stats = replace(self._stats, reconnects=self._stats.reconnects + 1)
        for answer in [] if up else self._answers.values():
            if not answer.done():
                answer.set_result(None)
        self._link.set(up)

    async def close(self) -> None:
        self._link.close()
        self.set_link(False)
        self._broker.leave(self)
        for subscription in list(self.subscriptions):
            await subscription.unsubscribe()

    def stats(self) -> BusStats:
        return self._stats

    def inbox(self) -> str:
        return f"{self._inbox_prefix}.i{next(self._asked)}"

    # -- out --------------------------------------------------------------------------------------

    async def publish(
        self,
        subject: str,
        data: bytes,
        *,
        reply: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._send(Message(subject, data, reply, dict(headers or {})))

    async def request(
        self,
        subject: str,
        data: bytes,
        *,
        timeout: float,
        headers: Mapping[str, str] | None = None,
    ) -> Message:
        inbox = f"{self._inbox}{next(self._asked)}"
        answer = self._answers[inbox] = asyncio.get_running_loop().create_future()
        try:
            if not self._send(Message(subject, data, inbox, dict(headers or {}))):
                raise NoResponders(f"{subject}: nobody answers there")
            async with asyncio.timeout(timeout):
                message: Message | None = await answer
        except TimeoutError as error:
            raise RequestTimeout(f"{subject}: no answer within {timeout} s") from error
        finally:
            del self._answers[inbox]
        if message is None:
            raise self._link.down()
        return message

    def _send(self, message: Message) -> bool:
        """Whether it may have been heard (what is denied is lost without a word, as in NATS)."""
        check_subject(message.subject)
        self._check_up()
        check_size(message.subject, message.data, message.headers, self._max_payload)
        self._count_out(message)
        if not self._may_publish(message.subject):
            self.denied += 1
            return True
        return self._broker.answer(message) or self._broker.route(message)

    def _check_up(self) -> None:
        if not self._is_up:
            raise self._link.down()

    def _may_publish(self, subject: str) -> bool:
        if self._permissions is None:
            return True
        if any(matches(allowed, subject) for allowed in self._permissions.publish):
            return True
        owed = subject in self._owed
        self._owed.pop(subject, None)  # one answer per request
        return owed

    async def flush(self, timeout: float) -> None:
        self._check_up()
        await asyncio.sleep(0)

    def _count_out(self, message: Message) -> None:
        now = self._stats
        self._stats = replace(
            now,
            out_messages=now.out_messages + 1,
            out_bytes=now.out_bytes + len(message.data),
        )

    # -- in ---------------------------------------------------------------------------------------

    async def subscribe(
        self, subject: str, handler: Handler, *, queue: str = ""
    ) -> MemorySubscription:
        check_pattern(subject)
        if self._link.is_closed:
            raise self._link.down()
        delivery = Delivery(subject, handler, self._pending_bytes, self._on_drop)
        allowed = self._may_subscribe(subject)
        self.denied += not allowed  # it just hears nothing, as in NATS
        made = MemorySubscription(self, subject, queue, delivery, allowed=allowed)
        self.subscriptions[made] = None
        return made

    def _may_subscribe(self, pattern: str) -> bool:
        allowed = self._permissions.subscribe if self._permissions is not None else (">",)
        return any(matches(each, pattern) for each in allowed)

    def take(self, subscription: MemorySubscription, message: Message) -> None:
        """For the broker."""
        self._count_in(message)
        if message.reply:
            self._owed[message.reply] = None
            if len(self._owed) > _ANSWERS_OWED:
                del self._owed[next(iter(self._owed))]
        subscription.delivery.put(message)

    def take_answer(self, message: Message) -> bool:
        """For the broker: whether the message answers a request of this bus."""
        if not message.subject.startswith(self._inbox):
            return False
        self._count_in(message)
        answer = self._answers.get(message.subject)
        if answer is not None and not answer.done():
            answer.set_result(message)
        return True

    def _count_in(self, message: Message) -> None:
        now = self._stats
        self._stats = replace(
            now, in_messages=now.in_messages + 1, in_bytes=now.in_bytes + len(message.data)
        )

    def _on_drop(self, why: str) -> None:
        self._stats = replace(self._stats, dropped=self._stats.dropped + 1)
