"""A WAN link on one machine: forwards TCP, counts the bytes, and can go dark. No root needed."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field

_CHUNK = 64 << 10


@dataclass
class Wan:
    """One node's way to the cloud. Bytes are TCP payload, counted as they are handed on."""

    host: str
    port: int
    bytes_up: int = 0
    bytes_down: int = 0
    _open: asyncio.Event = field(default_factory=asyncio.Event)
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    @classmethod
    async def start(cls, host: str, port: int) -> Wan:
        """A link to `host:port`; `url` is where a node dials in."""
        wan = cls(host, port)
        wan._open.set()
        wan._server = await asyncio.start_server(wan._accept, "127.0.0.1", 0)
        return wan

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"nats://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def cut(self) -> None:
        """Goes dark like a dead line: connections stay open, nothing passes, nobody is told."""
        self._open.clear()

    def heal(self) -> None:
        """Connections from before it went dark end: what was under way is lost, as on a line."""
        self.drop()
        self._open.set()

    def drop(self) -> None:
        """Resets every open connection; new ones are taken."""
        for writer in self._writers:
            writer.transport.abort()

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        self.drop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._join(reader, writer), name=f"wan to {self.port}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _join(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        self._writers.add(back)
        try:
            await self._open.wait()
            far, forth = await asyncio.open_connection(self.host, self.port)
        except OSError:
            self._close(back)
            return
        self._writers.add(forth)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(near, forth, up=True))
                group.create_task(self._pump(far, back, up=False))
        finally:
            self._close(back)
            self._close(forth)

    def _close(self, writer: asyncio.StreamWriter) -> None:
        self._writers.discard(writer)
        writer.transport.abort()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, up: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                await self._open.wait()
                if writer.is_closing():  # dropped while it was dark
                    return
                writer.write(data)
                await writer.drain()
                self._count(len(data), up)
        writer.transport.abort()  # half-closed lines are of no use to NATS

    def _count(self, size: int, up: bool) -> None:
        if up:
            self.bytes_up += size
        else:
            self.bytes_down += size
