"""One life of a connection: a nats-py client from its connect to its end. The home of nats-py.

nats-py's own reconnecting is off: on a black-holed line it waits for buffers that never drain, and
it buffers what it cannot send. A session that ends is thrown away, its socket aborted.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription as ClientSubscription

from bus.api import Message
from bus.errors import BusDown, BusError, MessageTooLarge, NoResponders, RequestTimeout

log = logging.getLogger(__name__)

CONNECT_SECONDS = 2  # TCP, TLS and NATS handshake together
_PENDING_MESSAGES = 1 << 20  # bounded by bytes instead
_NEVER = 1 << 30  # seconds; we ping ourselves


class Session:
    """Open until `ended` is set; then every method raises BusDown."""

    def __init__(self, on_error: Callable[[Exception], None]) -> None:
        self.client = Client()
        self.ended = asyncio.Event()
        self.reason = ""
        self.url = ""
        self._on_error = on_error
        self._requests: set[asyncio.Task[Msg]] = set()

    async def open(
        self, url: str, *, name: str, seed_file: Path, inbox_prefix: str, tls: ssl.SSLContext | None
    ) -> None:
        """Raises BusDown with the reason; the session is then of no further use."""
        self.url = url
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await self.client.connect(
                    servers=[url],
                    name=name,
                    allow_reconnect=False,
                    connect_timeout=CONNECT_SECONDS,
                    ping_interval=_NEVER,
                    nkeys_seed=str(seed_file),
                    inbox_prefix=inbox_prefix.encode(),
                    tls=tls,
                    error_cb=self._failed,
                    closed_cb=self._closed,
                )
        except (OSError, TimeoutError, nats.errors.Error, ValueError) as error:
            await self.close()
            raise BusDown(f"{url}: {error or type(error).__name__}") from error
        except BaseException:
            await self.close()
            raise

    async def _failed(self, error: Exception) -> None:
        self._on_error(error)

    async def _closed(self) -> None:
        self.end("closed by the server")

    def end(self, reason: str) -> None:
        """Everybody who waits for this session is told; the socket is aborted."""
        if not self.ended.is_set():
            self.reason = reason
            self.ended.set()
        for request in self._requests:
            request.cancel()
        self._abort()

    async def close(self) -> None:
        """Idempotent, and quick also on a dead line."""
        self.end("closed")
        try:
            async with asyncio.timeout(1.0):
                await self.client.close()
        except (OSError, TimeoutError, nats.errors.Error) as error:
            log.debug("close: %r", error)

    def _abort(self) -> None:
        # An orderly close would wait for the buffer to drain, which a dead line never does.
        writer = getattr(self.client._transport, "_io_writer", None)
        if writer is not None:
            writer.transport.abort()

    @property
    def max_payload(self) -> int:
        return int(self.client.max_payload)

    async def ping(self, timeout: float) -> None:
        """Raises RequestTimeout, BusDown."""
        self._check()
        try:
            async with asyncio.timeout(timeout):
                await self.client.flush(timeout=_NEVER)
        except TimeoutError as error:
            raise RequestTimeout("no PONG") from error
        except (nats.errors.Error, OSError) as error:
            raise BusDown(str(error)) from error

    async def publish(
        self, subject: str, data: bytes, reply: str, headers: Mapping[str, str] | None
    ) -> None:
        self._check()
        try:
            await self.client.publish(subject, data, reply, dict(headers) if headers else None)
        except nats.errors.MaxPayloadError as error:
            raise too_large(subject, data, self.max_payload) from error
        except (nats.errors.Error, OSError) as error:
            raise BusDown(f"{subject}: {error}") from error

    async def request(
        self, subject: str, data: bytes, timeout: float, headers: Mapping[str, str] | None
    ) -> Message:
        self._check()
        call = self.client.request(
            subject, data, timeout=timeout, headers=dict(headers) if headers else None
        )
        task = asyncio.create_task(call, name=f"request {subject}")
        self._requests.add(task)
        try:
            return as_message(await asyncio.shield(task))
        except asyncio.CancelledError:
            if task.cancelled() and self.ended.is_set():
                raise BusDown(f"{subject}: {self.reason}") from None
            task.cancel()
            raise
        except nats.errors.NoRespondersError as error:
            raise NoResponders(f"{subject}: nobody answers there") from error
        except (TimeoutError, nats.errors.TimeoutError) as error:
            raise RequestTimeout(f"{subject}: no answer within {timeout} s") from error
        except nats.errors.MaxPayloadError as error:
            raise too_large(subject, data, self.max_payload) from error
        except (nats.errors.Error, OSError) as error:
            raise BusDown(f"{subject}: {error}") from error
        finally:
            self._requests.discard(task)

    async def subscribe(
        self,
        subject: str,
        queue: str,
        deliver: Callable[[Msg], Awaitable[None]],
        pending_bytes: int,
    ) -> ClientSubscription:
        self._check()
        try:
            return await self.client.subscribe(
                subject,
                queue=queue,
                cb=deliver,
                pending_msgs_limit=_PENDING_MESSAGES,
                pending_bytes_limit=pending_bytes,
            )
        except (nats.errors.Error, OSError) as error:
            raise BusDown(f"{subject}: {error}") from error

    async def unsubscribe(self, subscription: ClientSubscription) -> None:
        if self.ended.is_set():
            return
        try:
            await subscription.unsubscribe()
        except (nats.errors.Error, OSError) as error:
            log.debug("unsubscribe: %r", error)

    def _check(self) -> None:
        if self.ended.is_set():
            raise BusDown(self.reason)


def as_message(msg: Msg) -> Message:
    return Message(msg.subject, msg.data, msg.reply, msg.headers or {})


def too_large(subject: str, data: bytes, limit: int) -> BusError:
    return MessageTooLarge(f"{subject}: {len(data)} bytes, the bus takes {limit} at most")
