"""The two buses that must behave alike, behind one handle."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Protocol

from actors.demo.wan import Wan
from bus.api import Bus
from bus.connection import Connection
from bus.memory import MemoryBroker, MemoryBus
from tests.bus.rig import USERS, Rig

PAYLOAD = 64 << 10  # bytes: the bound in these tests
PENDING = 32 << 10


class World(Protocol):
    async def bus(self, who: str = "admin") -> Bus:
        """A connection of its own, up."""

    async def cut(self, bus: Bus) -> None:
        """Its link is down when this returns."""

    async def heal(self, bus: Bus) -> None: ...


class RealWorld:
    """Each connection goes through a WAN of its own to a real nats-server."""

    def __init__(self, rig: Rig, stack: AsyncExitStack) -> None:
        self._rig = rig
        self._stack = stack
        self._wans: dict[Bus, Wan] = {}

    async def bus(self, who: str = "admin") -> Bus:
        port = int(self._rig.server.url.rpartition(":")[2])
        wan = await self._stack.enter_async_context(Wan(port))
        settings = replace(
            self._rig.settings(who, f"nats://127.0.0.1:{wan.port}"),
            reconnect_seconds=0.02,
            max_payload=PAYLOAD,
            pending_bytes=PENDING,
        )
        connection = Connection(settings)
        await connection.start()
        self._stack.push_async_callback(connection.close)
        self._wans[connection] = wan
        await connection.wait_up(5)
        return connection

    async def cut(self, bus: Bus) -> None:
        down = asyncio.Event()
        forget = bus.on_link(lambda up: None if up else down.set())
        self._wans[bus].cut()
        self._wans[bus].drop()
        await asyncio.wait_for(down.wait(), 5)
        forget()

    async def heal(self, bus: Bus) -> None:
        self._wans[bus].heal()
        await bus.wait_up(5)


class MemoryWorld:
    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self._broker = MemoryBroker()

    async def bus(self, who: str = "admin") -> Bus:
        prefix, allowed = USERS[who]
        made = MemoryBus(
            self._broker,
            who,
            permissions=allowed,
            inbox_prefix=prefix,
            max_payload=PAYLOAD,
            pending_bytes=PENDING,
        )
        self._stack.push_async_callback(made.close)
        return made

    async def cut(self, bus: Bus) -> None:
        assert isinstance(bus, MemoryBus)
        self._broker.cut(bus)

    async def heal(self, bus: Bus) -> None:
        assert isinstance(bus, MemoryBus)
        self._broker.heal(bus)


@asynccontextmanager
async def world_of(kind: str, rig: Rig) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        yield RealWorld(rig, stack) if kind == "nats" else MemoryWorld(stack)
