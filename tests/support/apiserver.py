"""The embedded API server alone in a process, so that it can be killed alone.

python -m tests.support.apiserver STATE PORT MAX_OBJECT
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from cloud.apiserver import ApiServerSettings, EmbeddedApiServer


async def main(state: Path, port: int, max_object: int) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    settings = ApiServerSettings(port=port, max_object=max_object)
    async with EmbeddedApiServer(state, settings) as server:
        sys.stderr.write(f"serving at {server.url}\n")
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
