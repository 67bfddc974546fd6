"""A process that writes offline until it is killed: `python -m ... PATH FROM`.

It prints each number once its write was answered. Every write is an event of its own; every third
also a status patch, so that all of the last answered number's can be looked for.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from actors.kube import builtin
from tests.edge.offline.worlds import NODE, Known, event, node, opened, patch_status, write


async def run(path: Path, number: int) -> None:
    known = Known()
    known.put(builtin.NODES, node())
    async with opened(path, known) as offline:
        while True:
            number += 1
            if number % 3 == 0:
                await patch_status(offline, builtin.NODES, NODE, {"phase": str(number)})
            await write(offline, "create", builtin.EVENTS, "", event(f"e{number}", number))
            print(number, flush=True)  # noqa: T201


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1]), int(sys.argv[2])))
