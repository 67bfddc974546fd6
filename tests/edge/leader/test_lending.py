"""A lender between borrower and gate: carries what is sealed, and can do nothing else with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from loguru import logger

from bus import permissions
from bus.api import Bus, Message
from bus.borrow import ASK, HELLO
from bus.connection import BusSettings, Connection
from bus.errors import BusDown, BusError, LeaseLost, StreamBroken
from bus.keys import NodeKey
from bus.memory import MemoryBroker, MemoryBus
from bus.server import EmbeddedServer, ServerSettings, ServerUser
from bus.stream import Conversation, Exchange, Request, StreamServer, StreamSettings
from cloud.apigate.borrowers import Borrowers
from cloud.apigate.proof import Sessions
from edge.hub.borrowed import Borrowed, Borrower
from edge.hub.sitekey import SiteKey
from edge.leader.lending import MAX_OF_NODE, Lending
from tests.actors.until import until
from tests.edge.worlds import owned_tasks

POOL = "pool-a"
SETTINGS = StreamSettings(
    window=16384, chunk=4096, accept=1.0, head=5.0, silence=0.2, patience=0.5, check=0.2
)
POST = Request("POST", "/x", (("Authorization", "Bearer secret"),), "system:kube-proxy")


class Faked(Exchange):
    """As if another sent it."""


class World:
    """Borrower n1, lender n2; the gate echoes. `tamper` changes what comes to the gate."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.keys = {
            name: NodeKey.load_or_create(path / f"{name}.seed")
            for name in ("admin", "n1", "n2", "n3")
        }
        self.seen: list[tuple[str, str, Request, bytes]] = []
        self.carried: list[bytes] = []  # bodies that came to the gate, as they came
        self.leads = True
        self.written = 0
        self.stopped = asyncio.Event()

    def token(self) -> int:
        if not self.leads:
            raise LeaseLost("led once")
        return 1

    async def gate(self, talk: Conversation) -> None:
        body = await talk.body()
        self.seen.append((talk.pool, talk.node, talk.request, body))
        if talk.request.path == "/endless":
            await self.endless(talk)
        await talk.start(200, (("Content-Type", "text/plain"),))
        await talk.write(body)

    async def endless(self, talk: Conversation) -> None:
        await talk.start(200, (("Content-Encoding", "none"),))
        try:
            while True:
                await talk.write(b"x" * 1000)
                self.written += 1000
        finally:
            self.stopped.set()

    async def build(self, stack: AsyncExitStack, buses: Callable[..., Bus]) -> None:
        site = self.keys["admin"]
        self.sessions = Sessions(
            site, "gate", lambda pool, node: self.keys[node].public if pool == POOL else None
        )
        borrowers = self.borrowers = Borrowers(self.gate, self.sessions, site.public, tick=0.1)

        async def handler(exchange: Exchange) -> None:
            if exchange.request.method == ASK:
                body = await exchange.body()
                self.carried.append(body)
                exchange._body, exchange._has_body = body, True
            await borrowers(exchange)

        self.server = StreamServer(buses("cloud", "admin"), "gate", handler, SETTINGS)
        await self.server.start()
        stack.push_async_callback(self.server.stop)
        self.lender_cloud = buses("cloud", "n2")
        self.lending = Lending(
            self.lender_cloud, buses("pool", "n2"), POOL, "n2", self.token, SETTINGS
        )
        await self.lending.start()
        stack.push_async_callback(self.lending.stop)
        self.key = SiteKey(self.path / "cloud.pub", logger)
        self.borrowed = self.borrower("n1", buses)
        tasks = await stack.enter_async_context(owned_tasks())
        await self.borrowed.start()
        stack.push_async_callback(self.borrowed.stop)
        for bus in (self.server.bus, self.lender_cloud, self.lending.pool):
            await bus.flush(5.0)
        tasks.spawn("borrowed", self.borrowed.run())

    def borrower(self, name: str, buses: Callable[..., Bus]) -> Borrowed:
        who = Borrower(POOL, name, self.keys[name], self.key)
        return Borrowed(buses("pool", name), who, logger, SETTINGS)

    async def up(self) -> None:
        self.borrowed.want(True)
        await until(lambda: self.borrowed.is_up, "it borrows")

    async def ask(self, request: Request = POST, body: bytes = b"") -> bytes:
        async with self.borrowed.open(request, body) as answer:
            assert answer.status == 200
            return b"".join([chunk async for chunk in answer.chunks()])


