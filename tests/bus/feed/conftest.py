"""The stands: buses in memory, and a real nats-server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from bus.connection import Connection
from bus.memory import MemoryBroker, MemoryBus
from tests.bus.feed.stand import DEADLINE, Memory, Stand
from tests.bus.rig import Rig


@pytest.fixture(params=["memory", "real"])
async def stand(request: pytest.FixtureRequest) -> AsyncIterator[Stand]:
    async with AsyncExitStack() as stack:
        if request.param == "real":
            rig: Rig = request.getfixturevalue("rig")
            ends = [Connection(rig.settings(who)) for who in ("admin", "cloud-1")]
            for end in ends:
                await end.start()
                stack.push_async_callback(end.close)
                await end.wait_up(DEADLINE)
            yield Stand(stack, *ends)
        else:
            broker = MemoryBroker()
            yield Stand(stack, MemoryBus(broker, "cloud"), MemoryBus(broker, "cloud"))


@pytest.fixture
async def memory() -> AsyncIterator[Memory]:
    broker = MemoryBroker()
    source, sink = MemoryBus(broker, "cloud"), MemoryBus(broker, "cloud")
    async with AsyncExitStack() as stack:
        yield Memory(broker, source, sink, Stand(stack, source, sink))
