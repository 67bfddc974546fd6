"""A bus between the code under test and the real one, that fails where a test wants it to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from bus.api import Bus, BusStats, Handler, LinkListener, Message, Subscription
from bus.errors import BusError

Matches = Callable[[str, Mapping[str, str]], bool]


@dataclass
class Fault:
    """The next message that matches: not sent, or (`after`) sent and its answer lost."""

    matches: Matches
    error: BusError
    after: bool = False
    skip: int = 0  # that many go through before
    struck: int = 0


@dataclass
class FaultyBus:
    inner: Bus
    faults: list[Fault] = field(default_factory=list)
    sent: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    drop: Callable[[Message], bool] = lambda _message: False  # of what comes by subscription

    @property
    def name(self) -> str:
        return self.inner.name

    @name.setter
    def name(self, value: str) -> None:
        raise AttributeError(value)

    @property
    def is_up(self) -> bool:
        return self.inner.is_up

    def inbox(self) -> str:
        return self.inner.inbox()

    def on_link(self, listener: LinkListener) -> Callable[[], None]:
        return self.inner.on_link(listener)

    async def wait_up(self, timeout: float | None = None) -> None:
        await self.inner.wait_up(timeout)

    async def publish(
        self,
        subject: str,
        data: bytes,
        *,
        reply: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        fault = self._strikes(subject, headers or {})
        if fault is None or fault.after:
            await self.inner.publish(subject, data, reply=reply, headers=headers)
        if fault is not None:
            raise fault.error

    async def request(
        self,
        subject: str,
        data: bytes,
        *,
        timeout: float,
        headers: Mapping[str, str] | None = None,
    ) -> Message:
        fault = self._strikes(subject, headers or {})
        if fault is not None and not fault.after:
            raise fault.error
        answer = await self.inner.request(subject, data, timeout=timeout, headers=headers)
        if fault is not None:
            raise fault.error
        return answer

    async def subscribe(self, subject: str, handler: Handler, *, queue: str = "") -> Subscription:
        def deliver(message: Message) -> Awaitable[None] | None:
            return None if self.drop(message) else handler(message)

        return await self.inner.subscribe(subject, deliver, queue=queue)

    async def flush(self, timeout: float) -> None:
        await self.inner.flush(timeout)

    def stats(self) -> BusStats:
        return self.inner.stats()

    async def close(self) -> None:
        """The inner one belongs to the test."""

    def _strikes(self, subject: str, headers: Mapping[str, str]) -> Fault | None:
        self.sent.append((subject, headers))
        for fault in self.faults:
            if fault.matches(subject, headers):
                if fault.skip:
                    fault.skip -= 1
                    continue
                fault.struck += 1
                self.faults.remove(fault)
                return fault
        return None
