"""The real connection: kept up for ever, through server restarts and black holes.

A connection is a chain of sessions (`session.py`); subscriptions belong to the connection and are
made anew in each. Nothing is buffered while the link is down: callers hear BusDown.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path

import nats.errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription as ClientSubscription

from bus.api import BusStats, Handler, LinkListener, Message
from bus.errors import BusDown, BusError, RequestTimeout
from bus.session import Session, as_message, too_large

log = logging.getLogger(__name__)

_DENIALS = 64  # different permission errors told; more are only counted
_CLOSED = "the connection was closed"


@dataclass(frozen=True)
class BusSettings:
    """How to reach one bus. Pickles; the seed is read from its file where it is used."""

    name: str  # "cloud" or "pool"
    urls: tuple[str, ...]
    seed_file: Path  # the node's nkeys seed (mode 0600)
    client: str  # shown in the server's connection list: "pool-a/node-1"
    inbox_prefix: str  # from bus.permissions; nobody else may listen there
    ca: Path | None = None  # for tls://
    ping_seconds: float = 1.0  # link check; a black hole is noticed within 2.5 periods
    reconnect_seconds: float = 0.25
    max_payload: int = 8 << 20  # bytes; larger publishes are refused here
    pending_bytes: int = 64 << 20  # a slow handler's backlog; beyond it messages drop, counted


class Subscribed:
    """A subscription that outlives sessions. A handler under way when a session ends is cancelled."""

    def __init__(self, owner: Connection, subject: str, queue: str, handler: Handler) -> None:
        self.subject = subject
        self.queue = queue
        self._owner = owner
        self._handler = handler
        self._current: tuple[Session, ClientSubscription] | None = None

    async def attach(self, session: Session, pending_bytes: int) -> None:
        """Idempotent."""
        if self._current is not None and self._current[0] is session:
            return
        made = await session.subscribe(self.subject, self.queue, self._deliver, pending_bytes)
        self._current = session, made

    async def unsubscribe(self) -> None:
        self._owner.forget(self)
        current, self._current = self._current, None
        if current is not None:
            session, made = current
            await session.unsubscribe(made)

    async def _deliver(self, msg: Msg) -> None:
        try:
            result = self._handler(as_message(msg))
            if result is not None:
                await result
        except Exception:
            log.exception("handler of %s failed", self.subject)


class Connection:
    """Implements `bus.api.Bus`."""

    def __init__(self, settings: BusSettings) -> None:
        self.name = settings.name
        self.settings = settings
        self.denied = 0  # permission errors that the server reported
        self._session: Session | None = None
        self._up = asyncio.Event()
        self._listeners: dict[object, LinkListener] = {}
        self._subscriptions: dict[Subscribed, None] = {}
        self._task: asyncio.Task[None] | None = None
        self._past = BusStats(0, 0, 0, 0, 0, 0)  # of ended sessions
        self._sessions = 0  # that came up
        self._dropped = 0
        self._told: set[str] = set()
        self._trouble = ""  # why we are down, as last logged
        self._is_closed = False

    def __repr__(self) -> str:
        return f"<Connection {self.name} {'up' if self.is_up else 'down'} {self.settings.urls}>"

    async def start(self) -> None:
        """Returns at once; the link comes up in the background, now or when it can."""
        self._task = asyncio.create_task(self._run(), name=f"connection {self.name}")

    async def close(self) -> None:
        self._is_closed = True
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled() and (error := task.exception()):
                raise error

    # -- the link ---------------------------------------------------------------------------------

    @property
    def is_up(self) -> bool:
        return self._up.is_set()

    def on_link(self, listener: LinkListener) -> Callable[[], None]:
        token = object()
        self._listeners[token] = listener
        return lambda: self._listeners.pop(token, None) and None

    async def wait_up(self, timeout: float | None = None) -> None:
        try:
            async with asyncio.timeout(timeout):
                await self._up.wait()
        except TimeoutError as error:
            raise BusDown(f"{self.name} bus: not up after {timeout} s") from error

    async def _run(self) -> None:
        for url in cycle(self.settings.urls):
            try:
                await self._live(url)
            except BusDown as error:
                self._note(str(error))
            wait = self.settings.reconnect_seconds
            await asyncio.sleep(wait * random.uniform(0.75, 1.25))

    async def _live(self, url: str) -> None:
        """One session, from connect to its end. Raises BusDown if it did not come up."""
        session = Session(self._on_error)
        try:
            await session.open(
                url,
                name=self.settings.client,
                seed_file=self.settings.seed_file,
                inbox_prefix=self.settings.inbox_prefix,
                tls=_tls(url, self.settings.ca),
            )
            await self._attach_all(session)
            await session.ping(self.settings.ping_seconds * 1.5)
            self._session = session
            await self._attach_all(session)  # what was subscribed meanwhile
            self._set_up(session)
            await self._watch(session)
        except RequestTimeout as error:
            raise BusDown(f"{url}: {error}") from error
        finally:
            self._set_down(session)
            await session.close()

    async def _attach_all(self, session: Session) -> None:
        for subscription in list(self._subscriptions):
            await subscription.attach(session, self.settings.pending_bytes)

    async def _watch(self, session: Session) -> None:
        """Pings until the session ends or a PONG does not come."""
        period = self.settings.ping_seconds
        while not session.ended.is_set():
            try:
                async with asyncio.timeout(period):
                    await session.ended.wait()
            except TimeoutError:
                await session.ping(period * 1.5)

    def _set_up(self, session: Session) -> None:
        self._trouble = ""
        self._sessions += 1
        self._up.set()
        log.info("%s bus: connected to %s", self.name, session.url)
        self._tell(True)

    def _set_down(self, session: Session) -> None:
        session.end("the link went down")
        self._past = self._sum(session)
        was_up = self.is_up
        self._session = None
        self._up.clear()
        if not was_up:
            return
        if not self._is_closed:
            log.warning("%s bus: link down (%s)", self.name, session.reason)
        self._tell(False)

    def _tell(self, up: bool) -> None:
        for listener in list(self._listeners.values()):
            try:
                listener(up)
            except Exception:
                log.exception("a link listener failed")

    def _note(self, trouble: str) -> None:
        """Told once per reason, not once per try."""
        if trouble != self._trouble:
            self._trouble = trouble
            log.warning("%s bus: no link, trying on: %s", self.name, trouble)

    def _on_error(self, error: Exception) -> None:
        if isinstance(error, nats.errors.SlowConsumerError):
            self._dropped += 1
            self._once(f"{self.name} bus: messages of {error.subject} dropped: its handler is slow")
        elif "permissions violation" in str(error).lower():
            self.denied += 1
            self._once(f"{self.name} bus: {error}")
        else:
            log.debug("%s bus: %r", self.name, error)

    def _once(self, text: str) -> None:
        if text not in self._told and len(self._told) < _DENIALS:
            self._told.add(text)
            log.error("%s", text)

    # -- messages ---------------------------------------------------------------------------------

    def _live_session(self, subject: str, data: bytes) -> Session:
        if self._session is None:
            raise BusDown(f"{self.name} bus: {_CLOSED if self._is_closed else 'the link is down'}")
        limit = min(self.settings.max_payload, self._session.max_payload)
        if len(data) > limit:
            raise too_large(subject, data, limit)
        return self._session

    def inbox(self) -> str:
        return f"{self.settings.inbox_prefix}.{secrets.token_hex(11)}"

    async def publish(
        self,
        subject: str,
        data: bytes,
        *,
        reply: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        await self._live_session(subject, data).publish(subject, data, reply, headers)

    async def request(
        self,
        subject: str,
        data: bytes,
        *,
        timeout: float,
        headers: Mapping[str, str] | None = None,
    ) -> Message:
        return await self._live_session(subject, data).request(subject, data, timeout, headers)

    async def subscribe(self, subject: str, handler: Handler, *, queue: str = "") -> Subscribed:
        subscription = Subscribed(self, subject, queue, handler)
        self._subscriptions[subscription] = None
        if self._session is not None:
            try:
                await subscription.attach(self._session, self.settings.pending_bytes)
            except BusError as error:
                log.debug("subscribe %s: %s; made at the next link", subject, error)
        return subscription

    def forget(self, subscription: Subscribed) -> None:
        self._subscriptions.pop(subscription, None)

    async def flush(self, timeout: float) -> None:
        await self._live_session("", b"").ping(timeout)

    def stats(self) -> BusStats:
        return self._sum(self._session) if self._session is not None else self._past

    def _sum(self, session: Session) -> BusStats:
        past, now = self._past, session.client.stats
        return replace(
            past,
            in_bytes=past.in_bytes + now["in_bytes"],
            out_bytes=past.out_bytes + now["out_bytes"],
            in_messages=past.in_messages + now["in_msgs"],
            out_messages=past.out_messages + now["out_msgs"],
            reconnects=max(0, self._sessions - 1),
            dropped=self._dropped,
        )


def _tls(url: str, ca: Path | None) -> ssl.SSLContext | None:
    if not url.startswith("tls://"):
        return None
    return ssl.create_default_context(cafile=str(ca) if ca else None)
