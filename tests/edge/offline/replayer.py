"""A process that replays a queue to a real API server until it is killed:
`python -m ... PATH URL CALL`.

It kills itself (-9) when the CALL-th write was done by the API server and its answer has come, but
nothing of that is noted yet; a CALL of 0 lives to the end.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

from tests.edge.offline.worlds import Http, opened


class Deadly(Http):
    def __init__(self, url: str, call: int) -> None:
        super().__init__(url)
        self._left = call

    async def request(
        self, method: str, path: str, headers: dict[str, str], body: bytes, identity: str
    ) -> tuple[int, bytes]:
        found = await super().request(method, path, headers, body, identity)
        if method != "GET":
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return found


async def run(path: Path, url: str, call: int) -> None:
    upstream = Deadly(url, call)
    try:
        async with opened(path, clock=time.time) as offline:
            assert (await offline.replay(upstream)).left == 0
    finally:
        await upstream.close()


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
