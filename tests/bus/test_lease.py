"""Leases: one contract over memory and the real bus, then what only a real server can do."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from bus.connection import Connection
from bus.errors import BusDown, Conflict, LeaseLost, RequestTimeout
from bus.jetstream import EXPECT, api, kv_subject
from bus.lease import Elector, JetStreamLeases, LeaseStore, MemoryLeases
from bus.lease_plan import VALIDITY, Entry
from bus.server import EmbeddedServer, ServerSettings
from tests.bus.faults import Fault, FaultyBus
from tests.bus.rig import Connect, Rig

NAME = "chair"
TTL = 1.0  # the shortest that NATS keeps
RENEW = 0.25
DEADLINE = 10.0


@dataclass
class World:
    """Candidates' views of one store."""

    store: Callable[[], LeaseStore]
    ttl: float  # short where the store can
    running: dict[Elector, asyncio.Task[None]] = field(default_factory=dict)

    def elector(self, holder: str, store: LeaseStore | None = None) -> Elector:
        return Elector(
            store or self.store(), NAME, holder, ttl=self.ttl, renew=self.ttl * RENEW / TTL
        )

    def run(self, elector: Elector) -> Elector:
        self.running[elector] = asyncio.create_task(elector.run(), name=elector.holder_name)
        return elector

    async def stop(self, elector: Elector) -> None:
        task = self.running.pop(elector)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    async def crash(self, elector: Elector) -> None:
        """Ends without a word to the store."""
        elector._store = _Dead(elector._store)  # type: ignore[assignment]
        await self.stop(elector)

    async def close(self) -> None:
        for elector in list(self.running):
            await self.stop(elector)


class _Dead:
    def __init__(self, store: LeaseStore) -> None:
        self.lasts = store.lasts

    async def release(self, _name: str, _mine: Entry) -> None:
        raise BusDown("the process is dead")


async def leads(*electors: Elector) -> Elector:
    """The first of them that leads."""
    changed = asyncio.Event()
    for elector in electors:
        elector.on_change(lambda _: changed.set())
    async with asyncio.timeout(DEADLINE):
        while not any(elector.is_leader for elector in electors):
            changed.clear()
            await changed.wait()
    return next(elector for elector in electors if elector.is_leader)


async def until(condition: Callable[[], bool]) -> None:
    """For what nobody is told of: looked at often, with a deadline."""
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


NewWorld = Callable[[Callable[[], LeaseStore], float], World]


@pytest.fixture
async def new_world(connect: Connect) -> AsyncIterator[NewWorld]:
    """Worlds that end with the test, before their connections."""
    async with AsyncExitStack() as stack:

        def make(store: Callable[[], LeaseStore], ttl: float) -> World:
            made = World(store, ttl)
            stack.push_async_callback(made.close)
            return made

        yield make


@pytest.fixture(params=["memory", "real"])
async def world(
    request: pytest.FixtureRequest, connect: Connect, new_world: NewWorld
) -> AsyncIterator[World]:
    if request.param == "memory":
        shared = MemoryLeases()
        yield new_world(lambda: shared, 0.2)
        return
    bucket = f"leases-{secrets.token_hex(4)}"
    buses = [await connect("pool-1"), await connect("pool-2")]
    made = new_world(lambda: JetStreamLeases(buses[secrets.randbelow(2)], bucket), TTL)
    yield made
    await made.close()
    await api(buses[0], f"STREAM.DELETE.KV_{bucket}", None, 2.0)


# -- the store -------------------------------------------------------------------------------------


async def taken(store: LeaseStore, world: World, who: str) -> Entry:
    return await store.try_acquire(NAME, who, f"{who}-1", world.ttl, await store.read(NAME))


