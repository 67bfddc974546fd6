"""What the real connection does when servers and lines misbehave."""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import signal
import statistics
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from actors.demo.wan import Wan
from bus.api import Message
from bus.connection import BusSettings, Connection
from bus.errors import BusDown
from bus.server import EmbeddedServer, ServerSettings
from tests.bus.heard import SOON, Heard
from tests.bus.rig import Connect, Rig

PING = 0.3  # seconds


class Link:
    """Waits for a connection's link to change, and knows how long it took."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._changes: asyncio.Queue[bool] = asyncio.Queue()
        connection.on_link(self._changes.put_nowait)

    async def becomes(self, up: bool) -> float:
        began = time.monotonic()
        async with asyncio.timeout(SOON):
            while await self._changes.get() is not up:
                pass
        return time.monotonic() - began


@pytest.fixture
async def wan(rig: Rig) -> AsyncIterator[Wan]:
    async with Wan(int(rig.server.url.rpartition(":")[2])) as wan:
        yield wan


@pytest.fixture
def through(wan: Wan) -> tuple[str, ...]:
    return (f"nats://127.0.0.1:{wan.port}",)


@pytest.fixture
async def opened() -> AsyncIterator[list[Connection]]:
    """Connections that a test made itself; closed after it, each within a second."""
    connections: list[Connection] = []
    yield connections
    for connection in connections:
        async with asyncio.timeout(1):
            await connection.close()


# -- dead lines -----------------------------------------------------------------------------------


async def test_a_black_hole_is_noticed_within_two_periods(
    connect: Connect, wan: Wan, through: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    connection = await connect("admin", urls=through, ping_seconds=PING, reconnect_seconds=0.05)
    link = Link(connection)
    wan.cut()
    assert PING * 0.5 < await link.becomes(False) < PING * 2
    with pytest.raises(BusDown):
        await connection.publish("t", b"")
    assert "no answer to a ping" in caplog.text
    wan.heal()
    assert await link.becomes(True) < 2


async def test_a_frozen_server_is_noticed_within_two_periods(
    store: Path, rig: Rig, opened: list[Connection]
) -> None:
    server = EmbeddedServer(ServerSettings("s", "d", store, (rig.user("admin"),)))
    await server.start()
    try:
        settings = replace(rig.settings("admin", server.url), ping_seconds=PING)
        opened.append(connection := Connection(settings))
        await connection.start()
        await connection.wait_up(SOON)
        link = Link(connection)
        assert server.pid is not None
        os.kill(server.pid, signal.SIGSTOP)
        took = await link.becomes(False)
        os.kill(server.pid, signal.SIGCONT)
        assert took < PING * 2
        await link.becomes(True)
    finally:
        await server.stop()


async def test_a_reset_is_noticed_at_once_and_mended(
    connect: Connect, wan: Wan, through: tuple[str, ...]
) -> None:
    connection = await connect("admin", urls=through, reconnect_seconds=0.05)
    heard = Heard()
    await connection.subscribe("t.reset", heard)
    link = Link(connection)
    wan.drop()
    assert await link.becomes(False) < 0.2
    assert await link.becomes(True) < 0.5
    await connection.publish("t.reset", b"")
    await heard.at_least(1)


async def test_a_thin_line_is_not_taken_for_a_dead_one(
    connect: Connect, wan: Wan, through: tuple[str, ...]
) -> None:
    """A message that takes three ping periods, one way and then the other."""
    far = await connect("admin", urls=through, ping_seconds=PING)
    near = await connect("admin")
    here, there = Heard(), Heard()
    await near.subscribe("t.thin.up", here)
    await far.subscribe("t.thin.down", there)
    await far.flush(SOON)
    await near.flush(SOON)
    size = 2 << 20
    wan.rate = size / (3 * PING)
    await far.publish("t.thin.up", b"u" * size)
    await here.at_least(1)
    await near.publish("t.thin.down", b"d" * size)
    await there.at_least(1)
    assert far.stats().reconnects == 0


async def test_a_thin_line_s_backlog_is_not_silence_to_the_server(
    rig: Rig, store: Path, opened: list[Connection]
) -> None:
    """Answers to its pings, and to ours, wait behind three times as many seconds of messages."""
    users = (rig.user("admin"),)
    server = EmbeddedServer(ServerSettings("s", "d", store, users, silence_seconds=0.6))
    await server.start()
    try:
        async with Wan(int(server.url.rpartition(":")[2]), rate=1 << 20) as wan:
            for url in (server.url, f"nats://127.0.0.1:{wan.port}"):
                settings = replace(rig.settings("admin", url), ping_seconds=0.15)
                opened.append(Connection(settings))
                await opened[-1].start()
                await opened[-1].wait_up(SOON)
            near, far = opened
            heard = Heard()
            await far.subscribe("t.backlog", heard)
            await far.flush(SOON)
            for _ in range(30):
                await near.publish("t.backlog", b"x" * (64 << 10))
            await heard.at_least(30)
            await far.flush(SOON)
            assert far.stats().reconnects == 0
    finally:
        await server.stop()


async def test_a_flood_into_a_black_hole_is_bounded_and_ends_in_busdown(
    connect: Connect, wan: Wan, through: tuple[str, ...]
) -> None:
    connection = await connect("admin", urls=through, ping_seconds=PING)
    wan.cut()
    before = connection.stats().out_bytes
    with pytest.raises(BusDown):
        await asyncio.wait_for(_flood(connection), SOON)
    sent = connection.stats().out_bytes - before
    assert 0 < sent < 64 << 20  # socket buffers and ours, not memory without end


async def test_a_burst_waits_for_the_socket_and_loses_nothing(
    connect: Connect, wan: Wan, through: tuple[str, ...]
) -> None:
    a, b = await connect("admin", urls=through), await connect("admin")
    heard = Heard()
    await b.subscribe("t.burst", heard)
    await b.flush(SOON)
    for _ in range(200):
        await a.publish("t.burst", b"x" * 50_000)
    await heard.at_least(200)
    assert b.stats().dropped == 0


async def test_close_is_quick_in_a_black_hole_with_unsent_bytes(
    rig: Rig, wan: Wan, through: tuple[str, ...]
) -> None:
    connection = Connection(replace(rig.settings("admin"), urls=through))
    await connection.start()
    await connection.wait_up(SOON)
    wan.cut()
    task = asyncio.create_task(_flood(connection))
    await asyncio.sleep(0.1)
    async with asyncio.timeout(1):
        await connection.close()
    with pytest.raises(BusDown):
        await asyncio.wait_for(task, 1)


async def _flood(connection: Connection) -> None:
    while True:
        await connection.publish("t.flood", b"x" * 65536)


async def test_close_is_quick_while_it_connects(
    rig: Rig, wan: Wan, through: tuple[str, ...]
) -> None:
    wan.cut()
    connection = Connection(replace(rig.settings("admin"), urls=through))
    await connection.start()
    await asyncio.sleep(0.05)
    async with asyncio.timeout(0.5):
        await connection.close()


async def test_a_cancelled_flush_leaves_the_link_working(
    connect: Connect, wan: Wan, through: tuple[str, ...]
) -> None:
    """nats-py's reader dies of a PONG whose waiter was cancelled; ours are never cancelled."""
    connection = await connect("admin", urls=through, ping_seconds=5.0)
    wan.cut()
    flush = asyncio.create_task(connection.flush(SOON))
    await asyncio.sleep(0.02)
    flush.cancel()
    with pytest.raises(asyncio.CancelledError):
        await flush
    wan.heal()
    await connection.flush(SOON)
    assert connection.stats().reconnects == 0


