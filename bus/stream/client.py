"""Who asks."""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager

from bus.api import Bus, Message, Subscription
from bus.clock import awake_time
from bus.errors import BusDown, BusError, DecodeError, NoResponders, RequestTimeout, StreamBroken
from bus.stream import coding, frames
from bus.stream.core import Act, Headers, Incoming, Outgoing, Pulse, Request, StreamSettings
from bus.stream.frames import Count, Frame
from bus.subjects import CLOUD_STREAMS, StreamSubjects

log = logging.getLogger(__name__)

_TOKEN = 6  # random bytes that tell our lives apart; in the subject of all that we are answered
_CONTROL = 0  # the inbox token of what belongs to no stream


class Answer:
    """An answer that has begun; its body comes as it is read."""

    def __init__(self, stream: _Stream, status: int, headers: Headers) -> None:
        self.status = status
        self.headers = coding.without(headers)
        self._unpacker = coding.Unpacker() if coding.CODED in headers else None
        self._stream = stream

    @property
    def server(self) -> str:
        """Who answers."""
        return self._stream.gate

    async def chunks(self) -> AsyncGenerator[bytes]:
        """Ends where the body ends. Raises BusError if it cannot be had to its end."""
        while (chunk := await self._stream.next_chunk()) is not None:
            if self._unpacker is None:
                yield chunk
                continue
            try:
                for piece in self._unpacker.unpack(chunk):
                    yield piece
            except DecodeError as error:
                raise StreamBroken(str(error)) from error

    def silence(self) -> float:
        """Seconds since its server was last heard of; what it would have told is not older."""
        return self._stream.silence()

    def break_off(self, why: str) -> None:
        """Whoever reads it gets StreamBroken, at once."""
        self._stream.fail(StreamBroken(why))


