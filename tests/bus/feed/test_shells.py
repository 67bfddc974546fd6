"""Publisher, ticker and follower on a bus: the one in memory, and a real nats-server."""

from __future__ import annotations

import asyncio
import math

import pytest

from bus import subjects
from bus.api import Message
from bus.errors import LeaseLost, RequestTimeout
from bus.feed import (
    Batch,
    Change,
    FeedFollower,
    FeedPublisher,
    FeedSettings,
    Position,
    Ticks,
)
from bus.fence import Fenced
from bus.memory import MemoryBroker, MemoryBus
from tests.bus.feed.stand import CLOUD, DEADLINE, NAME, Clock, Memory, Stand, Taken, at, put, until


async def test_what_is_published_arrives(stand: Stand) -> None:
    publisher, taken = stand.publisher(), Taken()
    follower = stand.follower(taken.take)
    await publisher.publish([put("a", 1)], at(5))
    await taken.until(at(5))
    await publisher.publish([put("a", 6), put("b", 7)], at(7))
    await taken.until(at(7))
    assert follower.items == publisher.items
    assert follower.synced.is_set()


async def test_a_follower_that_starts_late_gets_the_state(stand: Stand) -> None:
    publisher, taken = stand.publisher(), Taken()
    for version in range(1, 200):
        await publisher.publish([put(f"k{version % 50}", version)], at(version))
    await publisher.drain()
    follower = stand.follower(taken.take)
    await taken.until(at(199))
    assert follower.items == publisher.items
    assert len(taken.batches) == 1


async def test_a_new_publisher_is_noticed_at_once(stand: Stand) -> None:
    taken = Taken()
    first = stand.publisher()
    await first.publish([put("a", 1), put("b", 2)], at(2))
    follower = stand.follower(taken.take)
    await taken.until(at(2))
    await first.stop()
    second = FeedPublisher(stand.source, CLOUD, NAME)
    second.restore(first.items, first.position)
    second.start()
    try:
        await until(lambda: follower.core.counts["sync.equal"] == 1)
        await second.publish([Change("a", 3, None)], at(3))
        await taken.until(at(3))
        assert follower.items.keys() == {"b"}
    finally:
        await second.stop()


async def test_ticks_move_the_list_version_and_tell_the_age(stand: Stand) -> None:
    clock, taken = Clock(), Taken()
    publisher = stand.publisher(age=lambda: 3.0)
    follower = stand.follower(taken.take, clock=clock)
    assert follower.age() == math.inf
    stand.ticker(publisher)
    await publisher.publish([put("a", 1)], at(1))
    await taken.until(at(1))
    await publisher.publish([], at(9))
    await taken.until(at(9))
    assert taken.batches[-1].changes == ()
    assert follower.age() == 3.0


async def test_the_age_grows_while_there_are_no_ticks(memory: Memory) -> None:
    clock, taken = Clock(), Taken()
    publisher = memory.stand.publisher()
    follower = memory.stand.follower(taken.take, clock=clock)
    await publisher.publish([put("a", 1)], at(1))
    await until(follower.synced.is_set)
    clock.now += 60
    assert follower.age() == 60.0


async def test_a_publisher_that_does_not_know_its_age_takes_none_from_us(memory: Memory) -> None:
    clock, taken, ages = Clock(), Taken(), [2.0]
    publisher = memory.stand.publisher(age=lambda: ages[-1])
    follower = memory.stand.follower(taken.take, clock=clock)
    await publisher.publish([put("a", 1)], at(1))
    await until(follower.synced.is_set)
    ages.append(math.inf)
    ticker = memory.stand.ticker(publisher)
    await publisher.publish([], at(5))
    ticker.poke()
    await taken.until(at(5))
    assert follower.age() == 2.0


async def test_a_cut_follower_syncs_as_soon_as_the_link_is_back(memory: Memory) -> None:
    publisher, taken = memory.stand.publisher(), Taken()
    follower = memory.stand.follower(taken.take)
    await publisher.publish([put("a", 1)], at(1))
    await taken.until(at(1))
    memory.broker.cut(memory.sink)
    await publisher.publish([put("a", 2), put("b", 3)], at(3))
    await publisher.drain()
    memory.broker.heal(memory.sink)  # and no tick or frame comes
    await taken.until(at(3))
    assert follower.core.counts["sync.replay"] == 1


async def test_a_publisher_goes_on_while_its_bus_is_down(memory: Memory) -> None:
    publisher, taken = memory.stand.publisher(), Taken()
    memory.stand.follower(taken.take)
    memory.stand.ticker(publisher, interval=60)
    await publisher.publish([put("a", 1)], at(1))
    await taken.until(at(1))
    memory.broker.cut(memory.source)
    await publisher.publish([put("a", 2)], at(2))
    await publisher.drain()
    assert publisher.unsent == 1
    assert publisher.position == at(2)
    memory.broker.heal(memory.source)  # the ticker is woken by the link
    await taken.until(at(2))


async def test_nobody_answers_at_first(memory: Memory) -> None:
    taken = Taken()
    follower = memory.stand.follower(taken.take)
    await until(lambda: follower.core.rounds > 1)  # refused, and tried again
    publisher = memory.stand.publisher()
    await publisher.publish([put("a", 1)], at(1))
    await taken.until(at(1))


