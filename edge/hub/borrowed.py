"""A link that is not ours: our requests, sealed, through the pool's leader."""

from __future__ import annotations

import asyncio
import base64
import binascii
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bus.api import Bus
from bus.borrow import (
    ASK,
    GATE_HEADER,
    HELLO,
    SEALED,
    WELCOME_HEADER,
    WHO,
    BadProof,
    Claim,
    Hello,
    Session,
    Unsealed,
    seal_ask,
)
from bus.clock import awake_time
from bus.errors import BusDown, BusError, DecodeError, MessageTooLarge, RequestTimeout, StreamBroken
from bus.keys import NodeKey
from bus.stream import Answering, Request, StreamClient, StreamSettings
from bus.stream.core import Headers
from bus.subjects import POOL_STREAMS
from edge.hub.sitekey import SiteKey

if TYPE_CHECKING:
    from loguru import Logger

PAUSES = (0.1, 0.25, 0.5, 1.0, 2.0)  # seconds between attempts; then the last
SILENCE = 6.0  # seconds without a word of ApiGate itself, which says one every 2 s


@dataclass
class Borrower:
    """Who borrows, and how it shows that."""

    pool: str
    node: str
    key: NodeKey
    site: SiteKey


@dataclass
class _Loan:
    session: Session
    lender: str
    heard: float
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))


class Borrowed:
    """Implements `bus.stream.Streams`, while `want(True)` and there is a lender."""

    def __init__(
        self,
        pool: Bus,
        borrower: Borrower,
        log: Logger,
        settings: StreamSettings | None = None,
        clock: Callable[[], float] = awake_time,
    ) -> None:
        self.bus = pool
        self.settings = settings or StreamSettings()
        self.on_change: Callable[[], None] = lambda: None
        self.sessions = 0  # made
        self.why = ""  # there is none
        self.is_tried = False  # since it was wanted
        self._who = borrower
        self._log = log
        self._clock = clock
        self._client = StreamClient(
            pool, borrower.pool, borrower.node, self.settings, clock, POOL_STREAMS
        )
        self._loan: _Loan | None = None
        self._wanted = asyncio.Event()
        self._again = asyncio.Event()  # do not wait with the next attempt
        self._answers: set[SealedAnswer] = set()
        self._open = 0
        self._trying: asyncio.Task[None] | None = None
        self._forget_link: Callable[[], None] = lambda: None

    @property
    def is_up(self) -> bool:
        return self._loan is not None

    @property
    def lender(self) -> str:
        return self._loan.lender if self._loan is not None else ""

    @property
    def open_streams(self) -> int:
        return self._open

    async def start(self) -> None:
        await self._client.start()
        self._forget_link = self.bus.on_link(lambda _up: self._again.set())

    async def stop(self) -> None:
        self._forget_link()
        await self._client.stop()

    def want(self, is_wanted: bool) -> None:
        """Whether to have one. Streams under way go on, begun ones are broken off: they resume."""
        if is_wanted == self._wanted.is_set():
            return
        if is_wanted:
            self.is_tried = False
            self._wanted.set()
            self._again.set()
            return
        self._wanted.clear()
        for answer in list(self._answers):
            answer.break_off("there is a link of our own again")
        self._let_go()

    def _let_go(self) -> None:
        if not self._wanted.is_set() and not self._open and self._trying is not None:
            self._trying.cancel()

    # -- having one -------------------------------------------------------------------------------

    async def run(self) -> None:
        """For ever: has a session whenever one is wanted and there is a lender."""
        tries = 0
        while True:
            await self._wanted.wait()
            self._again.clear()
            made = self.sessions
            await self._once()
            tries = 0 if self.sessions > made else tries + 1
            self.is_tried = True
            self.on_change()
            try:
                async with asyncio.timeout(PAUSES[min(tries, len(PAUSES) - 1)]):
                    await self._again.wait()
            except TimeoutError:
                continue

    async def _once(self) -> None:
        """A session from its beginning to its end, in a task of its own: it can be let go of."""
        task = self._trying = asyncio.create_task(self._borrow(), name="borrowed link")
        try:
            await asyncio.wait([task])
        finally:
            self._trying = None
            task.cancel()
            await asyncio.wait([task])
        if not task.cancelled() and (error := task.exception()) is not None:
            if not isinstance(error, BusError):
                raise error
            self._note(str(error))

    def _note(self, why: str) -> None:
        if why != self.why:
            self._log.debug("no link to borrow: {}", why)
        self.why = why

    async def _borrow(self) -> None:
        """Raises BusError."""
        lender = await self._find()
        hello = Hello(self._who.key, Claim(self._who.pool, self._who.node, lender))
        request = Request(HELLO, "/", (SEALED,))
        async with self._client.open(request, hello.raw, lender) as answer:
            session, public = hello.session(_welcome(answer), self._who.site.public)
            self._who.site.told_by_lender(public)
            await self._live(answer, _Loan(session, lender, self._clock()))

    async def _find(self) -> str:
        async with self._client.open(Request(WHO, "/")) as answer:
            lender = answer.server
        if lender == self._who.node:
            raise BusDown("the lender is this node")
        return lender

    async def _live(self, answer: Answering, loan: _Loan) -> None:
        """As long as ApiGate itself is heard. Raises BusError."""
        ticks = Unsealed(loan.session, 0)
        self._up(loan)
        try:
            async with asyncio.timeout(SILENCE) as silence:
                async for data in answer.chunks():
                    if list(ticks.feed(data)):
                        loan.heard = self._clock()
                        silence.reschedule(asyncio.get_running_loop().time() + SILENCE)
        except TimeoutError:
            raise StreamBroken("nothing was heard of ApiGate") from None
        finally:
            self._down()

    def _up(self, loan: _Loan) -> None:
        self._loan = loan
        self.sessions += 1
        self.why = ""
        self.is_tried = True
        self._log.info("borrows the link of {}", loan.lender)
        self.on_change()

    def _down(self) -> None:
        self._loan = None
        self._log.info("borrows no link any more")
        for answer in list(self._answers):
            answer.break_off("the borrowed link is gone")
        self.on_change()

    # -- using it ---------------------------------------------------------------------------------

    @asynccontextmanager
    async def open(self, request: Request, body: bytes = b"") -> AsyncIterator[SealedAnswer]:
        """Raises BusError: BusDown where certainly nobody acts on it. Else a request is never
        asked again here: that nobody took it would be the lender's word."""
        loan = self._loan
        if loan is None:
            raise BusDown(f"no borrowed link: {self.why or 'not yet'}")
        number = next(loan.numbers)
        raw = seal_ask(loan.session, number, request, body)
        self._open += 1
        try:
            async with AsyncExitStack() as stack:
                answer = await self._begin(stack, loan, number, raw)
                self._answers.add(answer)
                try:
                    yield answer
                finally:
                    self._answers.discard(answer)
        finally:
            self._open -= 1
            self._let_go()

    async def _begin(
        self, stack: AsyncExitStack, loan: _Loan, number: int, raw: bytes
    ) -> SealedAnswer:
        outer = Request(ASK, "/", (SEALED, (GATE_HEADER, loan.session.gate)))
        try:
            carried = await stack.enter_async_context(self._client.open(outer, raw, loan.lender))
            if carried.status != 200:
                raise StreamBroken("ApiGate does not know our session, says the lender")
            return await SealedAnswer.begun(
                carried, Unsealed(loan.session, number), self.settings.head,
                lambda: self._clock() - loan.heard,
            )  # fmt: skip
        except (BusDown, MessageTooLarge, StreamBroken):
            raise
        except BusError as error:
            raise StreamBroken(f"borrowed link: {error}") from error