class StreamClient:
    """Asks for one node. `start` before use, `stop` after it; streams open then are broken."""

    def __init__(
        self,
        bus: Bus,
        pool: str,
        node: str,
        settings: StreamSettings | None = None,
        clock: Callable[[], float] = awake_time,
        subjects: StreamSubjects = CLOUD_STREAMS,
    ) -> None:
        self.settings = settings or StreamSettings()
        self.bus = bus
        self._subjects = subjects
        self._pool = pool
        self._node = node
        self._clock = clock
        self._inbox = f"{subjects.inbox(pool, node)}.{secrets.token_urlsafe(_TOKEN)}"
        self._streams: dict[int, _Stream] = {}
        self._pulses: dict[str, Pulse] = {}  # by server
        self._numbers = itertools.count(_CONTROL + 1)
        self._busy = asyncio.Event()  # there are servers to listen for
        self._heard_of: Subscription | None = None
        self._forget_link: Callable[[], None] = lambda: None
        self._task: asyncio.Task[None] | None = None

    @property
    def is_up(self) -> bool:
        return self.bus.is_up

    @property
    def open_streams(self) -> int:
        return len(self._streams)

    async def start(self) -> None:
        self._heard_of = await self.bus.subscribe(f"{self._inbox}.*", self._on_message)
        self._forget_link = self.bus.on_link(self._on_link)
        self._task = asyncio.create_task(self._listen(), name="streams' pulse")

    async def stop(self) -> None:
        """Idempotent."""
        self._forget_link()
        task, self._task = self._task, None
        for stream in list(self._streams.values()):
            stream.fail(StreamBroken("we stop"))
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        if self._heard_of is not None:
            await self._heard_of.unsubscribe()

    @asynccontextmanager
    async def open(
        self, request: Request, body: bytes = b"", server: str = ""
    ) -> AsyncIterator[Answer]:
        """Yields when the answer has begun. Leaving it early cancels the request.

        `server`: who shall take it; "": any.

        Raises BusError: BusDown and NoResponders where certainly nobody acts on it.
        """
        if self._task is None:
            raise BusDown("streams are not open, or not any more")
        stream = _Stream(self, next(self._numbers))
        self._streams[stream.number] = stream
        try:
            await self._ask(stream, request, body, server)
            async with _deadline(self.settings.head, "no answer began"):
                status, headers = await stream.head()
            yield Answer(stream, status, headers)
        finally:
            del self._streams[stream.number]
            self._forget_gate(stream.gate)
            await stream.leave()

    async def _ask(self, stream: _Stream, request: Request, body: bytes, server: str) -> None:
        request, body = coding.coded(request, body)
        first = body[: self.settings.chunk]
        is_all = len(first) == len(body)
        opening = frames.encode_open(request, first, is_all, self.settings.window)
        subject = self._subjects.ask(self._pool, self._node)
        if server:
            subject = self._subjects.ask_of(self._pool, self._node, server)
        await self.bus.publish(subject, opening, reply=self._reply(stream.number))
        async with _deadline(self.settings.accept, "nobody took the request"):
            await stream.accepted()
        if not is_all:
            await stream.send_rest(body[len(first) :])

    def _reply(self, number: int) -> str:
        return f"{self._inbox}.{number}"

    async def say(self, gate: str, number: int, kind: str, *body: object) -> None:
        subject = self._subjects.ask_of(self._pool, self._node, gate)
        await self.bus.publish(subject, frames.encode(kind, *body), reply=self._reply(number))

    # -- what comes -------------------------------------------------------------------------------

    async def _on_message(self, message: Message) -> None:
        number = int(message.subject.rpartition(".")[2])
        stream = self._streams.get(number)
        if message.headers.get("Status") and not message.data:
            if stream is not None and not stream.gate:
                stream.fail(NoResponders("no replica of ApiGate is there"))
            return
        try:
            for frame in frames.decode_all(message.data, frames.TO_CLIENT):
                if frame.kind == frames.PONG:
                    self._on_pong(message.headers.get("Gate", ""), frame, message.data)
                elif stream is not None:
                    stream.on_frame(frame, message.data)
        except (DecodeError, StreamBroken) as error:
            if stream is not None:
                stream.fail(StreamBroken(str(error)))
        if stream is not None and stream.gate:
            self._heard(stream.gate)

    def silence(self, gate: str) -> float:
        """Seconds since a server was last heard of; inf if it is not known any more."""
        pulse = self._pulses.get(gate)
        return pulse.silence(self._clock()) if pulse is not None else float("inf")

    def _heard(self, gate: str) -> None:
        now = self._clock()
        self._pulses.setdefault(gate, Pulse(self.settings, now)).heard(now)
        self._busy.set()

    def _on_pong(self, gate: str, frame: Frame, raw: bytes) -> None:
        if gate in self._pulses:
            self._heard(gate)
        for count in frames.counts(frame.body[0], raw):
            stream = self._streams.get(count.stream)
            if stream is not None and stream.gate == gate:
                stream.compare(count)

    def _on_link(self, is_up: bool) -> None:
        """What they say meanwhile is lost to us. Not BusDown: requests may have been acted on."""
        if not is_up:
            for stream in list(self._streams.values()):
                stream.fail(StreamBroken(f"{self.bus.name} bus: the link went down"))

    # -- whether they live ------------------------------------------------------------------------

    async def _listen(self) -> None:
        while True:
            await self._busy.wait()
            now = self._clock()
            due = (pulse.due(now) for pulse in self._pulses.values())
            await asyncio.sleep(min(due, default=self.settings.silence))
            for gate, pulse in list(self._pulses.items()):
                try:
                    await self._look(gate, pulse.look(self._clock()))
                except BusError as error:
                    log.debug("ping: %s", error)  # the link's end ends the streams

    async def _look(self, gate: str, act: Act) -> None:
        mine = [stream for stream in self._streams.values() if stream.gate == gate]
        if act is Act.GIVE_UP:
            for stream in mine:
                stream.fail(StreamBroken(f"replica {gate} does not answer any more"))
            self._pulses.pop(gate, None)
        elif act is Act.COMPARE:
            await self.say(gate, _CONTROL, frames.PING, [list(stream.count) for stream in mine])
        elif act is Act.ASK:
            await self.say(gate, _CONTROL, frames.PING, [])

    def _forget_gate(self, gate: str) -> None:
        if not any(stream.gate == gate for stream in self._streams.values()):
            self._pulses.pop(gate, None)
        if not self._pulses:
            self._busy.clear()