async def test_a_silent_publisher_is_asked_again(memory: Memory) -> None:
    asked = 0

    def ignore(_: Message) -> None:
        nonlocal asked
        asked += 1

    silent = await memory.source.subscribe(CLOUD.sync + NAME, ignore)
    taken = Taken()
    follower = FeedFollower(memory.sink, CLOUD, NAME, None, taken.take, request_seconds=0.01)
    follower.start()
    try:
        await until(lambda: asked > 2)
        await silent.unsubscribe()
        publisher = memory.stand.publisher()
        await publisher.publish([put("a", 1)], at(1))
        await taken.until(at(1))
    finally:
        await follower.stop()


async def test_what_comes_while_a_frame_is_in_flight_goes_together() -> None:
    bus = HeldBus(MemoryBroker(), "cloud")
    publisher = FeedPublisher(bus, CLOUD, NAME)
    publisher.start()
    try:
        await publisher.publish([], at(1))
        await bus.flushing.wait()
        for version in range(2, 50):
            await publisher.publish([put(f"k{version % 4}", version)], at(version))
        assert publisher.frames == 1  # the announcement is still in flight
        bus.go_on.set()
        await publisher.drain()
        assert publisher.frames == 2
        assert publisher.position == at(49)
    finally:
        await publisher.stop()


class HeldBus(MemoryBus):
    """Its flush waits until it is told to go on."""

    def __init__(self, broker: MemoryBroker, name: str) -> None:
        super().__init__(broker, name)
        self.flushing = asyncio.Event()
        self.go_on = asyncio.Event()

    async def flush(self, timeout: float) -> None:
        self.flushing.set()
        await self.go_on.wait()


async def test_what_goes_together_with_a_list_is_no_more_exact(memory: Memory) -> None:
    publisher, taken = memory.stand.publisher(), Taken()
    memory.stand.follower(taken.take)
    await publisher.publish([put("a", 1)], at(1))
    await taken.until(at(1))
    await publisher.publish([put("a", 2)], at(2))
    await taken.until(at(2))
    later = [publisher.publish([put("a", v)], at(v), exact=v != 4) for v in (3, 4, 5)]
    await asyncio.gather(*later)
    await taken.until(at(5))
    assert [(b.position.version, b.exact) for b in taken.batches[1:]] == [(2, True), (5, False)]
    await publisher.publish([put("a", 6)], at(6))
    await taken.until(at(6))
    assert taken.batches[-1].exact


async def test_a_full_queue_makes_the_caller_wait() -> None:
    bus = HeldBus(MemoryBroker(), "cloud")
    publisher = FeedPublisher(bus, CLOUD, NAME, FeedSettings(queue_bytes=1000))
    publisher.start()
    try:
        await publisher.publish([], at(1))
        await bus.flushing.wait()
        large = asyncio.create_task(publisher.publish([Change("a", 2, bytes(2000))], at(2)))
        await asyncio.sleep(0)
        assert not large.done()
        bus.go_on.set()
        assert await large == ()
    finally:
        await publisher.stop()


async def test_a_step_into_another_lineage_goes_alone() -> None:
    bus = HeldBus(MemoryBroker(), "cloud")
    publisher = FeedPublisher(bus, CLOUD, NAME)
    publisher.start()
    try:
        await publisher.publish([put("a", 50)], at(50))
        await bus.flushing.wait()
        await publisher.publish([put("b", 60)], at(60))
        await publisher.publish([Change("b", 60, None), put("a", 10)], Position(2, 20))
        await publisher.publish([put("c", 21)], Position(2, 21))
        with pytest.raises(ValueError, match="after"):
            await publisher.publish([], at(99))
        bus.go_on.set()
        await publisher.drain()
        assert {key: item.version for key, item in publisher.items.items()} == {"a": 10, "c": 21}
        assert publisher.frames == 4
    finally:
        await publisher.stop()


async def test_too_large_objects_are_named(memory: Memory) -> None:
    publisher = memory.stand.publisher()
    too_large = Change("a", 1, bytes(publisher.core.settings.max_object + 1))
    assert await publisher.publish([too_large, put("b", 2)], at(2)) == ("a",)
    await publisher.drain()
    assert publisher.items.keys() == {"b"}


async def test_batches_come_one_at_a_time(memory: Memory) -> None:
    publisher, release = memory.stand.publisher(), asyncio.Event()
    running, most, positions = 0, 0, []

    async def take(batch: Batch) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await release.wait()
        positions.append(batch.position.version)
        assert follower.position == batch.position
        running -= 1

    follower = memory.stand.follower(take)
    for version in range(1, 6):
        await publisher.publish([put("a", version)], at(version))
        await publisher.drain()
    await until(lambda: running == 1)
    release.set()
    await until(lambda: positions[-1:] == [5])
    assert most == 1
    assert positions == sorted(positions)


