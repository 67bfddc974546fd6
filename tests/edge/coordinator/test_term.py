"""A term: follows the leader, commits, publishes; a successor goes on where it stopped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from loguru import logger

from bus import subjects
from bus.errors import BusError, Conflict, LeaseLost, RequestTimeout, StorageFull
from bus.feed import Batch, Change, FeedFollower, FeedSettings, Position
from bus.feed.ticks import Ticks
from bus.fence import Fenced, Guard, Guarded
from bus.memory import MemoryBroker, MemoryBus
from bus.subjects import CATALOG
from bus.table import ObjectTable, TableState
from bus.table_memory import MemoryStorage, MemoryTable
from edge.coordinator.shelf import Ends
from edge.coordinator.term import Term
from edge.leader.relay import Relay
from tests.actors.until import until
from tests.edge.worlds import TICK, CloudFeed, Tasks, owned_tasks


class Pool:
    """A pool with a leader that relays a catalog and one feed called "things"."""

    def __init__(self, tasks: Tasks) -> None:
        self.cloud_broker, self.pool_broker = MemoryBroker(), MemoryBroker()
        site = MemoryBus(self.cloud_broker, "cloud")
        self.uplink = MemoryBus(self.cloud_broker, "cloud")
        self.bus = MemoryBus(self.pool_broker, "pool")
        self.catalog, self.things = CloudFeed(site, CATALOG), CloudFeed(site, "things")
        self.leader_token = 1
        fenced = Fenced(MemoryBus(self.pool_broker, "pool"), lambda: self.leader_token)
        self.relay = Relay(self.uplink, fenced, tasks, logger)

    def term(self, table: ObjectTable, number: int) -> Term:
        return self.term_while(table, lambda: number)

    def term_while(self, table: ObjectTable, token: Callable[[], int]) -> Term:
        return self.term_on_bus(table, token)[0]

    def term_on_bus(self, table: ObjectTable, token: Callable[[], int]) -> tuple[Term, MemoryBus]:
        bus = MemoryBus(self.pool_broker, "pool")
        term = Term(
            lambda spawn: Ends(
                upstream=Guarded(bus, Guard()),
                downstream=Fenced(bus, token),
                table=table,
                token=token,
                ticks=Ticks(),
                settings=FeedSettings(),
                spawn=spawn,
                log=logger,
            ),
            TICK,
        )
        return term, bus

    def hub(self, on_batch: Callable[[Batch], Awaitable[None]] | None = None) -> FeedFollower:
        async def ignore(_: Batch) -> None:
            return

        bus = Guarded(MemoryBus(self.pool_broker, "pool"), Guard())
        return FeedFollower(bus, subjects.POOL_FEEDS, "things", None, on_batch or ignore)


@asynccontextmanager
async def a_pool() -> AsyncIterator[Pool]:
    async with owned_tasks() as tasks:
        pool = Pool(tasks)
        async with pool.catalog, pool.things:
            await pool.relay.start()
            await pool.catalog.put("things", 1, b"{}")
            yield pool
            await pool.relay.stop()


@asynccontextmanager
async def running(term: Term) -> AsyncIterator[Term]:
    task = asyncio.create_task(term.run(), name="term")
    try:
        yield term
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_a_hub_follows_what_the_term_was_told() -> None:
    async with a_pool() as pool, running(pool.term(MemoryTable(), 1)):
        hub = pool.hub()
        hub.start()
        await pool.things.put("a", 5, b"five")
        await until(lambda: "a" in hub.items, "the hub has a")
        await pool.things.delete("a", 6)
        await until(lambda: hub.position == Position(1, 6) and not hub.items, "it is gone again")
        await hub.stop()


async def test_hubs_hear_which_steps_may_have_hidden_something() -> None:
    """The cloud's list, the coordinator's own sync by difference: all the rest is told exactly."""
    heard: dict[int, bool] = {}

    async def watch(batch: Batch) -> None:
        heard[batch.position.version] = batch.exact

    async with a_pool() as pool, running(pool.term(MemoryTable(), 1)) as term:
        hub = pool.hub(watch)
        hub.start()
        await pool.things.put("a", 5, b"five")
        await until(lambda: hub.position == Position(1, 5), "the hub is there")
        await pool.things.put("a", 6, b"six")
        await until(lambda: 6 in heard, "a change")
        await pool.things.publisher.publish((), Position(1, 10), exact=False)
        await until(lambda: 10 in heard, "a list without a difference")
        pool.cloud_broker.cut(pool.uplink)
        await pool.things.put("short-lived", 11, b"eleven")
        await pool.things.delete("short-lived", 12)
        await pool.things.put("a", 13, b"thirteen")
        term.shelves["things"].follower.core._distrust(None)  # its next sync is by difference
        pool.cloud_broker.heal(pool.uplink)
        await until(lambda: 13 in heard, "what the sync brought")
        await pool.things.put("a", 14, b"fourteen")
        await until(lambda: 14 in heard, "a change again")
        await hub.stop()
    assert {v: heard[v] for v in (6, 10, 13, 14)} == {6: True, 10: False, 13: False, 14: True}
    assert not {11, 12} & heard.keys()


async def test_feeds_come_and_go_with_the_catalog() -> None:
    async with a_pool() as pool, running(pool.term(MemoryTable(), 1)) as term:
        await until(lambda: set(term.shelves) == {CATALOG, "things"}, "both shelves are open")
        await pool.catalog.delete("things", 2)
        await until(lambda: set(term.shelves) == {CATALOG}, "one is closed")


async def test_a_feed_that_ended_leaves_nothing_in_the_table() -> None:
    """Resources come and go for years; the table's room is for those that there are."""
    shared = MemoryStorage()
    async with a_pool() as pool, running(pool.term(MemoryTable(shared), 1)) as term:
        await pool.things.put("a", 5, b"five")
        await until(lambda: "things" in shared.feeds, "it is written")
        await pool.catalog.delete("things", 2)
        await until(lambda: not shared.feeds["things"][1].items, "it is forgotten")
        await pool.catalog.put("things", 3, b"{}")
        await until(lambda: "a" in shared.feeds["things"][1].items, "it is back")
        assert set(term.shelves) == {CATALOG, "things"}


