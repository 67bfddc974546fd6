"""A WAN link that counts: TCP payload of each direction, and it can be cut."""

from __future__ import annotations

import asyncio
from typing import Self
from urllib.parse import urlsplit

_ROOM = 256 << 10  # bytes read at once


class Relay:
    """In front of `url`; `async with Relay(url) as relay: connect_to(relay.url)`."""

    def __init__(self, url: str) -> None:
        self._target = urlsplit(url)
        self.sent = 0  # bytes towards the target
        self.got = 0
        self.connections = 0  # made so far
        self._is_cut = False
        self._server: asyncio.Server | None = None
        self._carrying: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=_ROOM)
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._server is not None
        self._server.close()
        await self.cut()

    @property
    def url(self) -> str:
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        return f"{self._target.scheme}://127.0.0.1:{port}"

    @property
    def carried(self) -> int:
        return self.sent + self.got

    async def cut(self) -> None:
        """Until `heal`, whoever connects is turned away at once."""
        self._is_cut = True
        for task in self._carrying:
            task.cancel()
        await asyncio.gather(*self._carrying, return_exceptions=True)

    def heal(self) -> None:
        self._is_cut = False

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_cut:
            writer.transport.abort()
            return
        self.connections += 1
        task = asyncio.create_task(self._carry(reader, writer), name="relay")
        self._carrying.add(task)
        task.add_done_callback(self._carrying.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Until one side ends: of a half-closed connection nobody here has any use."""
        far_reader, far_writer = await asyncio.open_connection(
            self._target.hostname, self._target.port, limit=_ROOM
        )
        ways = [
            asyncio.create_task(self._pump(reader, far_writer, is_up=True), name="relay up"),
            asyncio.create_task(self._pump(far_reader, writer, is_up=False), name="relay down"),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for end in (writer, far_writer):
                end.close()  # what was read before the end is still sent

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, is_up: bool
    ) -> None:
        while data := await source.read(_ROOM):
            if is_up:
                self.sent += len(data)
            else:
                self.got += len(data)
            sink.write(data)
            await sink.drain()