async def test_a_consumer_that_fails_stops_the_follower_loudly(memory: Memory) -> None:
    publisher = memory.stand.publisher()

    async def take(_: Batch) -> None:
        raise RuntimeError("disk full")

    follower = FeedFollower(memory.sink, CLOUD, NAME, None, take)
    task = follower.start(lambda name, work: asyncio.create_task(work, name=name))
    await publisher.publish([put("a", 1)], at(1))
    with pytest.raises(RuntimeError, match="disk full"):
        await asyncio.wait_for(task, DEADLINE)
    assert not memory.sink.subscriptions
    await follower.stop()  # its owner knows already


async def test_stop_tells_what_nobody_else_saw(memory: Memory) -> None:
    publisher = memory.stand.publisher()

    async def take(_: Batch) -> None:
        raise RuntimeError("disk full")

    follower = FeedFollower(memory.sink, CLOUD, NAME, None, take)
    task = follower.start()
    await publisher.publish([put("a", 1)], at(1))
    await asyncio.wait([task], timeout=DEADLINE)
    with pytest.raises(RuntimeError, match="disk full"):
        await follower.stop()


async def test_a_follower_moves_and_keeps_what_it_has(memory: Memory) -> None:
    near = MemoryBus(MemoryBroker(), "pool")
    publisher, taken = memory.stand.publisher(), Taken()
    follower = memory.stand.follower(taken.take)
    await publisher.publish([put("a", 1), put("b", 2)], at(2))
    await taken.until(at(2))
    other = FeedPublisher(near, subjects.POOL_FEEDS, NAME)
    other.restore(dict(publisher.items), publisher.position)
    other.start()
    try:
        await follower.move(near, subjects.POOL_FEEDS)
        assert not memory.sink.subscriptions
        await other.publish([put("a", 5)], at(5))
        await taken.until(at(5))
        assert follower.core.counts["sync.snapshot"] == 1  # only the first time
        assert len(taken.batches[-1].changes) == 1
        await publisher.publish([put("a", 3)], at(3))
        await follower.move(memory.sink, CLOUD)
        await until(lambda: follower.core.is_behind)
        assert follower.position == at(5)
        await publisher.publish([put("a", 5), put("b", 6)], at(6))
        await taken.until(at(6))
    finally:
        await other.stop()


async def test_a_follower_may_move_before_it_starts(memory: Memory) -> None:
    publisher, taken = memory.stand.publisher(), Taken()
    await publisher.publish([put("a", 1)], at(1))
    elsewhere = MemoryBus(MemoryBroker(), "pool")
    follower = FeedFollower(elsewhere, subjects.POOL_FEEDS, NAME, None, taken.take)
    await follower.move(memory.sink, CLOUD)
    follower.start()
    await taken.until(at(1))
    await follower.stop()
    await follower.stop()


async def test_a_restored_follower_needs_only_the_rest(memory: Memory) -> None:
    publisher, taken = memory.stand.publisher(), Taken()
    first = memory.stand.follower(taken.take)
    await publisher.publish([put("a", 1), put("b", 2)], at(2))
    await taken.until(at(2))
    await first.stop()
    await publisher.publish([put("a", 3)], at(3))
    again = FeedFollower(memory.sink, CLOUD, NAME, None, taken.take)
    again.restore(dict(first.items), first.position, first.upstream)
    again.start()
    await taken.until(at(3))
    assert again.core.counts["sync.replay"] == 1
    assert taken.batches[-1].changes == (put("a", 3),)
    await again.stop()


async def test_followers_share_one_tick_subscription(memory: Memory) -> None:
    ticks = Ticks()
    publisher, taken = memory.stand.publisher(), [Taken(), Taken()]
    followers = [memory.stand.follower(each.take, ticks=ticks) for each in taken]
    await publisher.publish([put("a", 1)], at(1))
    for each in taken:
        await each.until(at(1))
    assert [s.pattern for s in memory.sink.subscriptions].count(CLOUD.tick) == 1
    memory.stand.ticker(publisher)
    await publisher.publish([], at(4))
    await followers[0].stop()
    await taken[1].until(at(4))
    await followers[1].stop()
    assert not memory.sink.subscriptions


async def test_a_tick_that_cannot_be_read_is_counted_and_said_once(
    memory: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    ticks, taken = Ticks(), Taken()
    publisher = memory.stand.publisher()
    memory.stand.follower(taken.take, ticks=ticks)
    await publisher.publish([put("a", 1)], at(1))
    await taken.until(at(1))
    for _ in range(3):
        await memory.source.publish(CLOUD.tick, b"junk")
    await until(lambda: ticks.undecodable == 3)
    assert len([r for r in caplog.records if "tick" in r.message]) == 1


async def test_who_lost_its_lease_answers_nobody_and_makes_no_fuss(
    memory: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    """A coordinator that was paused wakes up with requests that waited for it."""

    def lost() -> int:
        raise LeaseLost("gone")

    publisher = FeedPublisher(Fenced(memory.source, lost), CLOUD, NAME)
    publisher.start()
    await until(lambda: bool(memory.source.subscriptions))
    with pytest.raises(RequestTimeout):
        await memory.sink.request(CLOUD.sync + NAME, b"?", timeout=0.05)
    assert publisher.answers == 1
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
    await publisher.stop()
