"""Who answers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable

from bus.api import Bus, Message, Subscription
from bus.clock import awake_time
from bus.errors import BusError, DecodeError, StreamBroken
from bus.stream import coding, frames
from bus.stream.core import Headers, Incoming, Outgoing, Request, StreamSettings
from bus.stream.frames import Count, Frame
from bus.subjects import CLOUD_STREAMS, StreamSubjects

log = logging.getLogger(__name__)

QUEUE = "apigate"
HOLD = 0.03  # seconds; how an answer begins may wait so long for how it goes on
_REMEMBERED = 1024  # requests that are over: one that comes twice is done once


class Exchange:
    """One request, and its answer: `start`, any number of `write`, and the handler's return.

    What is said at once travels at once: a small answer that comes quickly is one message.
    """

    def __init__(
        self, server: StreamServer, reply: str, caller: tuple[str, str], opened: _Opened
    ) -> None:
        self.pool, self.node = caller  # proven by the subject
        request, self._body, self._has_body, credit = opened
        self.request = coding.bare(request)
        self.takes_coding = coding.takes_coding(request)  # so the answer may go compressed
        self._is_body_coded = coding.is_body_coded(request)
        self._coder: coding.Coder | None = None
        self.reply = reply
        self.heard = server.clock()
        self._server = server
        self._out = Outgoing(credit)
        self._in = Incoming(server.settings.window)
        self._error: BusError | None = None
        self._changed = asyncio.Event()
        self._held: list[bytes] = []  # frames that wait for the next one, or for the server
        self._saying = asyncio.Lock()
        self._length: int | None = None  # what is still to come of the body, where its head says
        self._is_over = False
        self.is_started = False
        self.task: asyncio.Task[None] | None = None

    @property
    def count(self) -> Count:
        number = int(self.reply.rpartition(".")[2])
        return Count(number, self._out.frames, self._in.granted)

    async def body(self) -> bytes:
        """All of the request's body, once: streams last long. Raises StreamBroken."""
        while not self._has_body:
            await self._until_changed()
        if self._is_body_coded:
            self._body = coding.plain_body(self._body, self._server.settings.max_body)
            self._is_body_coded = False
        body, self._body = self._body, b""
        return body

    async def start(self, status: int, headers: Headers, *, compress: bool = True) -> None:
        """The body is compressed on its way where that may pay, unless it is already."""
        self.is_started = True
        self._length = coding.length_of(headers) if self.request.method != "HEAD" else None
        if compress and self.takes_coding and coding.pays(headers):
            self._coder = coding.Coder()
            headers = (*headers, coding.CODED)
        pairs = [list(pair) for pair in headers]
        self._hold(frames.HEAD, self._out.next(), status, pairs)

    async def write(self, data: bytes) -> None:
        """Waits while the reader is behind. Raises StreamBroken, BusDown."""
        is_whole = self._is_whole_with(len(data))
        left = memoryview(data if self._coder is None or not data else self._coder.pack(data))
        while len(left):
            while self._out.room <= 0 or self._error is not None:
                await self._until_changed()
            chunk = bytes(left[: min(self._server.settings.chunk, self._out.room)])
            left = left[len(chunk) :]
            self._is_over = is_whole and not len(left)
            await self.say(frames.DATA, self._out.next(len(chunk)), chunk, self._is_over)

    def _is_whole_with(self, size: int) -> bool:
        """Raises StreamBroken: what is longer than its head says would not be read."""
        if self._length is None:
            return False
        self._length -= size
        if self._length < 0:
            raise StreamBroken("the body is longer than its head says")
        return self._length == 0

    async def end(self) -> None:
        if not self._is_over:
            await self.say(frames.DATA, self._out.next(), b"", True)

    async def say(self, kind: str, *body: object) -> None:
        self._held.append(frames.plain(kind, *body))
        await self.flush()

    def _hold(self, kind: str, *body: object) -> None:
        self._held.append(frames.plain(kind, *body))
        self._server.flush_later(self)

    @property
    def is_holding(self) -> bool:
        return bool(self._held)

    async def flush(self) -> None:
        """What is held goes out, in its order. Raises BusDown."""
        async with self._saying:
            held, self._held = self._held, []
            if held:
                await self._server.bus.publish(self.reply, frames.together(held))

    async def accept(self) -> None:
        self._hold(frames.ACCEPT, self._server.gate, self._in.granted)
        if not self._has_body:  # the rest of it waits for our word
            await self.flush()

    async def on_frame(self, frame: Frame) -> None:
        """Raises StreamBroken."""
        self.heard = self._server.clock()
        if frame.kind == frames.CREDIT:
            self._out.grant(frame.body[0])
        elif frame.kind == frames.DATA:
            await self._on_data(*frame.body)
        self._changed.set()

    async def _on_data(self, sequence: int, chunk: bytes, is_last: bool) -> None:
        if not self._in.take(sequence, len(chunk)):
            return
        if len(self._body) + len(chunk) > self._server.settings.max_body:
            raise StreamBroken("the request's body is too large")
        self._body += chunk
        self._has_body = is_last
        total = self._in.consume(len(chunk))
        if total is not None:
            await self.say(frames.CREDIT, total)

    def compare(self, count: Count) -> None:
        """Raises StreamBroken."""
        self.heard = self._server.clock()
        self._out.grant(count.granted)
        self._in.compare(count.frames)
        self._changed.set()

    def fail(self, error: BusError) -> None:
        self._error = error
        self._changed.set()

    async def _until_changed(self) -> None:
        if self._error is not None:
            raise self._error
        self._changed.clear()
        await self._changed.wait()