def allowed(bus: str, who: str) -> tuple[str, permissions.Permissions]:
    if who == "admin":
        return permissions.ADMIN_INBOX, permissions.cloud_admin()
    make = permissions.cloud_node if bus == "cloud" else permissions.pool_node
    return permissions.inbox_prefix(POOL, who), make(POOL, who)


@pytest.fixture(params=["memory", "nats"])
async def w(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        made = World(tmp_path)
        buses = memory() if request.param == "memory" else await real(stack, made)
        await made.build(stack, buses)
        yield made


def memory() -> Callable[[str, str], Bus]:
    brokers = {name: MemoryBroker() for name in ("cloud", "pool")}

    def make(bus: str, who: str) -> Bus:
        inbox, may = allowed(bus, who)
        return MemoryBus(brokers[bus], bus, permissions=may, inbox_prefix=inbox)

    return make


async def real(stack: AsyncExitStack, world: World) -> Callable[[str, str], Bus]:
    made: dict[tuple[str, str], Connection] = {}
    for bus, people in (("cloud", ("admin", "n2")), ("pool", ("n1", "n2"))):
        users = tuple(ServerUser(world.keys[w].public, *allowed(bus, w)[1]) for w in people)
        server = EmbeddedServer(ServerSettings(bus, bus, world.path / bus, users))
        await server.start()
        stack.push_async_callback(server.stop)
        for who in people:
            seed, inbox = world.keys[who].seed_file, allowed(bus, who)[0]
            connection = Connection(BusSettings(bus, (server.url,), seed, who, inbox))
            await connection.start()
            stack.push_async_callback(connection.close)
            await connection.wait_up(10.0)
            made[bus, who] = connection
    return lambda bus, who: made[bus, who]


@pytest.mark.parametrize("size", [0, 10, 200_000])
async def test_requests_come_as_their_borrowers(w: World, size: int) -> None:
    await w.up()
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    assert await w.ask(POST, body) == body
    assert w.seen == [(POOL, "n1", POST, body)]
    assert w.lending.counters.requests == 2  # hello among them


async def test_the_lender_sees_nothing(w: World) -> None:
    await w.up()
    assert await w.ask(POST, b"a secret") == b"a secret"
    assert not [raw for raw in w.carried if b"secret" in raw or b"kube-proxy" in raw]


async def test_a_slow_reader_holds_all(w: World) -> None:
    await w.up()
    async with w.borrowed.open(Request("GET", "/endless")) as answer:
        chunks = answer.chunks()
        await anext(chunks)
        bound = 3 * SETTINGS.window
        before = -1
        while w.written != before:  # until all windows are full
            before = w.written
            await asyncio.sleep(0.1)
        assert SETTINGS.window < w.written < bound
        got = 0
        while got < 4 * bound:
            got += len(await anext(chunks))
    await asyncio.wait_for(w.stopped.wait(), 5.0)  # whoever leaves is not written for
    await until(lambda: w.lending.open_streams == 1, "the session's alone")


async def test_a_lender_that_leads_no_more_lends_no_more(w: World) -> None:
    await w.up()
    w.leads = False
    with pytest.raises(StreamBroken, match="led once"):
        await w.ask()
    await w.lending.stop()
    await until(lambda: not w.borrowed.is_up, "it is told")
    with pytest.raises(BusDown, match="no borrowed link"):
        await w.ask()
    assert w.seen == []


async def test_whoever_wants_no_link_has_none(w: World) -> None:
    await w.up()
    async with w.borrowed.open(Request("GET", "/endless")) as answer:
        w.borrowed.want(False)
        with pytest.raises(StreamBroken):
            async for _ in answer.chunks():
                pass
        assert w.borrowed.is_up, "while one is under way"
    await until(lambda: not w.borrowed.is_up and len(w.sessions) == 0, "it let go")


async def test_the_lender_cannot_play_it_again(w: World) -> None:
    """With all it has: its own link, and what it carried."""
    await w.up()
    await w.ask(POST, b"once")
    for body in (w.carried[0], w.carried[0][:-1] + b"x"):
        async with w.lending._client.open(Request(ASK, "/"), body, "gate") as answer:
            assert answer.status == 421
            assert [chunk async for chunk in answer.chunks()] == []
    assert len(w.seen) == 1
    assert w.borrowers.refused == 2


async def test_the_lender_cannot_make_a_session_of_its_own(w: World) -> None:
    for hello in (b"", b"nonsense"):
        async with w.lending._client.open(Request(HELLO, "/"), hello) as answer:
            assert answer.status == 421
    assert len(w.sessions) == 0


async def test_a_lender_that_lies_breaks_streams_no_more(w: World) -> None:
    """It answers itself, changes an answer, cuts one short, says that nobody took it."""
    await w.up()
    lies = iter(("plain", "changed", "short", "refused"))

    async def lie(exchange: Exchange) -> None:
        kind = next(lies)
        body = await exchange.body()
        if kind == "refused":
            await w.lending.pool.publish(exchange.reply, b"", headers={"Status": "503"})
            await asyncio.sleep(0.2)
            return
        async with w.lending._client.open(Request(ASK, "/"), body, "gate") as answer:
            raw = b"".join([chunk async for chunk in answer.chunks()])
        if kind == "plain":
            raw = b"all is well"
        elif kind == "changed":
            raw = raw[:-1] + bytes([raw[-1] ^ 1])
        elif kind == "short":
            raw = raw[:-21]
        await exchange.start(200, (), compress=False)
        await exchange.write(raw)

    w.lending._server._handler = lie
    for _ in range(4):
        with pytest.raises(StreamBroken):  # never "certainly not done"
            await w.ask(POST, b"body")
    assert len(w.seen) == 3


async def test_another_cloud_is_not_believed(w: World) -> None:
    w.key.told_by_cloud(w.keys["n3"].public)
    w.borrowed.want(True)
    await until(lambda: "the cloud site has" in w.borrowed.why, "it refuses")
    assert not w.borrowed.is_up
    w.key.told_by_cloud(w.keys["admin"].public)
    await until(lambda: w.borrowed.is_up, "it borrows")


async def test_a_gate_that_is_silent_is_given_up(w: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lender that keeps the session's stream open does not hide that."""
    monkeypatch.setattr("edge.hub.borrowed.SILENCE", 0.5)
    await w.up()
    assert w.borrowed.sessions == 1
    w.borrowers._tick = 60.0
    await until(lambda: w.borrowed.sessions > 1, "another session")


async def test_one_borrower_leaves_room(w: World) -> None:
    await w.up()
    w.lending._open["n1"] = MAX_OF_NODE
    with pytest.raises(StreamBroken, match="borrowed streams"):
        await w.ask()


async def test_only_what_is_sealed_is_carried(w: World) -> None:
    for method in ("GET", "POST", "atoll-ask", "ATOLL-KEY"):
        with pytest.raises(BusError, match="only sealed requests"):
            async with w.borrowed._client.open(replace(POST, method=method), b"", "n2"):
                pass
    assert w.seen == []
    assert w.lending.counters.refused == 4


async def test_nobody_speaks_for_another_borrower(w: World) -> None:
    """Said on the pool's bus under n3's name by n1: its server refuses that."""
    heard: list[Message] = []
    listening = await w.lending.pool.subscribe("pool.api.pool-a.n3", heard.append)
    await w.lending.pool.flush(5.0)
    with suppress(BusError):
        await w.borrowed.bus.publish("pool.api.pool-a.n3", b"x")
    await w.borrowed.bus.flush(5.0)
    await w.lending.pool.flush(5.0)
    assert heard == []
    await listening.unsubscribe()
