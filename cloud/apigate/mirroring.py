"""A mirror's side at the API server: one stream that lists and watches for it, on and on.

What the asker has it is not told again: a list goes as the difference, changes go as deltas to what
was sent on this stream before, as long as that is remembered (`mirroring_memory`; a stream that
began with a version sends each object's first change whole). The stream outlives the API server's
watches and restarts. Only where versions are lost, or went back, it ends (410), and the asker comes
again with what it has.

`managedFields` are left out, as in feeds: of no use to who only reads, and half of many objects.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Self

from actors.backoff import Backoff, RestartPolicy
from actors.kube.client import ClusterClient
from actors.kube.client_errors import KubeError, Refused
from actors.kube.raw_events import Garbled, Lines, Shape
from actors.kube.serve.passing import Headers
from actors.kube.status_errors import ApiError, bad_request, service_unavailable
from bus.clock import awake_time
from bus.errors import DecodeError
from bus.feed.ops import Op, encode_op, size_of
from bus.feed.types import Change
from bus.mirror import (
    HEADER,
    MEDIA,
    Ask,
    Began,
    Changed,
    Failed,
    Listed,
    Live,
    Said,
    Stale,
    decode_ask,
    encode,
)
from bus.stream import Conversation, Request
from cloud.apigate.mirroring_memory import Memory
from cloud.apigate.mirroring_source import PAGE, Refusal, Source, Verdicts, went_back

MIB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class MirrorSettings:
    """Units: seconds and bytes."""

    watch_seconds: tuple[int, int] = (300, 600)  # drawn anew each time, as client-go does
    overtime: float = 30.0  # what a watch may last beyond that, which the server should keep
    quiet: float = 75.0  # without as much as a bookmark (one a minute), then we ask if it lives
    answer: float = 10.0  # for which it has so long
    settle: float = 0.3  # an API server that does not refuse a watch by then has accepted it
    patience: float = 30.0  # of trouble with the API server, then the asker is told to come again
    memory: int = 256 * MIB  # bases of deltas, of all streams of this replica
    stream_memory: int = 16 * MIB  # and of one: two thousand pods
    frame_bytes: int = 256 * 1024  # before compression
    pauses: RestartPolicy = field(
        default_factory=lambda: RestartPolicy(first=0.5, ceiling=8.0, settle=10.0)
    )


def is_mirror(request: Request) -> bool:
    return request.method == "GET" and any(
        name.lower() == HEADER.lower() for name, _ in request.headers
    )


class Mirroring:
    """Serves the mirrors' requests that come to one replica."""

    def __init__(
        self,
        client: ClusterClient,
        settings: MirrorSettings | None = None,
        on_refused: Callable[[], None] = lambda: None,
    ) -> None:
        self.settings = settings or MirrorSettings()
        self.memory = Memory(self.settings.memory, self.settings.stream_memory)
        self.verdicts = Verdicts()
        self.open = 0
        self.lists = 0
        self.watches = 0
        self._client = client
        self._on_refused = on_refused

    async def serve(self, exchange: Conversation, headers: Headers, *, as_us: bool) -> None:
        """As who `headers` say. Raises ApiError, KubeError before an answer began; BusError."""
        try:
            ask = decode_ask(await exchange.body())
        except DecodeError as error:
            raise bad_request(f"no mirror asks so: {error}") from None
        source = Source(self._client, exchange.request.path, headers, as_us, self._on_refused)
        session = _Session(self, exchange, source, ask)
        self.open += 1
        try:
            await session.run()
        finally:
            self.open -= 1
            session.close()


