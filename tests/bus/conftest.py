"""A real nats-server for all tests of the bus, and connections to it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from tests.bus.rig import Connect, Rig


@pytest.fixture(scope="session")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """One EmbeddedServer for the whole run, in a loop and thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="bus server", daemon=True)
    thread.start()
    rig = Rig(tmp_path_factory.mktemp("bus"))
    asyncio.run_coroutine_threadsafe(rig.server.start(), loop).result(20)
    yield rig
    asyncio.run_coroutine_threadsafe(rig.server.stop(), loop).result(20)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5)
    loop.close()


@pytest.fixture
async def connect(rig: Rig) -> AsyncIterator[Connect]:
    """`await connect("admin")`: a connection that is up; closed after the test."""
    async with AsyncExitStack() as stack:

        async def connect(who: str, **changes: object) -> object:
            from bus.connection import Connection

            settings = replace(rig.settings(who), **changes)  # type: ignore[arg-type]
            connection = Connection(settings)
            await connection.start()
            stack.push_async_callback(connection.close)
            await connection.wait_up(5)
            return connection

        yield connect  # type: ignore[misc]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Where a server of a test's own keeps its files."""
    return tmp_path / "bus"
