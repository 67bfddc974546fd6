"""Fencing: who holds a lease marks what he says with its token, and receivers refuse older ones.

Needed because a paused process does not know that it was replaced (and Ray does not fence). Tokens
grow from holder to holder; a receiver keeps the highest it has seen.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from bus.api import Bus, BusStats, Handler, LinkListener, Message, Subscription
from bus.errors import RequestTimeout

HEADER = "Atoll-Fence"

log = logging.getLogger(__name__)


class Guard:
    """The highest token seen; one per lease and receiver."""

    def __init__(self) -> None:
        self.highest = 0
        self.refused = 0

    def admits(self, message: Message) -> bool:
        """Whether the message's token is the highest so far. A missing one never is."""
        token = _token(message)
        if token is None or token < self.highest:
            self._refuse(message, token)
            return False
        self.highest = token
        return True

    def _refuse(self, message: Message, token: int | None) -> None:
        self.refused += 1
        log.debug("%s: token %s refused, %s holds", message.subject, token, self.highest)


def _token(message: Message) -> int | None:
    text = message.headers.get(HEADER, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


class _Wrapped:
    """A bus with something about it changed; the rest is handed through."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.name = bus.name

    @property
    def is_up(self) -> bool:
        return self._bus.is_up

    def on_link(self, listener: LinkListener) -> Callable[[], None]:
        return self._bus.on_link(listener)

    async def wait_up(self, timeout: float | None = None) -> None:
        await self._bus.wait_up(timeout)

    def inbox(self) -> str:
        return self._bus.inbox()

    async def flush(self, timeout: float) -> None:
        await self._bus.flush(timeout)

    def stats(self) -> BusStats:
        return self._bus.stats()

    async def publish(
        self,
        subject: str,
        data: bytes,
        *,
        reply: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        await self._bus.publish(subject, data, reply=reply, headers=headers)

    async def request(
        self,
        subject: str,
        data: bytes,
        *,
        timeout: float,
        headers: Mapping[str, str] | None = None,
    ) -> Message:
        return await self._bus.request(subject, data, timeout=timeout, headers=headers)

    async def subscribe(self, subject: str, handler: Handler, *, queue: str = "") -> Subscription:
        return await self._bus.subscribe(subject, handler, queue=queue)

    async def close(self) -> None:
        """Does nothing: the bus is somebody else's."""


class Fenced(_Wrapped):
    """Marks all that is published with `token()`, which raises LeaseLost when there is none."""

    def __init__(self, bus: Bus, token: Callable[[], int]) -> None:
        super().__init__(bus)
        self._token = token

    async def publish(
        self,
        subject: str,
        data: bytes,
        *,
        reply: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        await self._bus.publish(subject, data, reply=reply, headers=self._marked(headers))

    async def request(
        self,
        subject: str,
        data: bytes,
        *,
        timeout: float,
        headers: Mapping[str, str] | None = None,
    ) -> Message:
        return await self._bus.request(
            subject, data, timeout=timeout, headers=self._marked(headers)
        )

    def _marked(self, headers: Mapping[str, str] | None) -> dict[str, str]:
        return {**(headers or {}), HEADER: str(self._token())}


class Guarded(_Wrapped):
    """Hands on only messages (and answers) whose token the guard admits; counts the others."""

    def __init__(self, bus: Bus, guard: Guard) -> None:
        super().__init__(bus)
        self._guard = guard

    async def request(
        self,
        subject: str,
        data: bytes,
        *,
        timeout: float,
        headers: Mapping[str, str] | None = None,
    ) -> Message:
        """Raises RequestTimeout also where the answer came from a replaced holder."""
        answer = await self._bus.request(subject, data, timeout=timeout, headers=headers)
        if not self._guard.admits(answer):
            raise RequestTimeout(f"{subject}: the answer came from a holder that was replaced")
        return answer

    async def subscribe(self, subject: str, handler: Handler, *, queue: str = "") -> Subscription:
        guard = self._guard
        return await self._bus.subscribe(
            subject,
            lambda message: handler(message) if guard.admits(message) else None,
            queue=queue,
        )