class _Stream:
    """One request of ours, and how far its answer has come."""

    def __init__(self, owner: StreamClient, number: int) -> None:
        self.number = number
        self.gate = ""  # who took it
        self._owner = owner
        self._out = Outgoing()
        self._in = Incoming(owner.settings.window)
        self._head: tuple[int, Headers] | None = None
        self._chunks: deque[bytes] = deque()
        self._is_whole = False
        self._error: BusError | None = None
        self._changed = asyncio.Event()

    @property
    def count(self) -> Count:
        return Count(self.number, self._out.frames, self._in.granted)

    def fail(self, error: BusError) -> None:
        if self._error is None and not self._is_whole:
            self._error = error
        self._changed.set()

    def silence(self) -> float:
        return self._owner.silence(self.gate)

    def compare(self, count: Count) -> None:
        """Raises nothing: the stream is told."""
        if count.frames == frames.GONE:
            self.fail(StreamBroken("the replica knows nothing of it"))
            return
        self._out.grant(count.granted)
        try:
            self._in.compare(count.frames)
        except StreamBroken as error:
            self.fail(error)
        self._changed.set()

    def on_frame(self, frame: Frame, raw: bytes) -> None:
        """Raises StreamBroken, DecodeError."""
        match frame.kind:
            case frames.ACCEPT if not self.gate:
                self.gate, credit = frame.body
                self._out.grant(credit)
            case frames.HEAD:
                sequence, status, headers = frame.body
                if self._in.take(sequence):
                    self._head = status, frames.pairs(headers, raw)
            case frames.DATA:
                self._on_data(*frame.body)
            case frames.CREDIT:
                self._out.grant(frame.body[0])
            case frames.FAIL:
                self.fail(StreamBroken(frame.body[0]))
        self._changed.set()

    def _on_data(self, sequence: int, chunk: bytes, is_last: bool) -> None:
        if not self._in.take(sequence, len(chunk)):
            return
        if chunk:
            self._chunks.append(chunk)
        self._is_whole = is_last

    async def _until(self, reached: Callable[[], bool]) -> None:
        """Raises what broke the stream, unless it had come so far before."""
        while not reached():
            if self._error is not None:
                raise self._error
            self._changed.clear()
            await self._changed.wait()

    async def accepted(self) -> None:
        await self._until(lambda: bool(self.gate))

    async def head(self) -> tuple[int, Headers]:
        await self._until(lambda: self._head is not None)
        assert self._head is not None
        return self._head

    async def next_chunk(self) -> bytes | None:
        """None at the end."""
        await self._until(lambda: bool(self._chunks) or self._is_whole)
        if not self._chunks:
            return None
        chunk = self._chunks.popleft()
        total = self._in.consume(len(chunk))
        if total is not None and not self._is_whole:
            await self._owner.say(self.gate, self.number, frames.CREDIT, total)
        return chunk

    async def send_rest(self, body: bytes) -> None:
        """Until the answer begins: a server that answers already wants no more."""
        left = memoryview(body)
        while len(left):
            await self._until(lambda: self._out.room > 0 or self._head is not None)
            if self._head is not None:
                return
            chunk = bytes(left[: min(self._owner.settings.chunk, self._out.room)])
            left = left[len(chunk) :]
            sequence = self._out.next(len(chunk))
            await self._owner.say(
                self.gate, self.number, frames.DATA, sequence, chunk, not len(left)
            )

    async def leave(self) -> None:
        """Tells them where they may still be at work."""
        if self._is_whole or not self.gate:
            return
        try:
            await self._owner.say(self.gate, self.number, frames.CANCEL)
        except BusError as error:
            log.debug("cancel: %s", error)


@asynccontextmanager
async def _deadline(seconds: float, what: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise RequestTimeout(f"{what} within {seconds} s") from error
