"""kill -9 in the middle of writes: what was acknowledged is there, and versions never go back."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp

from cloud.apiserver import EmbeddedApiServer
from tests.cloud.apiserver.api import CONFIG_MAPS, Api, config_map

PROGRAM = """
import asyncio, pathlib, sys
from cloud.apiserver import EmbeddedApiServer
async def main():
    async with EmbeddedApiServer(pathlib.Path(sys.argv[1])) as server:
        print(server.url, flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""


@contextlib.asynccontextmanager
async def other_process(state: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PROGRAM,
        str(state),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(20):
            url = (await process.stdout.readline()).decode().strip()
        yield process, url
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def write_until_it_dies(
    api: Api, prefix: str, kept: dict[str, int], many: asyncio.Event
) -> None:
    number = 0
    with contextlib.suppress(aiohttp.ClientError, OSError):
        while True:
            number += 1
            name = f"{prefix}{number}"
            answer = await api.post(CONFIG_MAPS, config_map(name, text="x" * 500))
            assert answer.code == 201
            kept[name] = answer.version
            if len(kept) >= 200:
                many.set()


async def test_acknowledged_writes_survive_a_kill(tmp_path: Path) -> None:
    kept: dict[str, int] = {}
    async with other_process(tmp_path) as (process, url):
        api = Api(url)
        many = asyncio.Event()
        writers = [
            asyncio.create_task(write_until_it_dies(api, f"{letter}-", kept, many))
            for letter in "abcd"
        ]
        async with asyncio.timeout(20):
            await many.wait()
        process.send_signal(signal.SIGKILL)
        await asyncio.gather(*writers)
        assert await process.wait() == -signal.SIGKILL
        await api.close()
    async with EmbeddedApiServer(tmp_path) as server:
        api = Api(server.url)
        listed = await api.get(CONFIG_MAPS)
        found = {
            item["metadata"]["name"]: int(item["metadata"]["resourceVersion"])
            for item in listed.body["items"]
        }
        assert kept.items() <= found.items()
        assert listed.version >= max(kept.values())
        await api.close()
