"""A TCP forwarder that plays the WAN: black holes, resets, and counts of what crossed. No root."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from types import TracebackType
from typing import Self

_CHUNK = 64 << 10
_BUFFER = 32 << 10
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close sends RST


class Wan:
    """Listens on a loopback port of its own and forwards to `host:port`.

    `up_bytes` and `down_bytes` count TCP payload towards the server and back. Connections made
    during a cut hang, as behind a real black hole: nothing is forwarded, no end of file either.
    `rate` makes it thin: bytes per second, each way and connection; it may be changed any time.
    """

    def __init__(self, port: int, host: str = "127.0.0.1", *, rate: float = 0.0) -> None:
        self.target = (host, port)
        self.rate = rate  # 0: as fast as it goes
        self.port = 0  # ours, after `start`
        self.up_bytes = 0
        self.down_bytes = 0
        self._open = asyncio.Event()
        self._open.set()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        # What we hold back should be held back at the sender, as on a real thin or dead line.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        self._server = await asyncio.start_server(self._accept, sock=listener, limit=_BUFFER)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        self.drop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    @property
    def is_cut(self) -> bool:
        return not self._open.is_set()

    @property
    def connections(self) -> int:
        return len(self._tasks)

    def cut(self) -> None:
        """Black hole: nothing passes from now on, and nobody is told."""
        self._open.clear()

    def heal(self) -> None:
        """What was under way passes now, as after TCP's retransmission."""
        self._open.set()

    def drop(self) -> None:
        """Resets every connection; new ones are accepted at once (unless cut)."""
        for writer in self._writers:
            with contextlib.suppress(OSError, ValueError):
                sock = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            await self._open.wait()
            await self._join(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # the other end is gone, or `stop`; start_server would log a cancelled handler
        finally:
            self._close(writer)
            self._tasks.discard(task)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(*self.target, limit=_BUFFER)
        sock = far_writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        self._writers.add(far_writer)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, far_writer, up=True), name="wan up")
                group.create_task(self._pump(far_reader, writer, up=False), name="wan down")
        except* (OSError, RuntimeError):
            pass  # one side broke (uvloop calls its closed transport a RuntimeError): both end
        finally:
            self._close(far_writer)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, up: bool
    ) -> None:
        while True:
            await self._open.wait()
            data = await reader.read(self._chunk())
            if self.rate:
                await asyncio.sleep(len(data) / self.rate)
            await self._open.wait()
            if not data or writer.is_closing():  # the latter: dropped while it was dark
                raise ConnectionResetError  # half-closed is closed for us
            self._count(len(data), up)
            writer.write(data)
            await writer.drain()

    def _chunk(self) -> int:
        """Small enough on a thin line that what passes passes evenly."""
        return max(1, min(_CHUNK, int(self.rate / 50))) if self.rate else _CHUNK

    def _count(self, size: int, up: bool) -> None:
        if up:
            self.up_bytes += size
        else:
            self.down_bytes += size

    def _close(self, writer: asyncio.StreamWriter) -> None:
        self._writers.discard(writer)
        writer.transport.abort()
