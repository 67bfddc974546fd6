"""The age that a feed tells is honest: never fresher than it is, and no older for nothing."""

from __future__ import annotations

import asyncio

from bus.api import Message
from bus.feed import (
    Batch,
    FeedPublisher,
    PublisherCore,
    encode_tick,
)
from bus.memory import MemoryBroker, MemoryBus
from tests.bus.feed.stand import CLOUD, NAME, Clock, Memory, Taken, at, put, until


async def test_what_the_consumer_still_works_on_is_not_confirmed(memory: Memory) -> None:
    """A coordinator that cannot commit must not tell its hubs that they are current."""
    clock, gate = Clock(), asyncio.Event()
    gate.set()

    async def take(_: Batch) -> None:
        await gate.wait()

    publisher = memory.stand.publisher()
    follower = memory.stand.follower(take, clock=clock)
    await publisher.publish([put("a", 1)], at(1))
    await until(follower.synced.is_set)
    gate.clear()
    await publisher.publish([put("a", 2)], at(2))
    await until(lambda: follower.position == at(2))
    clock.now += 30
    ticker, sent = memory.stand.ticker(publisher), memory.source.stats().out_messages
    ticker.poke()
    await until(lambda: memory.source.stats().out_messages > sent)
    for _ in range(10):
        await asyncio.sleep(0)
    assert follower.age() == 30.0
    gate.set()
    await until(lambda: follower.age() == 0.0)


async def test_ticks_are_believed_also_where_frames_never_cease(memory: Memory) -> None:
    """At no tick the follower has all that was sent, but always what an earlier one spoke of."""
    clock, turn = Clock(), asyncio.Semaphore(1)
    publisher = memory.stand.publisher()

    async def take(_: Batch) -> None:
        await turn.acquire()

    follower = memory.stand.follower(take, clock=clock)
    await publisher.publish([put("a", 1)], at(1))
    await until(follower.synced.is_set)
    for version in range(2, 12):
        await publisher.publish([put("a", version)], at(version))
        await publisher.drain()
        clock.now += 1
        entry = publisher.tick_entry()
        assert entry is not None
        await memory.source.publish(CLOUD.tick, encode_tick([entry]))
        if version > 2:
            turn.release()
        await until(lambda v=version: follower.position == at(max(2, v - 1)))  # type: ignore[misc]
        assert follower.core.counts["gaps"] == 0
    assert follower.age() <= 3.0  # it is two seconds behind, and heard of that each second


async def test_an_answer_is_as_old_as_its_question(memory: Memory) -> None:
    """On a thin link it may take a minute to come."""
    clock, core = Clock(), PublisherCore(NAME, 7)
    core.publish([put("a", 1)], at(1))

    async def answer(message: Message) -> None:
        data = core.answer(message.data, 0.0)
        clock.now += 20
        await memory.source.publish(message.reply, data)

    listening = await memory.source.subscribe(CLOUD.sync + NAME, answer)
    follower = memory.stand.follower(Taken().take, clock=clock)
    await until(follower.synced.is_set)
    assert follower.age() == 20.0
    await listening.unsubscribe()


async def test_ticks_that_waited_while_we_were_paused_are_not_believed(memory: Memory) -> None:
    """A stopped process, or a suspended machine, reads first what was sent before."""
    clock, taken = Clock(), Taken()
    publisher = memory.stand.publisher()
    follower = memory.stand.follower(taken.take, clock=clock)
    await publisher.publish([put("a", 1)], at(1))
    await until(follower.synced.is_set)
    entry = publisher.tick_entry()
    assert entry is not None
    await publisher.stop()  # long gone when we wake up
    clock.now += 3600
    for _ in range(3):
        await memory.source.publish(CLOUD.tick, encode_tick([entry]))
    for _ in range(20):
        await asyncio.sleep(0)
    assert follower.age() == 3600.0
    successor = memory.stand.publisher()
    successor.restore(dict(publisher.items), publisher.position)
    await successor.publish([put("a", 2)], at(2))
    await until(lambda: follower.core.counts["frames"] > 0)
    clock.now += 10  # it may ask again
    await taken.until(at(2))
    await until(lambda: follower.age() == 0.0)


async def test_what_waits_behind_a_frame_in_flight_counts_in_the_age() -> None:
    """The source is current, but followers cannot get it: a link that hangs holds it up."""
    clock, gate = Clock(), asyncio.Event()

    class Hanging(MemoryBus):
        async def flush(self, timeout: float) -> None:
            await gate.wait()

    publisher = FeedPublisher(Hanging(MemoryBroker(), "cloud"), CLOUD, NAME, clock=clock)
    publisher.start()
    await publisher.publish([put("a", 1)], at(1))
    await publisher.drain()
    await publisher.publish([put("a", 2)], at(2))
    clock.now += 1.5
    entry = publisher.tick_entry()
    assert entry is not None
    assert (entry.position, entry.age) == (at(1), 1.5)
    gate.set()
    await publisher.drain()
    entry = publisher.tick_entry()
    assert entry is not None
    assert (entry.position, entry.age) == (at(2), 0.0)
    await publisher.stop()
