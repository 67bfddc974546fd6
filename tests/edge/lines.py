"""A line between a node and a server that a test can cut, or let go silent."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit


class Line:
    """`async with Line(url) as line`: `line.url` leads there, while it is whole."""

    def __init__(self, url: str) -> None:
        there = urlsplit(url)
        self._there = (there.hostname or "", there.port or 0)
        self._whole = asyncio.Event()
        self._whole.set()
        self._is_cut = False
        self._tasks: set[asyncio.Task[None]] = set()
        self.url = ""

    async def __aenter__(self) -> Line:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"nats://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self._end()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Connections end, new ones do not come about."""
        self._is_cut = True
        self._end()

    def black_hole(self) -> None:
        """Nothing comes through, nobody is told."""
        self._whole.clear()

    def heal(self) -> None:
        self._is_cut = False
        self._whole.set()

    def _end(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._join(reader, writer), name="line")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self._is_cut:
                return
            there = await asyncio.open_connection(*self._there)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._pump(reader, there[1]))
                    group.create_task(self._pump(there[0], writer))
            except* (OSError, EOFError):
                pass
            finally:
                there[1].close()
        finally:
            writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            await self._whole.wait()
            writer.write(data)
            await writer.drain()
        raise EOFError
