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

from nats.aio.subscription import Subscription as ClientSubscription

from bus.api import BusStats, Handler, LinkListener, Message
from bus.delivery import Delivery
from bus.errors import BusDown, BusError, RequestTimeout
from bus.linkstate import LinkState
from bus.session import Session
from bus.sizes import check_size
from bus.subjects import check_pattern, check_subject

log = logging.getLogger(__name__)

_PATIENCE = 0.8  # of a ping period, for its answer: a black hole is noticed in under two periods
_TOLD = 64  # different complaints of the server told; more are only counted
_FLUSH_SECONDS = 0.3  # for what was just published, at an orderly close


@dataclass(frozen=True)
class BusSettings:
    """How to reach one bus. Pickles; the seed is read from its file where it is used."""

    name: str  # "cloud" or "pool"
    urls: tuple[str, ...]
    seed_file: Path  # the node's nkeys seed (mode 0600)
    client: str  # shown in the server's connection list: "pool-a/node-1"
    inbox_prefix: str  # from bus.permissions; nobody else may listen there
    ca: Path | None = None  # TLS, trusting this; a tls:// URL without it trusts the system's
    pinned: bool = False  # `ca` is the server's own certificate: nothing else is trusted, any name
    ping_seconds: float = 1.0  # link check; a black hole is noticed within two periods
    reconnect_seconds: float = 0.25
    max_payload: int = 8 << 20  # bytes; larger publishes are refused here
    pending_bytes: int = 64 << 20  # a slow handler's backlog; beyond it messages drop, counted


class Subscribed:
    """A subscription that outlives sessions; what waits for its handler does, too."""

    def __init__(self, owner: Connection, subject: str, queue: str, delivery: Delivery) -> None:
        self.subject = subject
        self._queue = queue
        self._owner = owner
        self._delivery = delivery
        self._session: Session | None = None
        self._made: ClientSubscription | None = None

    async def attach(self, session: Session) -> None:
        """Idempotent."""
        if self._session is not session:
            self._made = await session.subscribe(self.subject, self._queue, self._delivery.put)
            self._session = session

    async def unsubscribe(self) -> None:
        """Idempotent. A handler call under way is cancelled, unless it is our caller."""
        self._owner.forget(self)
        made, self._made = self._made, None
        if made is not None and self._session is not None:
            await self._session.unsubscribe(made)
        await self._delivery.close()