async def test_a_table_that_cannot_forget_ends_no_term() -> None:
    class Stuck(MemoryTable):
        async def drop(self, feed: str) -> None:
            raise RequestTimeout("no answer")

    async with a_pool() as pool, running(pool.term(Stuck(), 1)) as term:
        await until(lambda: set(term.shelves) == {CATALOG, "things"}, "both shelves are open")
        await pool.catalog.delete("things", 2)
        await until(lambda: set(term.shelves) == {CATALOG}, "one is closed")
        await pool.catalog.put("things", 3, b"{}")
        await until(lambda: set(term.shelves) == {CATALOG, "things"}, "it is back")


@pytest.mark.parametrize("turns", range(0, 40, 3))
async def test_a_term_that_is_cut_short_anywhere_leaves_nothing_behind(turns: int) -> None:
    async with a_pool() as pool:
        await pool.things.put("a", 5, b"five")
        term, bus = pool.term_on_bus(MemoryTable(), lambda: 1)
        task = asyncio.create_task(term.run(), name="term")
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert not bus.subscriptions


async def test_a_successor_serves_what_was_committed_with_the_cloud_gone() -> None:
    shared = MemoryStorage()
    async with a_pool() as pool:
        hub = pool.hub()
        async with running(pool.term(MemoryTable(shared), 1)):
            hub.start()
            await pool.things.put("a", 5, b"five")
            await until(lambda: "a" in hub.items, "the hub has a")
        pool.cloud_broker.cut(pool.uplink)
        async with running(pool.term(MemoryTable(shared), 2)):
            newcomer = pool.hub()
            newcomer.start()
            await until(lambda: newcomer.items == hub.items, "a new hub has it too")
            await newcomer.stop()
        await hub.stop()


async def test_a_damaged_table_costs_no_hub_an_object() -> None:
    """What cannot be read there is fetched again, and meanwhile nobody hears that it is gone."""
    shared = MemoryStorage()

    class Damaged(MemoryTable):
        async def load(self, feed: str) -> TableState:
            state = await super().load(feed)
            items = {key: item for key, item in state.items.items() if key != "a"}
            return replace(state, items=items, is_exact=False)

    gone: list[str] = []

    async def watch(batch: Batch) -> None:
        gone.extend(change.key for change in batch.changes if change.data is None)

    async with a_pool() as pool:
        hub = pool.hub(watch)
        hub.start()
        async with running(pool.term(MemoryTable(shared), 1)):
            await pool.things.put("a", 5, b"five")
            await pool.things.put("b", 6, b"six")
            await until(lambda: len(hub.items) == 2, "the hub has both")
        async with running(pool.term(Damaged(shared), 2)) as term:
            await until(lambda: "things" in term.shelves, "it is open")
            await pool.things.put("c", 7, b"seven")
            await until(lambda: "c" in hub.items, "the hub goes on")
            assert set(term.shelves["things"].publisher.items) == {"a", "b", "c"}
            assert set(shared.feeds["things"][1].items) == {"a", "b", "c"}
        assert (set(hub.items), gone) == ({"a", "b", "c"}, [])
        await hub.stop()


async def test_nothing_is_published_before_it_is_committed() -> None:
    """A hub must never know more than a successor can load."""
    gate = asyncio.Event()

    class Slow(MemoryTable):
        async def commit(
            self, feed: str, changes: Sequence[Change], position: Position, upstream: bytes
        ) -> None:
            if feed == "things":
                await gate.wait()
            await super().commit(feed, changes, position, upstream)

    async with a_pool() as pool, running(pool.term(Slow(), 1)) as term:
        hub = pool.hub()
        hub.start()
        await pool.things.put("a", 5, b"five")
        await until(
            lambda: "things" in term.shelves and "a" in term.shelves["things"].follower.items,
            "the coordinator has a",
        )
        await asyncio.sleep(3 * TICK)  # ticks must not betray it either
        assert "a" not in hub.items
        gate.set()
        await until(lambda: "a" in hub.items, "the hub has a")
        await hub.stop()


