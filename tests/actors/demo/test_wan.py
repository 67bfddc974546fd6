"""The WAN forwarder must itself be trusted: other tests judge by it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from actors.demo.wan import Wan


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1024):
        writer.write(data)
    writer.close()


@pytest.fixture
async def wan() -> AsyncIterator[Wan]:
    server = await asyncio.start_server(_echo, "127.0.0.1", 0)
    async with Wan(server.sockets[0].getsockname()[1]) as wan:
        yield wan
    server.close()
    await server.wait_closed()


async def test_forwards_and_counts(wan: Wan) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", wan.port)
    writer.write(b"hello")
    assert await reader.readexactly(5) == b"hello"
    assert (wan.up_bytes, wan.down_bytes) == (5, 5)
    writer.close()


async def test_cut_holds_back_and_heal_delivers(wan: Wan) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", wan.port)
    writer.write(b"a")
    await reader.readexactly(1)
    wan.cut()
    writer.write(b"b")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(1), 0.05)
    assert wan.up_bytes == 1
    wan.heal()
    assert await asyncio.wait_for(reader.readexactly(1), 1) == b"b"
    writer.close()


async def test_connections_made_during_a_cut_hang_until_heal(wan: Wan) -> None:
    wan.cut()
    reader, writer = await asyncio.open_connection("127.0.0.1", wan.port)
    writer.write(b"x")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(1), 0.05)
    wan.heal()
    assert await asyncio.wait_for(reader.readexactly(1), 1) == b"x"
    writer.close()


async def test_a_thin_line_takes_its_time(wan: Wan) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", wan.port)
    wan.rate = 10_000
    began = asyncio.get_running_loop().time()
    writer.write(b"x" * 500)
    await reader.readexactly(500)
    assert asyncio.get_running_loop().time() - began >= 0.05
    writer.close()


async def test_drop_resets_both_ends(wan: Wan) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", wan.port)
    writer.write(b"x")
    await reader.readexactly(1)
    wan.drop()
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(reader.readexactly(1), 1)
    writer.close()


async def test_stop_while_cut_leaves_nothing(wan: Wan) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", wan.port)
    wan.cut()
    await asyncio.wait_for(wan.stop(), 1)
    assert wan.connections == 0
    writer.close()
