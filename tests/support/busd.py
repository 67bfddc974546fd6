"""A pool's bus on a machine of its own: nats-server under `EmbeddedServer`'s supervision.

python -m tests.support.busd POOL STATE HOST PORT STORAGE NODE...
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from bus import permissions
from bus.keys import NodeKey
from bus.server import EmbeddedServer, ServerSettings, ServerUser


def _user(pool: str, node: str, state: Path) -> ServerUser:
    key = NodeKey.load_or_create(state / "nodes" / node / "node.seed")
    return ServerUser(key.public, *permissions.pool_node(pool, node))


async def main(pool: str, state: Path, address: tuple[str, int], rest: list[str]) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    storage, *nodes = rest
    server = EmbeddedServer(
        ServerSettings(
            name="pool",
            domain=pool,
            store=state / "bus",
            users=tuple(_user(pool, node, state) for node in nodes),
            host=address[0],
            port=address[1],
            storage_bytes=int(storage),
        )
    )
    await server.start()
    sys.stderr.write(f"serving at {server.url}\n")
    await stop.wait()
    await server.stop()


if __name__ == "__main__":
    pool, state, host, port, *rest = sys.argv[1:]
    asyncio.run(main(pool, Path(state), (host, int(port)), rest))