async def test_taken_once(world: World) -> None:
    store, other = world.store(), world.store()
    free = await other.read(NAME)
    assert free.holder is None
    mine = await taken(store, world, "me")
    with pytest.raises(Conflict):
        await other.try_acquire(NAME, "you", "you-1", world.ttl, free)
    with pytest.raises(Conflict):  # a revision of another life of the store
        await other.try_acquire(
            NAME, "you", "you-1", world.ttl, mine._replace(epoch=mine.epoch - 1)
        )
    assert await other.read(NAME) == mine
    assert (mine.holder, mine.instance) == ("me", "me-1")
    assert mine.token > 0


async def test_renewals_move_the_revision_not_the_token(world: World) -> None:
    store = world.store()
    first = await taken(store, world, "me")
    second = await store.renew(NAME, first, world.ttl)
    assert second.revision > first.revision
    assert second.token == first.token
    assert await world.store().read(NAME) == second
    with pytest.raises(Conflict):
        await store.renew(NAME, first, world.ttl)


async def test_released_is_free_and_the_next_token_is_higher(world: World) -> None:
    store, other = world.store(), world.store()
    mine = await taken(store, world, "me")
    await other.release(NAME, mine._replace(instance="somebody else", revision=1 << 20))
    assert (await store.read(NAME)).holder == "me"
    await store.release(NAME, mine)
    assert (await other.read(NAME)).holder is None
    assert (await taken(other, world, "you")).token > mine.token
    await store.release(NAME, mine)  # late: it is not ours any more
    assert (await store.read(NAME)).holder == "you"


async def test_expires_unless_renewed(world: World) -> None:
    store, other = world.store(), world.store()
    told: asyncio.Queue[Entry] = asyncio.Queue()
    mine = await taken(store, world, "me")
    watching = await other.watch(NAME, told.put_nowait)
    try:
        await asyncio.sleep(world.ttl * 0.6)
        mine = await store.renew(NAME, mine, world.ttl)
        await asyncio.sleep(world.ttl * 0.6)
        assert (await other.read(NAME)).holder == "me"
        async with asyncio.timeout(DEADLINE):
            while (await other.read(NAME)).holder is not None:
                pass  # memory tells of an expiry when it is asked
            while (entry := await told.get()).holder is not None:
                assert entry.holder == "me"
    finally:
        await watching.unsubscribe()
    with pytest.raises(Conflict):
        await store.renew(NAME, mine, world.ttl)


async def test_a_watch_tells_what_is_and_what_comes(world: World) -> None:
    store = world.store()
    told: asyncio.Queue[Entry] = asyncio.Queue()
    first = await taken(store, world, "me")
    watching = await world.store().watch(NAME, told.put_nowait)
    try:
        async with asyncio.timeout(DEADLINE):
            assert await told.get() == first
            second = await store.renew(NAME, first, world.ttl)
            assert await told.get() == second
            await store.release(NAME, second)
            assert (await told.get()).holder is None
    finally:
        await watching.unsubscribe()


# -- the elector -----------------------------------------------------------------------------------


async def test_one_leads_and_all_know_who(world: World) -> None:
    electors = [world.run(world.elector(f"n{n}")) for n in range(3)]
    leader = await leads(*electors)
    await until(lambda: all(elector.holder() == leader.holder_name for elector in electors))
    assert sum(elector.is_leader for elector in electors) == 1
    assert leader.status()["holder"] == leader.holder_name
    assert leader.status()["token"] == leader.token
    for elector in electors:
        if elector is not leader:
            with pytest.raises(LeaseLost):
                _ = elector.token
            assert elector.transitions == 1


async def test_a_crashed_leader_is_replaced_after_its_ttl(world: World) -> None:
    first = await leads(world.run(world.elector("first")))
    token = first.token
    second = world.run(world.elector("second"))
    await asyncio.sleep(world.ttl * 0.6)  # renewals went on
    assert first.is_leader
    began = time.monotonic()
    await world.crash(first)
    await leads(second)
    took = time.monotonic() - began
    assert world.ttl * 0.7 < took < world.ttl + 0.5
    assert second.token > token


