"""Parts of a bench in processes of their own: an object whose methods are called by JSON lines.

`python -m tests.bench.child package.module:Class '{"argument": 1}'` makes the object; each line of
stdin `[method, arguments]` is answered by a line of stdout. The end of stdin ends the process, so
nothing outlives the bench.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import os
import sys
from typing import Any, Self

import uvloop
from loguru import logger

LINE = 64 << 20  # bytes; a part's answer may hold many figures


class PartFailed(Exception):
    """What a part answered instead of a result."""


class Child:
    """The near end. `core` pins the process, so that two parts do not disturb each other."""

    def __init__(self, part: str, core: int | None = None, **arguments: Any) -> None:
        self._part = part
        self._core = core
        self._arguments = arguments
        self._process: asyncio.subprocess.Process | None = None
        self._asking = asyncio.Lock()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def __aenter__(self) -> Self:
        command = [sys.executable, "-m", "tests.bench.child", self._part]
        self._process = await asyncio.create_subprocess_exec(
            *command,
            json.dumps(self._arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LINE,
        )
        if self._core is not None:
            os.sched_setaffinity(self._process.pid, {self._core % (os.cpu_count() or 1)})
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(20):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    async def call(self, method: str, **arguments: Any) -> Any:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        async with self._asking:
            self._process.stdin.write(json.dumps([method, arguments]).encode() + b"\n")
            answer = await self._process.stdout.readline()
        if not answer:
            raise PartFailed(f"{self._part}.{method}: the process ended")
        result, error = json.loads(answer)
        if error:
            raise PartFailed(f"{self._part}.{method}: {error}")
        return result


async def _serve(part: str, arguments: dict[str, Any]) -> None:
    module, _, name = part.partition(":")
    made = getattr(importlib.import_module(module), name)(**arguments)
    reader = asyncio.StreamReader(limit=LINE)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    try:
        while line := await reader.readline():
            method, given = json.loads(line)
            sys.stdout.write(json.dumps(await _answer(made, method, given)) + "\n")
            sys.stdout.flush()
    finally:
        await made.close()


async def _answer(made: Any, method: str, arguments: dict[str, Any]) -> tuple[Any, str]:
    try:
        return await getattr(made, method)(**arguments), ""
    except Exception as error:
        logger.opt(exception=error).debug("{} failed", method)
        return None, repr(error)


def main() -> None:
    logger.remove()
    logger.add(sys.stderr, level=os.environ.get("BENCH_LOG", "ERROR"))
    logging.basicConfig(level=logging.ERROR)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(sys.argv[1], json.loads(sys.argv[2])))


if __name__ == "__main__":
    main()
