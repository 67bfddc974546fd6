"""Servers that a test starts itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bus.connection import Connection
from bus.server import EmbeddedServer, ServerSettings
from tests.bus.rig import Rig

Make = Callable[..., EmbeddedServer]
Open = Callable[..., "object"]


@pytest.fixture
async def make(rig: Rig, store: Path) -> AsyncIterator[Make]:
    """`make(...)`: a server with the rig's admin as its user; stopped after the test."""
    made: list[EmbeddedServer] = []

    def make(**changes: object) -> EmbeddedServer:
        settings = ServerSettings("s", "d", store, (rig.user("admin"),))
        made.append(EmbeddedServer(replace(settings, **changes)))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for server in made:
        await server.stop()


@pytest.fixture
async def link(rig: Rig) -> AsyncIterator[Callable[[str, str], Connection]]:
    """`link(who, url)`: a connection that has started; closed after the test."""
    made: list[Connection] = []

    def link(who: str, url: str, **changes: object) -> Connection:
        settings = replace(rig.settings(who, url), reconnect_seconds=0.05)
        made.append(Connection(replace(settings, **changes)))  # type: ignore[arg-type]
        return made[-1]

    yield link
    for connection in made:
        await connection.close()
