"""Client and server of streams, over the bus in memory and over nats-server."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from bus.api import Bus
from bus.connection import Connection
from bus.errors import BusDown, BusError, NoResponders, RequestTimeout, StreamBroken
from bus.memory import MemoryBroker, MemoryBus
from bus.stream import Exchange, Request, StreamClient, StreamServer, StreamSettings, frames
from bus.subjects import INBOX, api
from tests.actors.until import until
from tests.bus.heard import SOON
from tests.bus.rig import POOL, USERS, Rig

QUICK = StreamSettings(
    window=4096, chunk=1024, accept=0.5, head=2.0, silence=0.05, patience=0.1, check=0.1
)
GET = Request("GET", "/x")


async def echo(exchange: Exchange) -> None:
    """Says who asked, then what."""
    body = await exchange.body()
    await exchange.start(200, (("Who", f"{exchange.pool}/{exchange.node}"),))
    await exchange.write(body)


class Endless:
    """Writes until it is cancelled or broken."""

    def __init__(self, size: int = 100, pause: float = 0.0) -> None:
        self.written = 0
        self.ended = asyncio.Event()
        self._chunk = b"x" * size
        self._pause = pause

    async def __call__(self, exchange: Exchange) -> None:
        await exchange.start(200, (), compress=False)
        try:
            while True:
                await exchange.write(self._chunk)
                self.written += len(self._chunk)
                await asyncio.sleep(self._pause)
        finally:
            self.ended.set()


async def silent(exchange: Exchange) -> None:
    await exchange.start(200, ())
    await asyncio.Event().wait()


class Pair:
    """Buses for one client and any number of servers."""

    def __init__(self, buses: list[Bus]) -> None:
        self.node, *self.gates = buses


@pytest.fixture(params=["memory", "nats"])
async def pair(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Pair]:
    who = ("cloud-1", "admin", "admin")
    if request.param == "memory":
        broker = MemoryBroker()
        buses: list[Bus] = [
            MemoryBus(broker, "cloud", permissions=USERS[w][1], inbox_prefix=USERS[w][0])
            for w in who
        ]
        yield Pair(buses)
        for bus in buses:
            await bus.close()
        return
    rig = Rig(tmp_path)
    await rig.server.start()
    made = [Connection(rig.settings(w)) for w in who]
    for each in made:
        await each.start()
        await each.wait_up(SOON)
    yield Pair(list(made))
    for each in made:
        await each.close()
    await rig.server.stop()


@asynccontextmanager
async def client(bus: Bus, settings: StreamSettings = QUICK) -> AsyncIterator[StreamClient]:
    made = StreamClient(bus, POOL, "n1", settings)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


@asynccontextmanager
async def server(
    bus: Bus, handler: object, settings: StreamSettings = QUICK, gate: str = "g"
) -> AsyncIterator[StreamServer]:
    made = StreamServer(bus, gate, handler, settings)  # type: ignore[arg-type]
    await made.start()
    await bus.flush(SOON)
    try:
        yield made
    finally:
        await made.stop()


async def fetch(asker: StreamClient, body: bytes = b"") -> bytes:
    async with asker.open(GET, body) as answer:
        return b"".join([chunk async for chunk in answer.chunks()])


@pytest.mark.parametrize("size", [0, 10, 1024, 1025, 50_000])
async def test_bodies_of_any_size_go_there_and_back(pair: Pair, size: int) -> None:
    body = random.Random(size).randbytes(size)
    async with server(pair.gates[0], echo), client(pair.node) as asker:
        async with asker.open(GET, body) as answer:
            got = b"".join([chunk async for chunk in answer.chunks()])
        assert (answer.status, answer.headers) == (200, (("Who", f"{POOL}/n1"),))
        assert got == body
        assert asker.open_streams == 0


async def test_many_at_once(pair: Pair) -> None:
    bodies = [bytes([n]) * 9000 for n in range(40)]
    async with (
        server(pair.gates[0], echo),
        server(pair.gates[1], echo, gate="h"),
        client(pair.node) as asker,
    ):
        assert await asyncio.gather(*(fetch(asker, body) for body in bodies)) == bodies


async def test_a_slow_reader_holds_the_writer(pair: Pair) -> None:
    endless = Endless()
    async with server(pair.gates[0], endless), client(pair.node) as asker, asker.open(GET) as a:
        await until(lambda: endless.written >= QUICK.window - 100, "the window is full")
        await pair.node.flush(SOON)
        assert endless.written <= QUICK.window
        chunks = a.chunks()
        got = 0
        while got < 3 * QUICK.window:
            got += len(await anext(chunks))
        await chunks.aclose()


async def test_who_leaves_cancels(pair: Pair) -> None:
    endless = Endless(pause=0.01)
    async with server(pair.gates[0], endless) as gate, client(pair.node) as asker:
        async with asker.open(GET):
            pass
        await asyncio.wait_for(endless.ended.wait(), SOON)
        await until(lambda: gate.open_streams == 0, "forgotten")


async def test_a_cancelled_asker_cancels(pair: Pair) -> None:
    endless = Endless(pause=0.01)
    async with server(pair.gates[0], endless), client(pair.node) as asker:
        task = asyncio.create_task(fetch(asker), name="asker")
        await until(lambda: endless.written > 0, "it writes")
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await asyncio.wait_for(endless.ended.wait(), SOON)


async def test_a_handler_that_fails_breaks_its_stream(pair: Pair) -> None:
    async def bad(exchange: Exchange) -> None:
        await exchange.start(200, ())
        raise OSError("no disk")

    async with server(pair.gates[0], bad), client(pair.node) as asker:
        with pytest.raises(StreamBroken, match="no disk"):
            await fetch(asker)


async def test_a_silent_stream_lives_while_its_server_does(pair: Pair) -> None:
    async with server(pair.gates[0], silent), client(pair.node) as asker, asker.open(GET) as a:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(6 * (QUICK.silence + QUICK.patience)):
                await anext(a.chunks())
        assert asker.open_streams == 1


async def test_a_dead_server_is_noticed(pair: Pair) -> None:
    async with server(pair.gates[0], silent), client(pair.node) as asker, asker.open(GET) as a:
        await pair.gates[0].close()  # without a word
        with pytest.raises(StreamBroken, match="does not answer"):
            await asyncio.wait_for(anext(a.chunks()), SOON)


async def test_a_server_that_stops_says_so(pair: Pair) -> None:
    slow = replace(QUICK, silence=60.0, check=60.0)
    async with (
        client(pair.node, slow) as asker,
        server(pair.gates[0], silent) as gate,
        asker.open(GET) as answer,
    ):
        await gate.stop()
        with pytest.raises(StreamBroken, match="stops"):
            await asyncio.wait_for(anext(answer.chunks()), SOON)


async def test_a_client_that_is_gone_is_noticed(pair: Pair) -> None:
    endless = Endless(1, pause=0.02)
    short = replace(QUICK, abandoned=0.4)
    async with server(pair.gates[0], endless, short), client(pair.node, short) as asker:
        with suppress(BusError):
            async with asker.open(GET) as answer:
                await anext(answer.chunks())
                await pair.node.close()
                await anext(answer.chunks())
        await asyncio.wait_for(endless.ended.wait(), SOON)


async def test_nobody_there(pair: Pair) -> None:
    """nats-server says so at once; else the deadline does."""
    async with client(pair.node) as asker:
        with pytest.raises((NoResponders, RequestTimeout)):
            await fetch(asker)


async def test_a_link_that_goes_down_ends_streams_at_once() -> None:
    broker = MemoryBroker()
    node, gate = (
        MemoryBus(broker, "cloud", inbox_prefix=USERS[who][0]) for who in ("cloud-1", "admin")
    )
    slow = replace(QUICK, silence=60.0, check=60.0)
    async with server(gate, silent), client(node, slow) as asker:
        async with asker.open(GET) as answer:
            broker.cut(node)
            with pytest.raises(StreamBroken, match="link went down"):
                await anext(answer.chunks())
        with pytest.raises(BusDown):
            await fetch(asker)
        broker.heal(node)
    await node.close()
    await gate.close()


async def test_answers_go_only_to_who_asks(pair: Pair) -> None:
    """A node that names another's inbox is not answered there."""
    calls: list[Exchange] = []

    async def note(exchange: Exchange) -> None:
        calls.append(exchange)

    async with server(pair.gates[0], note) as gate:
        for reply in (f"{INBOX}.{POOL}.n2.x.1", f"{INBOX}.{POOL}.n1.x.no"):
            opening = frames.encode_open(GET, b"", True, 1)
            await pair.node.publish(api(POOL, "n1"), opening, reply=reply)
        await until(lambda: gate.refused == 2, "refused")
        assert calls == []


