"""A pool's bus on a machine of its own: nats-server under `EmbeddedServer`'s supervision.

python -m tests.support.busd POOL STATE HOST PORT STORAGE DISK NODE...

With a DISK (bytes, else 0) its store is a disk of that size, which nobody else sees.
"""

from __future__ import annotations

import asyncio
import ctypes
import signal
import sys
from pathlib import Path

from bus import permissions
from bus.keys import NodeKey
from bus.server import EmbeddedServer, ServerSettings, ServerUser

CLONE_NEWNS = 0x00020000
MS_REC, MS_PRIVATE = 0x4000, 1 << 18


def _user(pool: str, node: str, state: Path) -> ServerUser:
    key = NodeKey.load_or_create(state / "nodes" / node / "node.seed")
    return ServerUser(key.public, *permissions.pool_node(pool, node))


def _mount(store: Path, size: int) -> None:
    """In a mount namespace of our own, so that nothing is left of it when we end."""
    store.mkdir(parents=True, exist_ok=True)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) or libc.mount(None, b"/", None, MS_PRIVATE | MS_REC, None):
        raise OSError(ctypes.get_errno(), "a mount namespace (needs root)")
    if libc.mount(b"tmpfs", bytes(store), b"tmpfs", 0, f"size={size}".encode()):
        raise OSError(ctypes.get_errno(), f"a disk at {store}")


async def main(pool: str, state: Path, address: tuple[str, int], rest: list[str]) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    storage, disk, *nodes = rest
    if int(disk):
        _mount(state / "bus", int(disk))
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
