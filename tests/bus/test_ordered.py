"""Ordered consumers: all that is stored, in order, whatever happens on the way."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest

from bus.api import Bus, Message
from bus.connection import Connection
from bus.jetstream import NoStream, Stored, api, ensure_stream, kv_stream, kv_subject, store
from bus.ordered import OrderedConsumer
from bus.server import EmbeddedServer, ServerSettings
from tests.bus.faults import FaultyBus
from tests.bus.rig import Connect, Rig

DEADLINE = 10.0


class Followed:
    """A consumer of a bucket and what it told; "begin" marks each start."""

    def __init__(self, bus: Bus, bucket: str, heartbeat: float = 0.2) -> None:
        self.told: list[tuple[str, int] | str] = []
        self._news = asyncio.Event()
        self._bus = bus
        self._bucket = bucket
        self.consumer = OrderedConsumer(
            bus,
            kv_stream(bucket),
            kv_subject(bucket, "in.>"),
            on_begin=lambda count: self._tell(f"begin {count}"),
            on_message=self._on_message,
            prepare=self.prepare,
            heartbeat=heartbeat,
        )

    async def prepare(self) -> int:
        config = {
            "name": kv_stream(self._bucket),
            "subjects": [kv_subject(self._bucket, ">")],
            "max_msgs_per_subject": 1,
            "allow_direct": True,
        }
        return await ensure_stream(self._bus, config, 2.0)

    def _on_message(self, stored: Stored) -> None:
        self._tell((stored.subject.rsplit(".", 1)[1], int(stored.data)))

    def _tell(self, what: tuple[str, int] | str) -> None:
        self.told.append(what)
        self._news.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE):
            while not condition():
                self._news.clear()
                await self._news.wait()

    async def heard(self, *wanted: tuple[str, int] | str) -> None:
        await self.until(lambda: self.told[-len(wanted) :] == list(wanted))


@pytest.fixture
async def bus(connect: Connect) -> Connection:
    return await connect("pool-1")


@pytest.fixture
async def bucket(bus: Bus) -> AsyncIterator[str]:
    name = f"o-{secrets.token_hex(4)}"
    yield name
    try:
        await api(bus, f"STREAM.DELETE.{kv_stream(name)}", None, 2.0)
    except NoStream:
        return


@pytest.fixture
async def followed(bus: Bus, bucket: str) -> AsyncIterator[Followed]:
    made = Followed(bus, bucket)
    yield made
    await made.consumer.stop()


async def put(bus: Bus, bucket: str, key: str, number: int) -> None:
    await store(bus, kv_subject(bucket, f"in.{key}"), str(number).encode(), {}, 2.0)


async def test_first_what_there_is_then_what_comes(
    bus: Bus, bucket: str, followed: Followed
) -> None:
    await followed.prepare()
    for number in range(3):
        await put(bus, bucket, f"k{number}", number)
    await put(bus, bucket, "k0", 10)
    await store(bus, kv_subject(bucket, "other"), b"1", {}, 2.0)
    followed.consumer.start()
    await followed.heard("begin 3", ("k1", 1), ("k2", 2), ("k0", 10))
    await put(bus, bucket, "k1", 11)
    await followed.heard(("k0", 10), ("k1", 11))
    assert followed.consumer.restarts == 0


async def test_it_makes_the_stream_and_begins_with_nothing(
    bus: Bus, bucket: str, followed: Followed
) -> None:
    followed.consumer.start()
    await followed.heard("begin 0")
    await put(bus, bucket, "a", 1)
    await followed.heard("begin 0", ("a", 1))


async def test_in_order_while_much_comes(bus: Bus, bucket: str, followed: Followed) -> None:
    followed.consumer.start()
    await followed.heard("begin 0")
    subject = kv_subject(bucket, "in.a")
    for number in range(3000):
        await bus.publish(subject, str(number).encode())
    await followed.heard(("a", 2999))
    numbers = [entry[1] for entry in followed.told if isinstance(entry, tuple)]
    assert numbers == sorted(set(numbers))


async def test_large_values_pass_the_flow_control(
    bus: Connection, bucket: str, followed: Followed
) -> None:
    await followed.prepare()
    for number in range(60):
        data = str(number).encode().rjust(1 << 20)
        await bus.publish(kv_subject(bucket, f"in.k{number}"), data)
        if number % 10 == 9:
            await bus.flush(5)
    followed.consumer.start()
    await followed.heard(*[(f"k{number}", number) for number in range(60)])
    assert bus.denied == 0  # flow control and the rest are within a node's permissions


def losing(bus: Bus, data: bytes) -> FaultyBus:
    """Loses the first message with this data."""
    faulty = FaultyBus(bus)

    def drop(message: Message) -> bool:
        if message.data != data:
            return False
        faulty.drop = lambda _: False
        return True

    faulty.drop = drop
    return faulty


async def test_a_lost_message_is_noticed_by_the_next_one(bus: Bus, bucket: str) -> None:
    followed = Followed(losing(bus, b"2"), bucket, heartbeat=5.0)
    followed.consumer.start()
    await followed.heard("begin 0")
    await put(bus, bucket, "a", 1)
    await followed.heard(("a", 1))
    await put(bus, bucket, "a", 2)
    await put(bus, bucket, "b", 3)
    await followed.heard(("a", 1), "begin 2", ("a", 2), ("b", 3))
    await followed.consumer.stop()


async def test_a_lost_tail_is_noticed_by_a_heartbeat(bus: Bus, bucket: str) -> None:
    followed = Followed(losing(bus, b"1"), bucket)
    followed.consumer.start()
    await followed.heard("begin 0")
    await put(bus, bucket, "a", 1)
    await followed.heard("begin 0", "begin 1", ("a", 1))
    await followed.consumer.stop()


async def test_silence_is_noticed(bus: Bus, bucket: str) -> None:
    """The consumer is gone at the server."""
    followed = Followed(bus, bucket)
    followed.consumer.start()
    await followed.heard("begin 0")
    names = await api(bus, f"CONSUMER.NAMES.{kv_stream(bucket)}", None, 2.0)
    (name,) = names["consumers"]
    await api(bus, f"CONSUMER.DELETE.{kv_stream(bucket)}.{name}", None, 2.0)
    await put(bus, bucket, "a", 1)
    await followed.heard("begin 0", "begin 1", ("a", 1))
    await followed.consumer.stop()


async def test_a_deleted_stream_is_made_anew(bus: Bus, bucket: str, followed: Followed) -> None:
    followed.consumer.start()
    await followed.heard("begin 0")
    await put(bus, bucket, "a", 1)
    await followed.heard(("a", 1))
    await api(bus, f"STREAM.DELETE.{kv_stream(bucket)}", None, 2.0)
    await followed.heard(("a", 1), "begin 0")


async def test_stopping_leaves_no_consumer_behind(
    bus: Bus, bucket: str, followed: Followed
) -> None:
    followed.consumer.start()
    await followed.heard("begin 0")
    await followed.consumer.stop()
    await followed.consumer.stop()
    async with asyncio.timeout(2):  # sooner than the server forgets by itself
        while (await api(bus, f"CONSUMER.NAMES.{kv_stream(bucket)}", None, 2.0))["consumers"]:
            pass


async def test_it_goes_on_after_a_crash_of_the_server(rig: Rig, tmp_path: Path) -> None:
    users = (rig.user("pool-1"),)
    server = EmbeddedServer(ServerSettings("own", "pool-a", tmp_path / "bus", users))
    await server.start()
    bus = Connection(rig.settings("pool-1", server.url))
    await bus.start()
    followed = Followed(bus, "o", heartbeat=1.0)
    followed.consumer.start()
    try:
        await followed.heard("begin 0")
        await put(bus, "o", "a", 1)
        await followed.heard(("a", 1))
        assert server.pid is not None
        psutil.Process(server.pid).kill()
        await followed.heard(("a", 1), "begin 1", ("a", 1))
        await put(bus, "o", "a", 2)
        await followed.heard(("a", 2))
    finally:
        await followed.consumer.stop()
        await bus.close()
        await server.stop()
