"""A process that writes the known history until it is killed: `python -m ... PATH FROM`.

It prints each version once it was told that it is kept.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from bus.feed.types import Batch, Position
from edge.cache import CacheSettings
from tests.edge.cache.worlds import MINE, change, opened, state


async def write(path: Path, version: int) -> None:
    async with opened(path, CacheSettings(linger=0.0, settle=0.01)) as cache:
        cache.replace("kubelet", MINE, version, state(version))
        cache.replace_feed("f", state(version), Position(1, version))
        while True:
            version += 1
            cache.apply("kubelet", MINE, [change(version)], version)
            cache.save_feed("f", Batch((change(version),), Position(1, version)))
            if version % 3 == 0 and await cache.flush():
                print(version, flush=True)  # noqa: T201
            if version % 50 == 0:
                await asyncio.sleep(0.02)  # it settles


if __name__ == "__main__":
    asyncio.run(write(Path(sys.argv[1]), int(sys.argv[2])))
