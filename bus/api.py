"""What a bus connection promises. `bus/connection.py` is the real one, `bus/memory.py` the fake.

Delivery is core NATS: at most once, in order per publisher and subject. Whoever needs more (feeds,
tables, durable queues) builds it on top with sequence numbers or JetStream.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Message:
    """One message as received. `reply` is empty where no answer is wanted."""

    subject: str
    data: bytes
    reply: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BusStats:
    """Counters since the connection object was made; bytes are protocol payload bytes."""

    in_bytes: int
    out_bytes: int
    in_messages: int
    out_messages: int
    reconnects: int
    dropped: int  # messages we dropped: a handler was too slow, or they asked for a false reply


Handler = Callable[[Message], Awaitable[None] | None]
LinkListener = Callable[[bool], None]


class Subscription(Protocol):
    async def unsubscribe(self) -> None:
        """Idempotent; also possible while the link is down."""


class Bus(Protocol):
    """One connection to one site's bus, kept up for ever until `close`."""

    name: str  # "cloud" or "pool": who is at the other end

    @property
    def is_up(self) -> bool:
        """Whether the link works as far as we know (a black hole is noticed in under 3 s)."""

    def on_link(self, listener: LinkListener) -> Callable[[], None]:
        """Calls `listener(is_up)` at each change, in the loop; returns the un-registration."""

    async def wait_up(self, timeout: float | None = None) -> None:
        """Returns once the link is up. Raises BusDown after `timeout` seconds."""

    def inbox(self) -> str:
        """A fresh subject on which only this connection may listen, to be answered on."""

    async def publish(
        self,
        subject: str,
        data: bytes,
        *,
        reply: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Hands one message to the socket. Raises BusDown (never buffers), MessageTooLarge."""

    async def request(
        self,
        subject: str,
        data: bytes,
        *,
        timeout: float,
        headers: Mapping[str, str] | None = None,
    ) -> Message:
        """One answer. Raises BusDown, RequestTimeout, NoResponders, MessageTooLarge."""

    async def subscribe(self, subject: str, handler: Handler, *, queue: str = "") -> Subscription:
        """Handlers of one subscription run one after the other; an exception is logged, not lost.

        Works while the link is down, and is made anew at every reconnect.
        """

    async def flush(self, timeout: float) -> None:
        """Returns when the server has taken all that was published.

        Raises BusDown, RequestTimeout.
        """

    def stats(self) -> BusStats: ...

    async def close(self) -> None:
        """Idempotent; ends every subscription and pending request."""