async def test_a_released_lease_goes_to_the_other(world: World) -> None:
    first = await leads(world.run(world.elector("first")))
    second = world.run(world.elector("second"))
    await until(lambda: second.holder() == "first")
    began = time.monotonic()
    await first.release()
    assert not first.is_leader
    assert await leads(first, second) is second
    assert time.monotonic() - began < 0.4  # 0.1 s at most when the machine is idle


async def test_the_only_candidate_leads_again_after_a_release(world: World) -> None:
    only = await leads(world.run(world.elector("only")))
    token = only.token
    await only.release()
    assert not only.is_leader
    await leads(only)
    assert only.token > token


async def test_a_paused_candidate_hands_over_and_stands_back(world: World) -> None:
    first = await leads(world.run(world.elector("first")))
    heard: list[bool] = []
    first.on_change(heard.append)
    first.pause()
    assert heard == [False]
    with pytest.raises(LeaseLost):
        _ = first.token
    second = await leads(world.run(world.elector("second")))
    await second.release()
    await leads(second)  # nobody else wants it
    first.resume()
    await world.stop(second)
    await leads(first)
    assert heard == [False, True]


async def test_ending_gives_the_lease_back(world: World) -> None:
    first = await leads(world.run(world.elector("first")))
    heard: list[bool] = []
    first.on_change(heard.append)
    await world.stop(first)
    assert heard == [False]
    assert (await world.store().read(NAME)).holder is None


async def test_candidates_of_one_name_are_two(world: World) -> None:
    first = await leads(world.run(world.elector("twin")))
    second = world.run(world.elector("twin"))
    await until(lambda: second.holder() == "twin")
    await asyncio.sleep(world.ttl * 0.5)
    assert first.is_leader
    assert not second.is_leader