async def test_flush_is_behind_what_was_published(connect: Connect, rig: Rig) -> None:
    """nats-py's own PING overtakes what is pending."""
    a, b = await connect("admin"), await connect("admin")
    heard = Heard()
    await b.subscribe("t.flushed", heard)
    await b.flush(SOON)
    for _ in range(20):
        await a.publish("t.flushed", b"x" * 10_000)
    await a.flush(SOON)
    await b.flush(SOON)  # the server handed on all of it before, so it is here by now
    await b.flush(SOON)
    assert len(heard) == 20


# -- servers that are not there, or say no --------------------------------------------------------


async def test_starts_before_the_server_and_does_not_storm(
    rig: Rig, opened: list[Connection], caplog: pytest.LogCaptureFixture
) -> None:
    tries = 0

    def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal tries
        tries += 1
        writer.close()

    listener = await asyncio.start_server(refuse, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    settings = replace(rig.settings("admin", f"nats://127.0.0.1:{port}"), reconnect_seconds=0.1)
    opened.append(connection := Connection(settings))
    began = time.monotonic()
    await connection.start()
    assert time.monotonic() - began < 0.05
    with pytest.raises(BusDown, match="INFO"):
        await connection.wait_up(0.55)
    listener.close()
    await listener.wait_closed()
    assert 3 <= tries <= 8
    told = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(told) == 1  # once per reason, not once per try


async def test_comes_up_when_the_server_does(
    rig: Rig, store: Path, opened: list[Connection]
) -> None:
    server = EmbeddedServer(ServerSettings("s", "d", store, (rig.user("admin"),)))
    await server.start()
    url = server.url
    await server.stop()
    settings = replace(rig.settings("admin", url), reconnect_seconds=0.05)
    opened.append(connection := Connection(settings))
    await connection.start()
    heard = Heard()
    await connection.subscribe("t.early", heard)
    await asyncio.sleep(0.1)
    assert not connection.is_up
    await server.start()
    try:
        assert server.url == url
        await connection.wait_up(SOON)
        await connection.publish("t.early", b"")
        await heard.at_least(1)
    finally:
        await server.stop()


async def test_goes_on_after_refusal_until_it_is_enrolled(
    rig: Rig, store: Path, opened: list[Connection], caplog: pytest.LogCaptureFixture
) -> None:
    server = EmbeddedServer(ServerSettings("s", "d", store, (rig.user("admin"),)))
    await server.start()
    try:
        settings = replace(rig.settings("cloud-1", server.url), reconnect_seconds=0.05)
        opened.append(connection := Connection(settings))
        await connection.start()
        with pytest.raises(BusDown, match="Authorization Violation"):
            await connection.wait_up(0.3)
        refused = [r for r in caplog.records if "Authorization Violation" in r.getMessage()]
        assert len(refused) == 1
        await server.set_users((rig.user("admin"), rig.user("cloud-1")))
        await connection.wait_up(SOON)
    finally:
        await server.stop()


async def test_takes_the_next_url(rig: Rig, opened: list[Connection]) -> None:
    urls = ("nats://127.0.0.1:1", rig.server.url)
    settings = replace(rig.settings("admin"), urls=urls, reconnect_seconds=0.02)
    opened.append(connection := Connection(settings))
    await connection.start()
    await connection.wait_up(1)


async def test_a_missing_seed_file_is_a_reason_not_an_end(
    rig: Rig, tmp_path: Path, opened: list[Connection]
) -> None:
    seed = tmp_path / "late.seed"
    settings = replace(rig.settings("admin"), seed_file=seed, reconnect_seconds=0.02)
    opened.append(connection := Connection(settings))
    await connection.start()
    with pytest.raises(BusDown, match=r"late\.seed"):
        await connection.wait_up(0.1)
    seed.write_text("this is no seed")
    with pytest.raises(BusDown):
        await connection.wait_up(0.1)
    seed.write_bytes(rig.settings("admin").seed_file.read_bytes())
    await connection.wait_up(SOON)


async def test_denials_are_counted_and_told_once(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    node = await connect("cloud-1")
    for _ in range(5):
        await node.publish("feed.data.x", b"forged")
    await node.flush(SOON)
    assert node.denied == 5
    told = [r for r in caplog.records if "permissions violation" in r.getMessage().lower()]
    assert len(told) == 1
    assert node.is_up


def test_settings_pickle_and_hold_no_secret(rig: Rig) -> None:
    settings = rig.settings("admin")
    assert pickle.loads(pickle.dumps(settings)) == settings
    seed = settings.seed_file.read_text()
    assert seed not in repr(settings)
    assert isinstance(settings, BusSettings)


# -- speed ----------------------------------------------------------------------------------------


async def test_latency(connect: Connect) -> None:
    a, b = await connect("admin"), await connect("admin")
    arrived: asyncio.Queue[float] = asyncio.Queue()

    async def note(message: Message) -> None:
        arrived.put_nowait(time.perf_counter())

    await b.subscribe("t.latency", note)
    await b.flush(SOON)
    took = []
    for _ in range(200):
        began = time.perf_counter()
        await a.publish("t.latency", b"x" * 100)
        took.append(await arrived.get() - began)
    assert statistics.median(took) < 0.002  # 0.3 ms on an idle machine