class _Session:
    def __init__(self, owner: Mirroring, exchange: Conversation, source: Source, ask: Ask) -> None:
        self._owner = owner
        self._settings = owner.settings
        self._exchange = exchange
        self._source = source
        self._have = ask.have
        self._shape = Shape(ask.api_version, ask.kind)
        self._sent = owner.memory.stream()
        self._version = ask.version
        self._is_suspicious = ask.version > 0  # the source may not be what it was
        self._backoff = Backoff(owner.settings.pauses)
        self._troubled: float | None = None  # since when
        self._opened = 0.0  # when the watch was

    def close(self) -> None:
        self._sent.close()

    async def run(self) -> None:
        try:
            if not self._version:
                await self._believed(self._list)
            while True:
                await self._watch_once()
        except Refusal as error:
            await self._refuse(error)
        except (KubeError, Garbled) as error:
            self._owner.verdicts.unreachable(awake_time())
            raise _as_kube(error) from error

    async def _refuse(self, error: Refusal) -> None:
        if self._exchange.is_started:
            await self._say(Failed(error.code, error.body))
            return
        headers = [("Content-Type", "application/json")]
        headers += [("Retry-After", error.retry_after)] if error.retry_after else []
        await self._exchange.start(error.code, tuple(headers))
        await self._exchange.write(error.body)

    async def _say(self, said: Said) -> None:
        if not self._exchange.is_started:
            await self._exchange.start(200, (("Content-Type", MEDIA),), compress=False)
        await self._exchange.write(encode(said))

    # -- trouble ----------------------------------------------------------------------------------

    async def _watch_once(self) -> None:
        """A watch to its end, or a pause. Raises Refusal where the stream cannot go on."""
        self._opened = 0.0
        try:
            await self._believed(self._check)
            await self._believed(self._watch)
        except Refusal as error:
            if not error.may_pass or not self._exchange.is_started:
                raise
            await self._wait(str(error))
        except (KubeError, Garbled) as error:
            if not self._exchange.is_started:
                raise
            self._owner.verdicts.unreachable(awake_time())
            await self._wait(str(error))

    async def _believed(self, act: Callable[[], Awaitable[None]]) -> None:
        """Does it, again and again where a 403 is no verdict."""
        verdicts, name = self._owner.verdicts, self._source.name
        while True:
            try:
                await act()
                return
            except Refusal as error:
                if error.code != 403 or not verdicts.is_doubtful(name, awake_time()):
                    raise
            await asyncio.sleep(0.2)

    async def _wait(self, why: str) -> None:
        """Raises Refusal when it has lasted too long."""
        now = awake_time()
        if self._troubled is None:
            self._troubled = now
            await self._say(Stale(why))
        if now - self._troubled > self._settings.patience:
            raise Refusal.of(service_unavailable(f"the API server cannot be watched: {why}"))
        self._is_suspicious = True
        lasted = now - self._opened if self._opened else 0.0
        await asyncio.sleep(self._backoff.failed(lasted))

    async def _check(self) -> None:
        """Of a source that went back, a watch from our version would be silent for long."""
        if not self._is_suspicious:
            return
        try:
            newest = await self._source.version()
        except Refusal as error:
            if error.code in (403, 405) and not self._exchange.is_started:
                return  # who may only watch; the watch itself will say
            raise
        if newest < self._version:
            raise went_back(f"version {newest} after {self._version}")
        self._is_suspicious = False

    # -- the list ---------------------------------------------------------------------------------

    async def _list(self) -> None:
        """Only what the asker does not have. Raises Refusal, KubeError."""
        limit = PAGE
        while True:
            try:
                await self._list_pages(limit)
                return
            except Refusal as error:
                if error.code != 410 or not limit:
                    raise
                limit = 0  # the pages' snapshot is gone: all at once, as client-go does

    async def _list_pages(self, limit: int) -> None:
        missing = dict(self._have or {})
        after = ""
        while True:
            page = await self._source.page(self._shape, limit, after)
            self._owner.verdicts.worked(self._source.name, awake_time())
            if not after:
                self._owner.lists += 1
                await self._say(Began())
            lacks = (pair for pair in page.objects if missing.pop(pair[0], -1) != pair[1].version)
            await self._tell(0, [Change(key, *item) for key, item in lacks])
            after = page.continue_
            if not after:
                break
        self._version = page.version
        self._have = None  # not kept as long as the stream
        await self._say(Listed(page.version, sorted(missing)))

    # -- the watch --------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Returns at its clean end. Raises Refusal, KubeError, Garbled."""
        seconds = random.randint(*self._settings.watch_seconds)
        lines = Lines()
        try:
            async with (
                asyncio.timeout(seconds + self._settings.overtime),
                self._source.watch(self._version, seconds) as answer,
                aclosing(answer.chunks()) as chunks,
                _Reader(chunks) as reader,
            ):
                self._owner.watches += 1
                self._opened = awake_time()
                await self._read(reader, lines)
        except TimeoutError:
            raise KubeError("the watch did not end when it should have") from None
        if lines.is_cut:
            raise KubeError("the watch ended in the middle of an event")
        if awake_time() - self._opened < seconds - 1:
            await self._wait("the API server ended the watch before its time")

    async def _read(self, reader: _Reader, lines: Lines) -> None:
        """It may yet be refused in its first event; only then it is live."""
        is_live = False
        chunk = await reader.next(self._settings.settle)
        while chunk != b"":
            if chunk is not None:
                await self._take(lines.feed(chunk))
            elif is_live:
                await self._ask_whether_alive()
            if not is_live:
                await self._live()
                is_live = True
            chunk = await reader.next(self._settings.quiet)

    async def _ask_whether_alive(self) -> None:
        """The kernel at the other end may live while the server hangs."""
        try:
            async with asyncio.timeout(self._settings.answer):
                await self._source.version()
        except TimeoutError:
            raise KubeError("the API server is silent and answers nothing") from None
        except Refusal:
            return  # it lives

    async def _live(self) -> None:
        self._owner.verdicts.worked(self._source.name, awake_time())
        self._troubled = None
        await self._say(Live())

    async def _take(self, lines: Sequence[bytes]) -> None:
        changes: list[Change] = []
        version = self._version
        refused: Refused | None = None
        for line in lines:
            event = self._shape.event(line)
            if isinstance(event, Refused):
                refused = event
                break
            if isinstance(event, Change):
                changes.append(event)
            version = max(version, event.version)
        if changes or version > self._version:
            self._version = version
            await self._tell(version, changes)
        if refused is not None:
            raise _refusal_of(refused)

    async def _tell(self, version: int, changes: Sequence[Change]) -> None:
        """In frames of bounded size, each with the version that holds after it."""
        ops: list[Op] = []
        size = 0
        for change in changes:
            op = encode_op(change, self._sent.base(change.key))
            self._sent.note(change)
            ops.append(op)
            size += size_of(op)
            if size >= self._settings.frame_bytes:
                await self._say(Changed(min(version, change.version), ops))
                ops, size = [], 0
        if ops or version:
            await self._say(Changed(version, ops))


class _Reader:
    """Chunks, as far as they come in time. `async with` it: a read may be under way."""

    def __init__(self, chunks: AsyncGenerator[bytes]) -> None:
        self._chunks = chunks
        self._reading: asyncio.Task[bytes] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait({self._reading})

    async def next(self, seconds: float) -> bytes | None:
        """None: nothing came within `seconds`; b"" at the end."""
        if self._reading is None:
            self._reading = asyncio.create_task(self._read(), name="watch")
        done, _ = await asyncio.wait({self._reading}, timeout=seconds)
        if not done:
            return None
        reading, self._reading = self._reading, None
        return reading.result()

    async def _read(self) -> bytes:
        return await anext(self._chunks, b"")


def _refusal_of(error: Refused) -> Refusal:
    """An ERROR event's."""
    status = ApiError(error.code or 500, error.reason, error.message)
    return Refusal(status.code, status.body())


def _as_kube(error: KubeError | Garbled) -> KubeError:
    return error if isinstance(error, KubeError) else KubeError(str(error))
