"""Tables: one contract over memory and the real bus; then crashes, full disks and lost answers."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from bus.api import Bus, Message
from bus.connection import Connection
from bus.errors import BusDown, Conflict, RequestTimeout, StorageFull
from bus.feed.types import Change, Item, Position
from bus.jetstream import NoStream, api, kv_subject, store
from bus.server import EmbeddedServer, ServerSettings
from bus.table import (
    JetStreamTable,
    ObjectTable,
    TableSettings,
    TableState,
)
from bus.table_memory import MemoryStorage, MemoryTable
from tests.bus.faults import Fault, FaultyBus
from tests.bus.rig import Connect, Rig

Writer = Callable[[], ObjectTable]
FEED = "pods"
LIMIT = 2 << 20  # bytes
SETTINGS = TableSettings(max_bytes=LIMIT, patience=2.0)


@pytest.fixture
async def bus(connect: Connect) -> Bus:
    return await connect("pool-1")


@pytest.fixture
async def bucket(bus: Bus) -> AsyncIterator[str]:
    name = f"objects-{secrets.token_hex(4)}"
    yield name
    with suppress(NoStream):
        await api(bus, f"STREAM.DELETE.KV_{name}", None, 2.0)


@pytest.fixture
def real(bus: Bus, bucket: str) -> Writer:
    return lambda: JetStreamTable(bus, bucket, SETTINGS)


@pytest.fixture(params=["memory", "real"])
def writer(request: pytest.FixtureRequest) -> Writer:
    """Makes writers, as on different nodes, of the same tables."""
    if request.param == "memory":
        storage = MemoryStorage(LIMIT)
        return lambda: MemoryTable(storage)
    made: Writer = request.getfixturevalue("real")
    return made


def put(key: str, version: int, data: bytes = b"{}") -> Change:
    return Change(key, version, data)


def gone(key: str, version: int = 0) -> Change:
    return Change(key, version, None)


def items(*changes: Change) -> dict[str, Item]:
    return {change.key: Item(change.version, change.data or b"") for change in changes}


def many(count: int, version: int = 1, size: int = 50) -> list[Change]:
    return [put(f"ns/object-{n}", version, os.urandom(size)) for n in range(count)]


# -- the contract ----------------------------------------------------------------------------------


async def test_a_new_table_is_empty(writer: Writer) -> None:
    assert await writer().load(FEED) == TableState()


@pytest.mark.parametrize("count", [0, 1, 70, 999, 1000, 2500])
async def test_what_is_committed_is_what_is_loaded(writer: Writer, count: int) -> None:
    table, changes = writer(), many(count)
    await table.load(FEED)
    await table.commit(FEED, changes, Position(3, 77), b"place")
    for other in (writer(), table):
        state = await other.load(FEED)
        assert state == TableState(items(*changes), Position(3, 77), b"place")


async def test_changes_add_up(writer: Writer) -> None:
    table = writer()
    await table.load(FEED)
    a, b, c = put("a", 1, b"1"), put("b/with.dot", 2, b"2" * 3000), put("c *>=", 3)
    await table.commit(FEED, [a, b], Position(1, 2), b"")
    await table.commit(FEED, [gone("a"), c], Position(1, 4), b"")
    await table.commit(FEED, [put("a", 5), put("c *>=", 6), gone("c *>=")], Position(1, 6), b"")
    await table.commit(FEED, [gone("never there")], Position(1, 7), b"x")
    wanted = TableState(items(b, put("a", 5)), Position(1, 7), b"x")
    assert await writer().load(FEED) == wanted


async def test_small_commits_go_on_over_large_ones(writer: Writer) -> None:
    """Whatever way a change takes into the store, the last one counts."""
    table = writer()
    await table.load(FEED)
    held: dict[str, Item] = {}
    for version in range(1, 60):
        keys = [f"k{(version * 7 + n) % 150}" for n in range(100 if version % 9 == 0 else 3)]
        changes = [
            gone(key) if (version + n) % 4 == 0 else put(key, version, os.urandom(700))
            for n, key in enumerate(keys)
        ]
        await table.commit(FEED, changes, Position(1, version), b"")
        for change in changes:
            held.pop(change.key, None)
            if change.data is not None:
                held[change.key] = Item(change.version, change.data)
        if version % 20 == 0:
            table = writer()
            await table.load(FEED)
    assert (await writer().load(FEED)).items == held


async def test_feeds_are_apart(writer: Writer) -> None:
    table = writer()
    for feed in ("pods", "pods-2"):
        await table.load(feed)
    commits = (
        table.commit(feed, [*many(100), put("who", 1, feed.encode())], Position(1, 1), b"")
        for feed in ("pods", "pods-2")
    )
    await asyncio.gather(*commits)
    assert (await writer().load("pods-2")).items["who"].data == b"pods-2"
    await table.drop("pods")
    assert await writer().load("pods") == TableState()
    assert len((await writer().load("pods-2")).items) == 101


@pytest.mark.parametrize("count", [1, 100, 1500])
async def test_a_replaced_writer_changes_nothing(writer: Writer, count: int) -> None:
    old, new = writer(), writer()
    await old.load(FEED)
    await old.commit(FEED, many(5), Position(1, 1), b"old")
    state = await new.load(FEED)
    await new.commit(FEED, [put("new", 2)], Position(1, 2), b"new")
    for _ in range(2):
        with pytest.raises(Conflict):
            await old.commit(FEED, many(count, version=9), Position(1, 9), b"old")
    with pytest.raises(Conflict):
        await old.drop(FEED)
    wanted = TableState({**state.items, **items(put("new", 2))}, Position(1, 2), b"new")
    assert await writer().load(FEED) == wanted
    await new.commit(FEED, [], Position(1, 3), b"")


async def test_what_a_table_may_hold(writer: Writer) -> None:
    table = writer()
    await table.load(FEED)
    assert not table.may_hold(FEED, "a")
    await table.commit(FEED, [put("a", 1)], Position(1, 1), b"")
    assert table.may_hold(FEED, "a")
    await table.commit(FEED, [gone("a"), *many(200)], Position(1, 2), b"")
    assert not table.may_hold(FEED, "a")
    after = writer()
    await after.load(FEED)
    assert all(after.may_hold(FEED, change.key) for change in many(200))


async def test_load_comes_first(writer: Writer) -> None:
    with pytest.raises(ValueError, match="not loaded"):
        await writer().commit(FEED, [], Position(), b"")


def big(numbers: range, version: int, size: int) -> list[Change]:
    return [put(f"big-{n}", version, os.urandom(size)) for n in numbers]


async def filled(table: ObjectTable, size: int) -> int:
    """Commits three objects at a time until there is no room; how many commits went well."""
    done = 0
    with suppress(StorageFull):
        while done * 3 * size < 2 * LIMIT:
            new = big(range(done * 3, done * 3 + 3), done + 1, size)
            await table.commit(FEED, new, Position(1, done + 1), b"")
            done += 1
    return done


@pytest.mark.parametrize("size", [3_000, 100_000])
async def test_a_full_table_takes_what_makes_room(writer: Writer, size: int) -> None:
    table = writer()
    await table.load(FEED)
    done = await filled(table, size)
    assert LIMIT / 2 < done * 3 * size < LIMIT
    before = await writer().load(FEED)
    assert len(before.items) == done * 3
    assert (before.position, before.is_exact) == (Position(1, done), True)
    # Replacing and deleting goes on, with what did not fit in tow.
    await table.commit(FEED, big(range(2), 1000, size), Position(1, 1000), b"")
    count = max(8, 60_000 // size)  # too many to ride in the meta message
    more = big(range(done * 3, done * 3 + count), 1001, size)
    with pytest.raises(StorageFull):
        await table.commit(FEED, [gone("big-0"), *more], Position(1, 1001), b"")
    less = [gone(f"big-{n}") for n in range(count)]
    await table.commit(FEED, [*less, *more], Position(1, 1002), b"")
    after = await writer().load(FEED)
    assert (len(after.items), after.position) == (done * 3, Position(1, 1002))


# -- the real one ----------------------------------------------------------------------------------


def commits(_subject: str, headers: Mapping[str, str]) -> bool:
    return "Nats-Batch-Commit" in headers


@pytest.mark.parametrize("batches", [0, 1, 2, 3])
async def test_killed_between_batches(bus: Bus, bucket: str, batches: int) -> None:
    """The old position, newer objects at most, nothing lost; and the next writer mends it."""
    faulty = FaultyBus(bus)
    table = JetStreamTable(faulty, bucket, replace(SETTINGS, patience=0.0))
    await table.load(FEED)
    old = many(3000)
    await table.commit(FEED, old, Position(1, 10), b"up")
    new = [*many(2900, version=20), *(gone(change.key) for change in old[2900:])]
    faulty.faults.append(Fault(commits, BusDown("killed"), skip=batches))
    with pytest.raises(BusDown):
        await table.commit(FEED, new, Position(1, 20), b"")

    successor = JetStreamTable(bus, bucket, SETTINGS)
    state = await successor.load(FEED)
    assert (state.position, state.upstream) == (Position(1, 10), b"up")
    assert state.is_exact == (batches == 0)
    before, after = items(*old), items(*new[:2900])
    written = 999 * batches
    assert len(state.items) == 3000 - max(0, written - 2900)
    for number, change in enumerate(new):
        wanted = after.get(change.key) if number < written else before[change.key]
        assert state.items.get(change.key) == wanted

    await successor.commit(FEED, [put("x", 15)], Position(1, 15), b"")
    reloaded = await JetStreamTable(bus, bucket, SETTINGS).load(FEED)
    assert reloaded.is_exact == (batches == 0)  # some are still newer than 15
    await successor.commit(FEED, new, Position(1, 20), b"")
    wanted_all = TableState({**after, **items(put("x", 15))}, Position(1, 20), b"")
    assert await JetStreamTable(bus, bucket, SETTINGS).load(FEED) == wanted_all


@pytest.mark.parametrize("count", [1, 100, 2500])
@pytest.mark.parametrize("after", [False, True])
async def test_lost_requests_and_answers_are_made_good(
    bus: Bus, bucket: str, count: int, after: bool
) -> None:
    faulty = FaultyBus(bus)
    table = JetStreamTable(faulty, bucket, SETTINGS)
    await table.load(FEED)
    meta = kv_subject(bucket, f"{FEED}.meta")
    faulty.faults += [
        Fault(lambda subject, _: subject == meta, RequestTimeout("lost"), after, skip=n)
        for n in (0, 1)
    ]
    changes = many(count)
    await table.commit(FEED, changes, Position(1, 1), b"")
    await table.commit(FEED, [put("more", 2)], Position(1, 2), b"")
    assert not faulty.faults
    wanted = items(*changes, put("more", 2))
    assert await JetStreamTable(bus, bucket, SETTINGS).load(FEED) == TableState(
        wanted, Position(1, 2), b""
    )


@pytest.mark.parametrize("after", [False, True])
async def test_a_commit_given_up_leaves_the_next_one_possible(
    bus: Bus, bucket: str, after: bool
) -> None:
    """Whether or not it was written after all."""
    faulty = FaultyBus(bus)
    table = JetStreamTable(faulty, bucket, replace(SETTINGS, patience=0.0))
    await table.load(FEED)
    faulty.faults.append(Fault(commits, RequestTimeout("lost"), after))
    changes = many(100)
    with pytest.raises(RequestTimeout):
        await table.commit(FEED, changes, Position(1, 1), b"")
    await table.commit(FEED, [*changes, put("more", 2)], Position(1, 2), b"")
    state = await JetStreamTable(bus, bucket, SETTINGS).load(FEED)
    assert state == TableState(items(*changes, put("more", 2)), Position(1, 2), b"")


async def test_a_cancelled_commit_leaves_the_next_one_possible(real: Writer) -> None:
    table, changes = real(), many(2500)
    await table.load(FEED)
    for delay in (0.0, 0.005, 0.02, 0.05):
        task = asyncio.create_task(table.commit(FEED, changes, Position(1, 1), b""))
        await asyncio.sleep(delay)
        task.cancel()
        await asyncio.wait([task])
    await table.commit(FEED, changes, Position(1, 2), b"")
    assert await real().load(FEED) == TableState(items(*changes), Position(1, 2), b"")


async def test_deleted_objects_leave_nothing_behind(bus: Bus, bucket: str, real: Writer) -> None:
    table = real()
    await table.load(FEED)
    changes = many(500)
    await table.commit(FEED, changes, Position(1, 1), b"")
    await table.commit(FEED, [gone(change.key) for change in changes], Position(1, 2), b"")
    async with asyncio.timeout(10):
        while True:
            info = await api(bus, f"STREAM.INFO.KV_{bucket}", None, 2.0)
            if info["state"]["messages"] == 1:  # the meta
                break
    assert await real().load(FEED) == TableState({}, Position(1, 2), b"")


async def test_a_dropped_feed_leaves_nothing_and_may_come_back(
    bus: Bus, bucket: str, real: Writer
) -> None:
    table = real()
    await table.load(FEED)
    await table.commit(FEED, many(500), Position(1, 1), b"")
    await table.drop(FEED)
    info = await api(bus, f"STREAM.INFO.KV_{bucket}", None, 2.0)
    assert info["state"]["messages"] <= 1
    await table.load(FEED)
    await table.commit(FEED, many(100), Position(1, 2), b"")
    assert len((await real().load(FEED)).items) == 100


class Meddled(FaultyBus):
    """Lets somebody else act just before a purge."""

    async def request(
        self,
        subject: str,
        data: bytes,
        *,
        timeout: float,
        headers: Mapping[str, str] | None = None,
    ) -> Message:
        if "STREAM.PURGE" in subject:
            await self.meddle()
        return await super().request(subject, data, timeout=timeout, headers=headers)

    async def meddle(self) -> None: ...


async def test_a_late_drop_spares_what_a_successor_wrote(bus: Bus, bucket: str) -> None:
    meddled, successor = Meddled(bus), JetStreamTable(bus, bucket, SETTINGS)
    table = JetStreamTable(meddled, bucket, SETTINGS)
    await table.load(FEED)
    await table.commit(FEED, many(100), Position(1, 1), b"")
    changes = many(200, version=2)

    async def meddle() -> None:
        await successor.load(FEED)
        await successor.commit(FEED, changes, Position(1, 2), b"")

    meddled.meddle = meddle  # type: ignore[method-assign]
    await table.drop(FEED)
    state = await JetStreamTable(bus, bucket, SETTINGS).load(FEED)
    assert state == TableState(items(*changes), Position(1, 2), b"")


async def test_above_a_lowered_limit_deleting_goes_on(bus: Bus, bucket: str) -> None:
    table = JetStreamTable(bus, bucket, SETTINGS)
    await table.load(FEED)
    done = await filled(table, 50_000)
    lowered = JetStreamTable(bus, bucket, replace(SETTINGS, max_bytes=LIMIT // 2))
    await lowered.load(FEED)
    with pytest.raises(StorageFull):
        await lowered.commit(FEED, big(range(900, 903), 1000, 50_000), Position(1, 1000), b"")
    one = [gone("big-0"), *(gone(f"none-{n}") for n in range(100))]
    await lowered.commit(FEED, one, Position(1, 1000), b"")  # by far not enough, yet it helps
    less = [gone(f"big-{n}") for n in range(done * 3 - 3)]
    await lowered.commit(FEED, [*less, *many(100)], Position(1, 1001), b"")
    assert len((await lowered.load(FEED)).items) == 103


async def test_what_a_drop_cut_short_left_is_not_taken_for_state(bus: Bus, bucket: str) -> None:
    faulty = FaultyBus(bus)
    table = JetStreamTable(faulty, bucket, SETTINGS)
    await table.load(FEED)
    await table.commit(FEED, many(500), Position(1, 1), b"")
    purge = Fault(lambda subject, _: "STREAM.PURGE" in subject, BusDown("killed"))
    faulty.faults.append(purge)
    with pytest.raises(BusDown):
        await table.drop(FEED)
    successor = JetStreamTable(bus, bucket, SETTINGS)
    assert await successor.load(FEED) == TableState()
    await successor.commit(FEED, [put("ns/object-1", 5)], Position(1, 5), b"")
    state = await JetStreamTable(bus, bucket, SETTINGS).load(FEED)
    assert state == TableState(items(put("ns/object-1", 5)), Position(1, 5), b"")


async def test_damaged_objects_are_left_out_and_said(
    bus: Bus, bucket: str, real: Writer, caplog: pytest.LogCaptureFixture
) -> None:
    table = real()
    await table.load(FEED)
    await table.commit(FEED, many(100), Position(1, 1), b"")
    await store(bus, kv_subject(bucket, f"{FEED}.o.ns/object-7"), b"\x01\x01rubbish", {}, 2.0)
    state = await real().load(FEED)
    assert len(state.items) == 99
    assert not state.is_exact
    assert "object-7 is left out" in caplog.text


async def test_a_damaged_meta_counts_as_an_empty_table(
    bus: Bus, bucket: str, real: Writer, caplog: pytest.LogCaptureFixture
) -> None:
    table = real()
    await table.load(FEED)
    await table.commit(FEED, many(100), Position(1, 1), b"")
    await store(bus, kv_subject(bucket, f"{FEED}.meta"), b"rubbish", {}, 2.0)
    other = real()
    assert await other.load(FEED) == TableState()
    assert "counts as empty" in caplog.text
    await other.commit(FEED, many(3), Position(1, 1), b"")
    assert len((await real().load(FEED)).items) == 3


async def test_a_lost_message_while_loading_is_read_again(bus: Bus, bucket: str) -> None:
    table = JetStreamTable(bus, bucket, SETTINGS)
    await table.load(FEED)
    changes = many(500)
    await table.commit(FEED, changes, Position(1, 1), b"")
    faulty, lost = FaultyBus(bus), 0

    def drop(message: object) -> bool:
        nonlocal lost
        lost += 1
        return lost == 250

    faulty.drop = drop
    state = await JetStreamTable(faulty, bucket, SETTINGS).load(FEED)
    assert lost > 700
    assert state == TableState(items(*changes), Position(1, 1), b"")


# -- a server of its own ---------------------------------------------------------------------------


@asynccontextmanager
async def own_server(rig: Rig, settings: ServerSettings) -> AsyncIterator[EmbeddedServer]:
    server = EmbeddedServer(settings)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@asynccontextmanager
async def connection(rig: Rig, server: EmbeddedServer) -> AsyncIterator[Connection]:
    made = Connection(rig.settings("pool-1", server.url))
    await made.start()
    await made.wait_up(5)
    try:
        yield made
    finally:
        await made.close()


async def test_commits_go_through_a_crash_of_the_server(rig: Rig, store: Path) -> None:
    settings = ServerSettings("own", "pool-a", store, (rig.user("pool-1"),))
    async with own_server(rig, settings) as server, connection(rig, server) as bus:
        table = JetStreamTable(bus, settings=SETTINGS)
        await table.load(FEED)
        last: list[Change] = []

        async def write() -> None:
            nonlocal last
            for version in range(1, 40):
                last = many(100, version)
                await table.commit(FEED, last, Position(1, version), b"")

        writing = asyncio.create_task(write())
        for _ in range(2):
            await asyncio.sleep(0.1)
            assert server.pid is not None
            psutil.Process(server.pid).kill()
            while bus.is_up:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            await bus.wait_up(5)
        await writing
        assert server.restarts == 2
        wanted = TableState(items(*last), Position(1, 39), b"")
        assert await JetStreamTable(bus, settings=SETTINGS).load(FEED) == wanted


async def test_a_small_disk_is_shared_and_full_is_said(rig: Rig, store: Path) -> None:
    """The table takes what the server has, and leaves what others have reserved."""
    users = (rig.user("pool-1"),)
    settings = ServerSettings("own", "pool-a", store, users, storage_bytes=6 << 20)
    async with own_server(rig, settings) as server, connection(rig, server) as bus:
        table = JetStreamTable(bus)  # would like to have 256 MiB
        await table.load(FEED)
        with pytest.raises(StorageFull):
            await table.commit(FEED, many(100, size=60_000), Position(1, 1), b"")
        await table.commit(FEED, many(30, size=60_000), Position(1, 2), b"")
        state = await JetStreamTable(bus).load(FEED)
        assert state.position == Position(1, 2)


async def test_a_wiped_server_is_a_conflict(rig: Rig, store: Path) -> None:
    settings = ServerSettings("own", "pool-a", store, (rig.user("pool-1"),))
    async with own_server(rig, settings) as server, connection(rig, server) as bus:
        table = JetStreamTable(bus, settings=SETTINGS)
        await table.load(FEED)
        await table.commit(FEED, many(10), Position(1, 1), b"")
        await server.stop()
        shutil.rmtree(store / "jetstream")
        await server.start()
        await bus.wait_up(5)
        with pytest.raises(Conflict):
            await table.commit(FEED, many(10), Position(1, 2), b"")
        assert await table.load(FEED) == TableState()
        await table.commit(FEED, many(10), Position(1, 2), b"")