Handler = Callable[[Exchange], Awaitable[None]]
_Opened = tuple[Request, bytes, bool, int]


class StreamServer:
    """Takes its share of all nodes' requests; each runs as a task of its own.

    A handler that raises breaks its stream; where the client gives up, the handler is cancelled.
    """

    def __init__(
        self,
        bus: Bus,
        gate: str,
        handler: Handler,
        settings: StreamSettings | None = None,
        clock: Callable[[], float] = awake_time,
        subjects: StreamSubjects = CLOUD_STREAMS,
    ) -> None:
        self.bus = bus
        self._subjects = subjects
        self.gate = gate
        self.settings = settings or StreamSettings()
        self.clock = clock
        self.refused = 0
        self._handler = handler
        self._exchanges: dict[str, Exchange] = {}  # by inbox
        self._over: dict[str, None] = {}
        self._subscriptions: list[Subscription] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._holding: deque[tuple[float, Exchange]] = deque()  # by when they are due
        self._has_holding = asyncio.Event()

    @property
    def open_streams(self) -> int:
        return len(self._exchanges)

    async def start(self) -> None:
        """Hears follow-ups before it takes requests."""
        own = await self.bus.subscribe(self._subjects.asked_of(self.gate), self._on_message)
        self._subscriptions.append(own)
        shared = await self.bus.subscribe(self._subjects.asked, self._on_open, queue=QUEUE)
        self._subscriptions.append(shared)
        self._tasks = [
            asyncio.create_task(self._sweep(), name="streams' sweeper"),
            asyncio.create_task(self._flush(), name="streams' beginnings"),
        ]

    async def stop(self) -> None:
        """Takes no more; those at work are told, so that they go elsewhere. Idempotent."""
        while self._subscriptions:
            await self._subscriptions.pop().unsubscribe()
        tasks, self._tasks = self._tasks, []
        tasks += [each.task for each in self._exchanges.values() if each.task is not None]
        for exchange in list(self._exchanges.values()):
            await self._tell(exchange, "this replica stops")
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    # -- what comes -------------------------------------------------------------------------------

    async def _on_open(self, message: Message) -> None:
        if not self._is_callers(message) or message.reply in self._over:
            return
        if message.reply in self._exchanges:
            return
        try:
            opened = frames.decode_open(message.data)
        except DecodeError as error:
            self._refuse(f"{message.subject}: {error}")
            return
        caller = self._subjects.caller(message.subject)
        exchange = Exchange(self, message.reply, caller, opened)
        if len(self._exchanges) >= self.settings.max_streams:
            self.refused += 1
            await exchange.say(frames.FAIL, "this replica has too many streams")
            return
        self._exchanges[message.reply] = exchange
        exchange.task = asyncio.create_task(self._run(exchange), name=f"stream {message.reply}")

    def _is_callers(self, message: Message) -> bool:
        """Answers go to who asks, whatever inbox he named."""
        own = self._subjects.inbox(*self._subjects.caller(message.subject))
        number = message.reply.rpartition(".")[2]
        if message.reply.startswith(f"{own}.") and number.isascii() and number.isdigit():
            return True
        self._refuse(f"{message.subject}: to be answered in {message.reply!r}, not its inbox")
        return False

    def _refuse(self, why: str) -> None:
        self.refused += 1
        log.warning("refused: %s", why)

    async def _run(self, exchange: Exchange) -> None:
        try:
            await exchange.accept()
            await self._handler(exchange)
            await exchange.end()
        except BusError as error:
            log.debug("%s: %s", exchange.reply, error)
            await self._tell(exchange, str(error))
        except Exception as error:
            log.exception("%s %s failed", exchange.request.method, exchange.request.path)
            await self._tell(exchange, f"failed: {error!r}")
        finally:
            self._forget(exchange)

    def _forget(self, exchange: Exchange) -> None:
        del self._exchanges[exchange.reply]
        self._over[exchange.reply] = None
        if len(self._over) > _REMEMBERED:
            del self._over[next(iter(self._over))]

    async def _tell(self, exchange: Exchange, why: str) -> None:
        try:
            await exchange.say(frames.FAIL, why)
        except BusError as error:
            log.debug("%s: %s", exchange.reply, error)

    async def _on_message(self, message: Message) -> None:
        if not self._is_callers(message):
            return
        try:
            frame = frames.decode(message.data, frames.TO_SERVER | {frames.OPEN})
            if frame.kind == frames.OPEN:  # asked of us in particular
                await self._on_open(message)
                return
            if frame.kind == frames.PING:
                await self._on_ping(message, frame)
                return
        except DecodeError as error:
            self._refuse(f"{message.subject}: {error}")
            return
        exchange = self._exchanges.get(message.reply)
        if exchange is not None:
            await self._on_frame(exchange, frame)

    async def _on_frame(self, exchange: Exchange, frame: Frame) -> None:
        if frame.kind == frames.CANCEL:
            self._cancel(exchange)
            return
        try:
            await exchange.on_frame(frame)
        except StreamBroken as error:
            exchange.fail(error)

    async def _on_ping(self, message: Message, frame: Frame) -> None:
        """Each stream that it names is compared; ours of it come back."""
        inbox = message.reply.rpartition(".")[0]
        mine = []
        for count in frames.counts(frame.body[0], message.data):
            exchange = self._exchanges.get(f"{inbox}.{count.stream}")
            if exchange is not None:
                await exchange.flush()  # what is held counts as sent
            mine.append(list(_compared(exchange, count)))
        pong = frames.encode(frames.PONG, mine)
        await self.bus.publish(message.reply, pong, headers={"Gate": self.gate})

    # -- beginnings -------------------------------------------------------------------------------

    def flush_later(self, exchange: Exchange) -> None:
        """At the latest then: nothing may follow for long."""
        self._holding.append((time.monotonic() + HOLD, exchange))
        self._has_holding.set()

    async def _flush(self) -> None:
        while True:
            while self._holding:
                due, exchange = self._holding.popleft()
                if not exchange.is_holding:
                    continue
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                try:
                    await exchange.flush()
                except BusError as error:
                    log.debug("%s: %s", exchange.reply, error)
            self._has_holding.clear()
            await self._has_holding.wait()

    # -- clients that are gone --------------------------------------------------------------------

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(self.settings.abandoned / 4)
            oldest = self.clock() - self.settings.abandoned
            for exchange in list(self._exchanges.values()):
                if exchange.heard < oldest:
                    log.debug("%s: its client is gone", exchange.reply)
                    self._cancel(exchange)

    def _cancel(self, exchange: Exchange) -> None:
        if exchange.task is not None:
            exchange.task.cancel()


def _compared(exchange: Exchange | None, count: Count) -> Count:
    if exchange is None:
        return Count(count.stream, frames.GONE, 0)
    try:
        exchange.compare(count)
    except StreamBroken as error:
        exchange.fail(error)
    return exchange.count