async def test_a_listener_that_fails_harms_nobody(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    elector = world.elector("me")

    def fail(_: bool) -> None:
        raise RuntimeError("on purpose")

    elector.on_change(fail)
    await leads(world.run(elector))
    assert "a listener of lease chair failed" in caplog.text


async def test_renewing_too_seldom_is_refused() -> None:
    with pytest.raises(ValueError, match="too seldom"):
        Elector(MemoryLeases(), NAME, "me", ttl=1.0, renew=0.5)


# -- in memory: clocks and crowds ------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.skipped = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.skipped


async def test_after_a_pause_beyond_its_validity_the_token_is_lost(new_world: NewWorld) -> None:
    clock = Clock()
    world = new_world(lambda: MemoryLeases(), 1.0)
    elector = Elector(MemoryLeases(), NAME, "me", ttl=1.0, renew=0.25, clock=clock)
    await leads(world.run(elector))
    clock.skipped = 1.0 * VALIDITY  # nothing ran meanwhile
    with pytest.raises(LeaseLost):
        _ = elector.token
    assert not elector.is_leader


async def test_out_of_reach_the_leader_resigns_by_its_own_clock_and_comes_back(
    new_world: NewWorld,
) -> None:
    shared = MemoryLeases()
    world = new_world(lambda: shared, 0.2)
    elector = await leads(world.run(world.elector("me")))
    lost = asyncio.Event()
    elector.on_change(lambda up: None if up else lost.set())
    shared.cut()
    began = time.monotonic()
    async with asyncio.timeout(DEADLINE):
        await lost.wait()
    assert time.monotonic() - began < 0.2
    shared.heal()
    await leads(elector)


async def test_a_crowd_does_not_storm_the_store(new_world: NewWorld) -> None:
    shared = MemoryLeases()
    tries = 0
    acquire = shared.try_acquire

    async def counted(name: str, holder: str, instance: str, ttl: float, seen: Entry) -> Entry:
        nonlocal tries
        tries += 1
        await asyncio.sleep(0.001)  # about a round trip
        return await acquire(name, holder, instance, ttl, seen)

    shared.try_acquire = counted  # type: ignore[method-assign]
    world = new_world(lambda: shared, 5.0)
    first = await leads(world.run(world.elector("first")))
    crowd = [world.run(world.elector(f"n{n}")) for n in range(100)]
    await asyncio.sleep(0)
    tries = 0
    await first.release()
    await leads(*crowd)
    await asyncio.sleep(0.3)
    assert tries <= 100  # nobody twice; how few it is among real processes: test_lease_plan
    assert sum(elector.is_leader for elector in crowd) == 1


async def test_a_wiped_store_in_memory(new_world: NewWorld) -> None:
    shared = MemoryLeases()
    world = new_world(lambda: shared, 0.2)
    elector = await leads(world.run(world.elector("me")))
    token = elector.token
    shared.wipe()
    await until(lambda: elector.is_leader and elector.token != token)
    assert elector.token > token


# -- a real bus ------------------------------------------------------------------------------------


async def test_ttls_are_rounded_up_to_seconds(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    store = JetStreamLeases(await connect("pool-1"))
    assert [store.lasts(ttl) for ttl in (0.2, 1.0, 1.2, 3.0)] == [1.0, 1.0, 2.0, 3.0]
    Elector(store, NAME, "me", ttl=1.5, renew=0.5)
    assert "keeps a ttl of 1.5 s as 2.0 s" in caplog.text


async def test_tokens_of_a_bucket_made_anew_are_higher_than_all_before(connect: Connect) -> None:
    bus, bucket = await connect("pool-1"), f"l-{secrets.token_hex(4)}"
    before = Entry()
    for _ in range(2):
        leases = JetStreamLeases(bus, bucket)  # of a process that just started
        seen = await leases.read(NAME)
        mine = await leases.try_acquire(NAME, "me", "me-1", TTL, seen)
        assert mine.token > before.token
        for _ in range(5000):  # revisions
            await bus.publish(kv_subject(bucket, "other"), b"")
        await bus.flush(5)
        await leases.release(NAME, mine)
        seen = await leases.read(NAME)
        before = await leases.try_acquire(NAME, "me", "me-2", TTL, seen)
        assert before.token > mine.token
        await api(bus, f"STREAM.DELETE.KV_{bucket}", None, 2.0)


async def test_tokens_grow_even_if_the_servers_clock_went_back(connect: Connect) -> None:
    bus, bucket = await connect("pool-1"), f"l-{secrets.token_hex(4)}"
    leases = JetStreamLeases(bus, bucket)
    leases._highest[NAME] = 1 << 62  # heard in the bucket's last life
    mine = await leases.try_acquire(NAME, "me", "me-1", TTL, await leases.read(NAME))
    assert mine.token == (1 << 62) + 1
    other = JetStreamLeases(bus, bucket)  # of a process that just started
    assert (await other.read(NAME)).token == mine.token
    await leases.renew(NAME, mine, TTL)
    assert (await other.read(NAME)).token == mine.token


async def test_a_renewal_whose_answer_was_lost_costs_nothing(
    connect: Connect, new_world: NewWorld
) -> None:
    bus = FaultyBus(await connect("pool-1"))
    world = new_world(lambda: JetStreamLeases(bus, f"l-{secrets.token_hex(4)}"), TTL)
    elector = await leads(world.run(world.elector("me")))
    token = elector.token
    heard: list[bool] = []
    elector.on_change(heard.append)
    lost = Fault(lambda _, headers: headers.get(EXPECT, "0") != "0", RequestTimeout("lost"), True)
    bus.faults.append(lost)
    await asyncio.sleep(TTL * 1.5)
    assert lost.struck == 1
    assert elector.token == token
    assert heard == []


async def test_an_acquisition_whose_answer_was_lost_is_made_good(
    connect: Connect, new_world: NewWorld
) -> None:
    bus = FaultyBus(await connect("pool-1"))
    world = new_world(lambda: JetStreamLeases(bus, f"l-{secrets.token_hex(4)}"), TTL)
    bus.faults.append(Fault(lambda _, headers: EXPECT in headers, RequestTimeout("lost"), True))
    began = time.monotonic()
    await leads(world.run(world.elector("me")))
    assert not bus.faults
    assert time.monotonic() - began < TTL  # not waiting for its own lease to expire


@asynccontextmanager
async def own_server(rig: Rig, store: Path) -> AsyncIterator[EmbeddedServer]:
    users = (rig.user("pool-1"), rig.user("pool-2"))
    server = EmbeddedServer(ServerSettings("own", "pool-a", store, users))
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def connected(rig: Rig, server: EmbeddedServer, who: str) -> Connection:
    connection = Connection(rig.settings(who, server.url))
    await connection.start()
    await connection.wait_up(5)
    return connection


async def test_a_lease_outlives_a_crash_of_the_server(rig: Rig, store: Path) -> None:
    async with own_server(rig, store) as server, AsyncExitStack() as stack:
        buses = [await connected(rig, server, who) for who in ("pool-1", "pool-2")]
        for bus in buses:
            stack.push_async_callback(bus.close)
        world = World(lambda: JetStreamLeases(buses[0]), 2.0)
        stack.push_async_callback(world.close)
        leader = await leads(world.run(world.elector("first")))
        second = world.run(world.elector("second", JetStreamLeases(buses[1])))
        token = leader.token
        heard: list[bool] = []
        leader.on_change(heard.append)
        assert server.pid is not None
        psutil.Process(server.pid).kill()
        await asyncio.sleep(2.5)  # more than the ttl: it must have been renewed since
        assert server.restarts == 1
        assert (heard, leader.token) == ([], token)
        assert not second.is_leader
        await world.stop(leader)
        await leads(second)  # its watch works after the restart


async def test_a_wiped_server_gets_a_new_bucket_and_higher_tokens(rig: Rig, store: Path) -> None:
    async with own_server(rig, store) as server, AsyncExitStack() as stack:
        bus = await connected(rig, server, "pool-1")
        stack.push_async_callback(bus.close)
        world = World(lambda: JetStreamLeases(bus), TTL)
        stack.push_async_callback(world.close)
        elector = await leads(world.run(world.elector("me")))
        token = elector.token
        await server.stop()
        shutil.rmtree(store / "jetstream")
        await server.start()
        await until(lambda: elector.is_leader and elector.token != token)
        assert elector.token > token


PROCESS = """
import asyncio, sys
from pathlib import Path
from bus.connection import BusSettings, Connection
from bus.errors import LeaseLost
from bus.lease import Elector, JetStreamLeases

async def main(url, seed, inbox, bucket):
    bus = Connection(BusSettings("pool", (url,), Path(seed), "paused", inbox))
    await bus.start()
    await bus.wait_up(5)
    elector = Elector(JetStreamLeases(bus, bucket), "chair", "paused", ttl=1.0, renew=0.25)
    running = asyncio.create_task(elector.run())
    said = ""
    while True:
        try:
            word = f"token {elector.token}"
        except LeaseLost:
            word = "lost"
        if word != said:
            print(word, flush=True)
            said = word
        await asyncio.sleep(0.01)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_stopped_process_finds_its_token_lost_when_it_goes_on(
    rig: Rig, connect: Connect, new_world: NewWorld
) -> None:
    settings, bucket = rig.settings("pool-2"), f"l-{secrets.token_hex(4)}"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROCESS, settings.urls[0]),
        *(str(settings.seed_file), settings.inbox_prefix, bucket),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(DEADLINE):
            assert await process.stdout.readline() == b"lost\n"
            said = await process.stdout.readline()
            assert said.startswith(b"token ")
            process.send_signal(signal.SIGSTOP)
            bus = await connect("pool-1")
            world = new_world(lambda: JetStreamLeases(bus, bucket), TTL)
            other = await leads(world.run(world.elector("other")))
            process.send_signal(signal.SIGCONT)
            assert await process.stdout.readline() == b"lost\n"
            assert other.token > int(said.split()[1])
    finally:
        process.kill()
        await process.wait()