async def test_too_many_streams_are_refused(pair: Pair) -> None:
    one = replace(QUICK, max_streams=1)
    async with server(pair.gates[0], silent, one), client(pair.node) as asker, asker.open(GET):
        with pytest.raises(StreamBroken, match="too many"):
            await fetch(asker)


class Unsteady(MemoryBus):
    """Loses, doubles and swaps what is published."""

    chance = random.Random(0)
    held: tuple[str, bytes, str, Mapping[str, str] | None] | None = None

    async def publish(
        self,
        subject: str,
        data: bytes,
        *,
        reply: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        fate = self.chance.random()
        if fate < 0.03:
            return
        if fate < 0.06 and self.held is None:
            self.held = (subject, data, reply, headers)
            return
        await super().publish(subject, data, reply=reply, headers=headers)
        if fate > 0.94:
            await super().publish(subject, data, reply=reply, headers=headers)
        if self.held is not None:
            subject, data, reply, headers = self.held
            self.held = None
            await super().publish(subject, data, reply=reply, headers=headers)


async def test_right_bytes_or_an_error_on_an_unsteady_way() -> None:
    broker = MemoryBroker()
    node, gate = (
        Unsteady(broker, "cloud", inbox_prefix=USERS[who][0]) for who in ("cloud-1", "admin")
    )
    settings = replace(QUICK, accept=1.0, head=2.0, silence=0.3, patience=1.0, check=0.3)
    bodies = [random.Random(n).randbytes(n * 700) for n in range(40)]
    async with server(gate, echo, settings), client(node, settings) as asker:
        got = await asyncio.gather(*(fetch(asker, b) for b in bodies), return_exceptions=True)
    await node.close()
    await gate.close()
    right = [body == sent for body, sent in zip(got, bodies, strict=True)]
    wrong = [each for each, ok in zip(got, right, strict=True) if not ok]
    assert all(isinstance(each, BusError) for each in wrong), wrong
    assert 0 < sum(right) < len(bodies)
