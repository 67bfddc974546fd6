"""Cloud links of nodes that neither lead nor fall back: real connections, which only ping."""

from __future__ import annotations

import asyncio
from pathlib import Path

from bus import permissions
from bus.connection import BusSettings, Connection
from bus.keys import NodeKey

UP_SECONDS = 30.0


class Links:
    """Nodes of pool "pool" by name, enrolled here; their connections are the product's own."""

    def __init__(self, url: str, directory: str, enrolment: str) -> None:
        self._url = url
        self._directory = Path(directory)
        self._enrolment = Path(enrolment)
        self._made: list[Connection] = []

    async def open(self, nodes: list[str]) -> int:
        for node in nodes:
            key = NodeKey.load_or_create(self._directory / node / "node.seed")
            (self._enrolment / f"pool.{node}.pub").write_text(key.public + "\n")
            settings = BusSettings(
                name="cloud",
                urls=(self._url,),
                seed_file=key.seed_file,
                client=f"pool/{node}",
                inbox_prefix=permissions.inbox_prefix("pool", node),
            )
            self._made.append(Connection(settings))
        for connection in self._made:
            await connection.start()
        await asyncio.gather(*(each.wait_up(UP_SECONDS) for each in self._made))
        return len(self._made)

    async def close(self) -> None:
        for connection in self._made:
            await connection.close()