async def test_who_lost_the_lease_writes_nothing() -> None:
    shared = MemoryStorage()
    tokens = [1]

    def token() -> int:
        if not tokens:
            raise LeaseLost("gone")
        return tokens[0]

    async with a_pool() as pool:
        term = pool.term_while(MemoryTable(shared), token)
        old = asyncio.create_task(term.run(), name="old term")
        await until(lambda: "things" in term.shelves, "it is open")
        tokens.clear()
        await pool.things.put("a", 5, b"five")
        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.timeout(5):
                await old
        assert caught.group_contains(LeaseLost)
        assert "a" not in shared.feeds.get("things", (0, TableState()))[1].items


async def test_of_two_that_write_one_is_refused() -> None:
    """Who comes second, even if it is the rightful one: it must read what it does not know."""
    shared = MemoryStorage()
    async with a_pool() as pool:
        terms = [pool.term(MemoryTable(shared), 1), pool.term(MemoryTable(shared), 2)]
        tasks = [asyncio.create_task(term.run(), name="term") for term in terms]
        done, _ = await asyncio.wait(tasks, timeout=5, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        conflicts = [r for r in results if isinstance(r, ExceptionGroup) and r.subgroup(Conflict)]
        assert len(done) == len(conflicts) == 1


async def test_a_full_disk_stops_no_hub_and_what_was_not_written_follows_later() -> None:
    shared = MemoryStorage()

    class Full(MemoryTable):
        is_full = True

        async def commit(
            self, feed: str, changes: Sequence[Change], position: Position, upstream: bytes
        ) -> None:
            if self.is_full and feed == "things":
                raise StorageFull("no room")
            await super().commit(feed, changes, position, upstream)

    table = Full(shared)
    async with a_pool() as pool, running(pool.term(table, 1)) as term:
        hub = pool.hub()
        hub.start()
        await pool.things.put("a", 5, b"five")
        await pool.things.put("b", 6, b"six")
        await until(lambda: len(hub.items) == 2, "the hub has both")
        assert term.shelves["things"].unwritten == 2
        table.is_full = False
        await pool.things.put("c", 7, b"seven")
        await until(lambda: term.shelves["things"].unwritten == 0, "all is written")
        assert set(shared.feeds["things"][1].items) == {"a", "b", "c"}
        await hub.stop()


async def test_what_comes_and_goes_while_the_disk_is_full_is_not_remembered() -> None:
    """Names may be new each time, and a disk may stay full for weeks."""
    shared = MemoryStorage()

    class Full(MemoryTable):
        is_full = False

        async def commit(
            self, feed: str, changes: Sequence[Change], position: Position, upstream: bytes
        ) -> None:
            if self.is_full and feed == "things":
                raise StorageFull("no room")
            await super().commit(feed, changes, position, upstream)

    table = Full(shared)
    async with a_pool() as pool, running(pool.term(table, 1)) as term:
        await pool.things.put("old", 5, b"five")
        await pool.things.put("kept", 6, b"six")
        await until(lambda: "kept" in shared.feeds.get("things", (0, TableState()))[1].items, "6")
        table.is_full = True
        for version in range(10, 50, 2):
            await pool.things.put(f"name-{version}", version, b"short-lived")
            await pool.things.delete(f"name-{version}", version + 1)
        await pool.things.delete("old", 50)
        shelf = term.shelves["things"]
        await until(lambda: shelf.publisher.position.version == 50, "all has passed")
        assert shelf.unwritten == 1
        table.is_full = False
        await pool.things.put("new", 51, b"new")
        await until(lambda: shelf.unwritten == 0, "all is written")
        assert set(shared.feeds["things"][1].items) == {"kept", "new"}


async def test_a_leader_that_was_replaced_is_not_listened_to() -> None:
    async with a_pool() as pool, running(pool.term(MemoryTable(), 1)) as term:
        pool.leader_token = 9
        await pool.things.put("a", 5, b"five")
        await until(lambda: "things" in term.shelves, "open")
        await until(lambda: "a" in term.shelves["things"].follower.items, "a came")
        pool.leader_token = 8
        await pool.things.put("b", 6, b"six")
        await asyncio.sleep(5 * TICK)
        assert "b" not in term.shelves["things"].follower.items


async def test_a_bus_error_ends_the_term_as_a_group() -> None:
    class Broken(MemoryTable):
        async def load(self, feed: str) -> TableState:
            raise BusError("no table")

    async with a_pool() as pool:
        with pytest.raises(ExceptionGroup) as caught:
            await pool.term(Broken(), 1).run()
        assert caught.group_contains(BusError)