class SealedAnswer:
    """Implements `bus.stream.Answering`."""

    def __init__(
        self, carried: Answering, unsealed: Unsealed, silence: Callable[[], float]
    ) -> None:
        self.status = 0
        self.headers: Headers = ()
        self._carried = carried
        self._unsealed = unsealed
        self._silence = silence
        self._data = carried.chunks()
        self._first: list[bytes] = []

    @classmethod
    async def begun(
        cls, carried: Answering, unsealed: Unsealed, patience: float, silence: Callable[[], float]
    ) -> SealedAnswer:
        """Once its head is there. Raises BusError."""
        made = cls(carried, unsealed, silence)
        try:
            async with asyncio.timeout(patience):
                await made._begin()
        except TimeoutError as error:
            raise RequestTimeout(f"no answer began within {patience} s") from error
        return made

    async def _begin(self) -> None:
        while self._unsealed.head is None:
            data = await anext(self._data, None)
            if data is None:
                raise StreamBroken("cut short before its head")
            self._first += self._opened(data)
        self.status, self.headers = self._unsealed.head

    async def chunks(self) -> AsyncGenerator[bytes]:
        """Ends where the body ends. Raises BusError if it cannot be had to its end."""
        while self._first:
            yield self._first.pop(0)
        async for data in self._data:
            for part in self._opened(data):
                yield part
        if not self._unsealed.is_whole:
            raise StreamBroken("cut short on its way")

    def _opened(self, data: bytes) -> list[bytes]:
        try:
            return list(self._unsealed.feed(data))
        except (BadProof, DecodeError) as error:
            raise StreamBroken(f"changed on its way: {error}") from error

    def silence(self) -> float:
        """Since ApiGate itself was heard of: the lender's word would not do."""
        return max(self._silence(), self._carried.silence())

    def break_off(self, why: str) -> None:
        self._carried.break_off(why)


def _welcome(answer: Answering) -> bytes:
    """Raises BadProof."""
    if answer.status != 200:
        raise BadProof("ApiGate refuses us, says the lender")
    text = next((value for name, value in answer.headers if name == WELCOME_HEADER), "")
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise BadProof("not a welcome") from error
