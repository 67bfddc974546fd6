"""A process that owns a server: prints its url and pid, then waits to be killed. Run by a test."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from bus.server import EmbeddedServer, ServerSettings


async def main(store: str) -> None:
    server = EmbeddedServer(ServerSettings("s", "d", Path(store), ()))
    await server.start()
    sys.stdout.write(f"{server.url} {server.pid}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
