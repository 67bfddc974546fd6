"""The bridge: what the cloud says reaches the coordinator's side, and syncs go the other way."""

from __future__ import annotations

import asyncio

import pytest
from loguru import logger

from bus import subjects
from bus.errors import BusDown
from bus.feed import Batch, FeedFollower
from bus.fence import HEADER, Fenced
from bus.memory import MemoryBroker, MemoryBus
from edge.leader.relay import MAX_SYNCS, Relay
from tests.actors.until import until
from tests.edge.worlds import CloudFeed, owned_tasks


async def test_a_follower_in_the_pool_equals_the_cloud_through_the_relay() -> None:
    cloud_broker, pool_broker = MemoryBroker(), MemoryBroker()
    site, node_up = MemoryBus(cloud_broker, "cloud"), MemoryBus(cloud_broker, "cloud")
    pool = MemoryBus(pool_broker, "pool")
    batches: list[Batch] = []

    async def keep(batch: Batch) -> None:
        batches.append(batch)

    follower = FeedFollower(pool, subjects.POOL_UP_FEEDS, "things", None, keep)
    async with owned_tasks() as tasks, CloudFeed(site, "things") as feed:
        await feed.put("a", 1, b"one")
        relay = Relay(node_up, Fenced(pool, lambda: 7), tasks, logger)
        await relay.start()
        follower.start()
        await feed.put("b", 2, b"two")
        await until(lambda: follower.position.version == 2, "the follower is at version 2")
        assert {key: item.data for key, item in follower.items.items()} == {
            "a": b"one",
            "b": b"two",
        }
        assert relay.counters.syncs > 0
        await relay.stop()
        await follower.stop()


async def test_all_that_is_handed_on_carries_the_token() -> None:
    cloud_broker, pool_broker = MemoryBroker(), MemoryBroker()
    site, node_up = MemoryBus(cloud_broker, "cloud"), MemoryBus(cloud_broker, "cloud")
    pool = MemoryBus(pool_broker, "pool")
    heard: asyncio.Queue[str] = asyncio.Queue()
    listening = await pool.subscribe(
        "pool.up.>", lambda m: heard.put_nowait(m.headers.get(HEADER, "none"))
    )
    async with owned_tasks() as tasks, CloudFeed(site, "things") as feed:
        relay = Relay(node_up, Fenced(pool, lambda: 7), tasks, logger)
        await relay.start()
        await feed.put("a", 1, b"one")
        async with asyncio.timeout(5):
            assert {await heard.get() for _ in range(3)} == {"7"}
        await relay.stop()
    await listening.unsubscribe()


async def test_a_dead_pool_bus_is_counted_and_stops_nothing() -> None:
    cloud_broker, pool_broker = MemoryBroker(), MemoryBroker()
    site, node_up = MemoryBus(cloud_broker, "cloud"), MemoryBus(cloud_broker, "cloud")
    pool = MemoryBus(pool_broker, "pool")
    async with owned_tasks() as tasks, CloudFeed(site, "things") as feed:
        relay = Relay(node_up, pool, tasks, logger)
        await relay.start()
        pool_broker.cut(pool)
        await feed.put("a", 1, b"one")
        await feed.put("a", 2, b"two")
        await until(lambda: relay.counters.failures >= 2, "two messages could not be handed on")
        await relay.stop()


async def test_syncs_beyond_the_bound_are_dropped_and_counted() -> None:
    cloud_broker, pool_broker = MemoryBroker(), MemoryBroker()
    node_up, pool = MemoryBus(cloud_broker, "cloud"), MemoryBus(pool_broker, "pool")
    asker = MemoryBus(pool_broker, "pool")
    silent = MemoryBus(cloud_broker, "cloud")
    listening = await silent.subscribe(subjects.CLOUD_FEEDS.sync + "*", lambda _: None)
    async with owned_tasks() as tasks:
        relay = Relay(node_up, pool, tasks, logger)
        await relay.start()
        for _ in range(MAX_SYNCS + 3):
            await asker.publish(subjects.POOL_UP_FEEDS.sync + "things", b"?", reply="_INBOX.x")
        await until(lambda: relay.counters.failures == 3, "three were dropped")
        await relay.stop()
    await listening.unsubscribe()


async def test_a_cut_cloud_link_fails_syncs_quickly() -> None:
    cloud_broker, pool_broker = MemoryBroker(), MemoryBroker()
    node_up, pool = MemoryBus(cloud_broker, "cloud"), MemoryBus(pool_broker, "pool")
    asker = MemoryBus(pool_broker, "pool")
    async with owned_tasks() as tasks:
        relay = Relay(node_up, pool, tasks, logger)
        await relay.start()
        cloud_broker.cut(node_up)
        with pytest.raises(BusDown):
            await node_up.publish("x", b"")
        await asker.publish(subjects.POOL_UP_FEEDS.sync + "things", b"?", reply="_INBOX.x")
        await until(lambda: relay.counters.failures == 1, "it failed")
        await relay.stop()