class Connection:
    """Implements `bus.api.Bus`."""

    def __init__(self, settings: BusSettings) -> None:
        self.name = settings.name
        self.settings = settings
        self.denied = 0  # permission errors that the server reported
        self._session: Session | None = None
        self._link = LinkState(settings.name)
        self._subscriptions: dict[Subscribed, None] = {}
        self._task: asyncio.Task[None] | None = None
        self._past = BusStats(0, 0, 0, 0, 0, 0)  # of ended sessions
        self._sessions = 0  # that came up
        self._dropped = 0
        self._told: set[str] = set()
        self._trouble = ""  # why we are down, as last logged

    def __repr__(self) -> str:
        return f"<Connection {self.name} {'up' if self.is_up else 'down'} {self.settings.urls}>"

    async def start(self) -> None:
        """Returns at once; the link comes up in the background, now or when it can."""
        assert self._task is None, "started once"
        self._task = asyncio.create_task(self._run(), name=f"connection {self.name}")

    async def close(self) -> None:
        """Idempotent; quick also on a dead line. What was published before goes out if it can."""
        if self._link.is_closed:
            return
        self._link.close()
        await self._flush_last()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        for subscription in list(self._subscriptions):
            await subscription.unsubscribe()

    async def _flush_last(self) -> None:
        if self._session is not None:
            try:
                await self._session.ping(_FLUSH_SECONDS)
            except BusError as error:
                log.debug("%s bus: closed without a flush: %s", self.name, error)

    # -- the link ---------------------------------------------------------------------------------

    @property
    def is_up(self) -> bool:
        return self._session is not None and not self._session.ended.is_set()

    def on_link(self, listener: LinkListener) -> Callable[[], None]:
        return self._link.on_change(listener)

    async def wait_up(self, timeout: float | None = None) -> None:
        await self._link.wait(timeout, lambda: self._trouble or "not tried yet")

    async def _run(self) -> None:
        for url in cycle(self.settings.urls):
            try:
                await self._live(url)
            except BusDown as error:
                self._note(str(error))
            except Exception:
                log.exception("%s bus: a defect of ours; trying on", self.name)
            if self._link.is_closed:
                return  # nats-py swallows a cancellation now and then
            wait = self.settings.reconnect_seconds
            await asyncio.sleep(wait * random.uniform(0.75, 1.25))

    async def _live(self, url: str) -> None:
        """One session, from connect to its end. Raises BusDown if it did not come up."""
        session = await self._open(url)
        try:
            for subscription in list(self._subscriptions):
                await subscription.attach(session)
            self._set_up(session)
            await self._watch(session)
        finally:
            self._set_down(session)
            await session.close()

    async def _open(self, url: str) -> Session:
        try:
            tls = _tls(url, self.settings.ca, pinned=self.settings.pinned)
        except OSError as error:
            raise BusDown(f"{self.settings.ca}: {error}") from error
        session = Session(url, tls)
        await session.open(
            name=self.settings.client,
            seed_file=self.settings.seed_file,
            inbox_prefix=self.settings.inbox_prefix,
            on_error=self._on_error,
        )
        return session

    async def _watch(self, session: Session) -> None:
        """Until the session ends, or a ping finds the line dead.

        One ping each period, also while messages come: the server measures our silence as well.
        """
        period = self.settings.ping_seconds
        clock = asyncio.get_running_loop().time
        due = clock() + period
        while not session.ended.is_set():
            try:
                async with asyncio.timeout_at(due):
                    await session.ended.wait()
            except TimeoutError:
                due = clock() + period
                await self._probe(session, period * _PATIENCE)

    async def _probe(self, session: Session, patience: float) -> None:
        try:
            await session.probe(patience)
        except RequestTimeout as error:
            session.end(str(error))
        except BusDown:
            return  # it ended meanwhile, with a reason of its own

    def _set_up(self, session: Session) -> None:
        self._session = session
        self._trouble = ""
        self._sessions += 1
        log.info("%s bus: connected to %s", self.name, session.url)
        self._link.set(True)

    def _set_down(self, session: Session) -> None:
        session.end("closed")
        self._past = self._sum(session)
        if self._session is None:
            return
        self._session = None
        if not self._link.is_closed:
            log.warning("%s bus: link down: %s", self.name, session.reason)
        self._link.set(False)

    def _note(self, trouble: str) -> None:
        """Told once per reason, not once per try."""
        if trouble != self._trouble:
            self._trouble = trouble
            log.warning("%s bus: no link, trying on: %s", self.name, trouble)

    def _on_error(self, error: Exception) -> None:
        if "permissions violation" in str(error).lower():
            self.denied += 1
            self._once(f"{self.name} bus: {error}")
        else:
            log.debug("%s bus: %r", self.name, error)

    def _on_drop(self, why: str) -> None:
        self._dropped += 1
        self._once(f"{self.name} bus: {why}")

    def _once(self, text: str) -> None:
        if text not in self._told and len(self._told) < _TOLD:
            self._told.add(text)
            log.error("%s", text)

    # -- messages ---------------------------------------------------------------------------------

    def _live_session(self) -> Session:
        if self._session is None:
            raise self._link.down()
        return self._session

    def _session_for(self, subject: str, data: bytes, headers: Mapping[str, str] | None) -> Session:
        check_subject(subject)
        session = self._live_session()
        limit = min(self.settings.max_payload, session.max_payload)
        check_size(subject, data, headers, limit)
        return session

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
        session = self._session_for(subject, data, headers)
        await session.publish(subject, data, reply, headers)

    async def request(
        self,
        subject: str,
        data: bytes,
        *,
        timeout: float,
        headers: Mapping[str, str] | None = None,
    ) -> Message:
        session = self._session_for(subject, data, headers)
        return await session.request(subject, data, timeout, headers)

    async def subscribe(self, subject: str, handler: Handler, *, queue: str = "") -> Subscribed:
        """Raises BusDown only where the connection is closed."""
        check_pattern(subject)
        if self._link.is_closed:
            raise self._link.down()
        delivery = Delivery(subject, handler, self.settings.pending_bytes, self._on_drop)
        subscription = Subscribed(self, subject, queue, delivery)
        self._subscriptions[subscription] = None
        if self._session is not None:
            try:
                await subscription.attach(self._session)
            except BusDown as error:
                log.debug("subscribe %s: made at the next link: %s", subject, error)
            except BaseException:
                await subscription.unsubscribe()
                raise
        return subscription

    def forget(self, subscription: Subscribed) -> None:
        self._subscriptions.pop(subscription, None)

    async def flush(self, timeout: float) -> None:
        await self._live_session().ping(timeout)

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


def _tls(url: str, ca: Path | None, *, pinned: bool) -> ssl.SSLContext | None:
    if ca is None and not url.startswith("tls://"):
        return None
    context = ssl.create_default_context(cafile=str(ca) if ca else None)
    # As before Python 3.13, and as nats-server: a certificate need not name its issuer's key.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if pinned:
        context.check_hostname = False  # the key is what is checked
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # it need not be a CA's
    return context
