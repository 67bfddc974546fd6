"""Borrowed links at their end: requests that a lender brings act as the borrower's own do."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Awaitable, Callable

from bus.borrow import (
    ASK,
    HELLO,
    KEY,
    KEY_HEADER,
    SEALED,
    WELCOME_HEADER,
    BadProof,
    Opened,
    SealRecords,
)
from bus.errors import StreamBroken
from bus.keys import BadKey
from bus.stream import Conversation, Exchange
from bus.stream.core import Headers
from cloud.apigate.proof import Held, Sessions

TICK = 2.0  # seconds; as which a borrower hears, past its lender, that we are there: 60 bytes
_REFUSED = 421  # "misdirected": ask for another session

log = logging.getLogger(__name__)

Handler = Callable[[Conversation], Awaitable[None]]


class Borrowers:
    """Wraps the gate: handles exchanges of borrowed links, hands on all others."""

    def __init__(self, gate: Handler, sessions: Sessions, public: str, tick: float = TICK) -> None:
        """`public`: the site's key, with which `sessions` signs."""
        self.refused = 0
        self.requests = 0
        self.sessions = sessions
        self._gate = gate
        self._public = public
        self._tick = tick
        self._ends: dict[bytes, asyncio.Event] = {}
        self._at_work: dict[bytes, set[asyncio.Task[None]]] = {}

    async def __call__(self, exchange: Exchange) -> None:
        handler = {HELLO: self._hello, ASK: self._ask, KEY: self._key}.get(exchange.request.method)
        if handler is None:
            await self._gate(exchange)
            return
        try:
            await handler(exchange)
        except (BadProof, BadKey) as error:
            self.refused += 1
            log.warning("refused: %s of %s/%s: %s", exchange.request.method, exchange.pool,
                        exchange.node, error)  # fmt: skip
            if exchange.is_started:
                raise
            await exchange.start(_REFUSED, ())

    def look_again(self) -> None:
        """Keys may have changed: sessions that they do not bear out any more end."""
        for held in self.sessions.revoked():
            self._ends[held.session.id].set()

    async def _key(self, exchange: Exchange) -> None:
        """For a node with a link, which proves us to it."""
        await exchange.start(200, ((KEY_HEADER, self._public),))

    async def _hello(self, exchange: Exchange) -> None:
        held, raw = self.sessions.open(exchange.pool, exchange.node, await exchange.body())
        end = self._ends[held.session.id] = asyncio.Event()
        self._at_work[held.session.id] = set()
        log.info("%s/%s borrows the link of %s", held.claim.pool, held.claim.node, exchange.node)
        try:
            welcome = (WELCOME_HEADER, base64.b64encode(raw).decode())
            await exchange.start(200, (SEALED, welcome), compress=False)
            await self._live(exchange, held, end)
        finally:
            self._forget(held)

    async def _live(self, exchange: Exchange, held: Held, end: asyncio.Event) -> None:
        """Until its borrower leaves, which cancels us. Raises StreamBroken where it is revoked."""
        records = SealRecords(held.session, 0)
        await exchange.write(records.head(200, (), compress=False))
        while not end.is_set():
            for record in records.data(b"."):
                await exchange.write(record)
            try:
                async with asyncio.timeout(self._tick):
                    await end.wait()
            except TimeoutError:
                continue
        raise StreamBroken("the key is not enrolled any more")

    def _forget(self, held: Held) -> None:
        self.sessions.close(held)
        del self._ends[held.session.id]
        for task in self._at_work.pop(held.session.id):
            task.cancel()

    async def _ask(self, exchange: Exchange) -> None:
        raw = await exchange.body()
        held, number, opened = self.sessions.take(exchange.pool, exchange.node, raw)
        self.requests += 1
        conversation = Sealed(exchange, held, number, opened)
        task = asyncio.current_task()
        at_work = self._at_work[held.session.id]
        assert task is not None
        at_work.add(task)
        try:
            await self._gate(conversation)
            await conversation.end()
        finally:
            at_work.discard(task)


class Sealed:
    """Implements `bus.stream.Conversation`: what is said is sealed, the exchange is its paper."""

    def __init__(self, exchange: Exchange, held: Held, number: int, opened: Opened) -> None:
        self.pool, self.node = held.claim.pool, held.claim.node
        self.request = opened.request
        self.takes_coding = opened.takes_coding
        self.is_started = False
        self._exchange = exchange
        self._body = opened.body
        self._records = SealRecords(held.session, number)

    async def body(self) -> bytes:
        """Once."""
        body, self._body = self._body, b""
        return body

    async def start(self, status: int, headers: Headers, *, compress: bool = True) -> None:
        self.is_started = True
        await self._exchange.start(200, (SEALED,), compress=False)
        head = self._records.head(status, headers, compress=compress and self.takes_coding)
        await self._exchange.write(head)

    async def write(self, data: bytes) -> None:
        for record in self._records.data(data):
            await self._exchange.write(record)

    async def end(self) -> None:
        await self._exchange.write(self._records.end())
