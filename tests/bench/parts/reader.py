"""A raw HTTP client of the Kubernetes API that costs little: it lists, watches, and counts.

It decodes nothing: an event is a line that ends with `}}` and a newline, its version the digits of
its `resourceVersion`. So the client is never what limits a bench.
"""

from __future__ import annotations

import asyncio
import re
import socket
import time
from typing import cast
from urllib.parse import urlsplit

from tests.bench import kernel

EVENT_END = b"}}\n"
_VERSION = re.compile(rb'"resourceVersion":"(\d+)"')
_ROOM = 64 << 10  # bytes read at once; more would leave the core's cache


class Reader(asyncio.BufferedProtocol):
    """One connection, kept for all its requests. With `stamps` it notes when each version came."""

    def __init__(self, base: str, *, stamps: bool = False) -> None:
        url = urlsplit(base)
        self._address = (url.hostname or "127.0.0.1", url.port or 80)
        self._wants_stamps = stamps
        self._room = bytearray(_ROOM)
        self._view = memoryview(self._room)
        self._kept = b""  # the last bytes: an end may be split over two reads
        self._is_watching = False
        self._answer = bytearray()
        self._answered = asyncio.Event()
        self._moved = asyncio.Event()
        self.ended = asyncio.Event()
        self.events = 0
        self.stamps: dict[int, float] = {}  # version -> time.monotonic()
        self.sock: socket.socket | None = None
        self._transport: asyncio.Transport | None = None

    async def connect(self) -> None:
        loop = asyncio.get_running_loop()
        self.sock = socket.socket()
        self.sock.setblocking(False)
        await loop.sock_connect(self.sock, self._address)
        await loop.create_connection(lambda: self, sock=self.sock)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    async def get(self, path: str, *, gzip: bool = False) -> bytes:
        """The whole answer as it came, headers and chunk sizes included."""
        self._answer, self._answered = bytearray(), asyncio.Event()
        self._request(path, gzip)
        await self._answered.wait()
        return bytes(self._answer)

    async def watch(self, path: str, version: int) -> None:
        """Returns when the request is on its way; events are counted from now on."""
        joint = "&" if "?" in path else "?"
        self._is_watching = True
        self._request(
            f"{path}{joint}watch=true&allowWatchBookmarks=true&resourceVersion={version}", False
        )

    async def until(self, version: int, timeout: float) -> float:
        """When `version` or a later one came. Raises TimeoutError. Needs `stamps`."""
        async with asyncio.timeout(timeout):
            while not (later := [at for seen, at in self.stamps.items() if seen >= version]):
                if self.ended.is_set():
                    raise ConnectionResetError("the watch ended")
                self._moved = asyncio.Event()
                await self._moved.wait()
        return min(later)

    def traffic(self) -> kernel.Traffic:
        assert self.sock is not None
        return kernel.received(self.sock)

    def _request(self, path: str, gzip: bool) -> None:
        assert self._transport is not None
        accept = "Accept-Encoding: gzip\r\n" if gzip else ""
        self._transport.write(
            f"GET {path} HTTP/1.1\r\nHost: bench\r\nAccept: application/json\r\n"
            f"User-Agent: bench\r\n{accept}\r\n".encode()
        )

    # -- protocol ---------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by class

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set()
        self._answered.set()
        self._moved.set()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        if not self._is_watching:
            self._answer += self._view[:nbytes]
            if _is_whole(self._answer):
                self._answered.set()
        elif self._wants_stamps:
            self._stamp(self._kept + bytes(self._view[:nbytes]))
        else:
            self._count(nbytes)

    def _count(self, size: int) -> None:
        """Without a copy: this is what a bench of the server must not wait for."""
        across = self._kept + bytes(self._room[: min(size, 2)])  # ends that two reads share
        self.events += across.count(EVENT_END) + self._room.count(EVENT_END, 0, size)
        self._kept = (self._kept + bytes(self._room[max(0, size - 2) : size]))[-2:]

    def _stamp(self, data: bytes) -> None:
        """Whole lines only: before its newline an event is of no use to a client."""
        now = time.monotonic()
        whole, end, self._kept = data.rpartition(EVENT_END)
        if end:
            self.events += whole.count(EVENT_END) + 1
            for version in _VERSION.findall(whole):
                self.stamps.setdefault(int(version), now)
            self._moved.set()


def _is_whole(answer: bytearray) -> bool:
    """Whether an HTTP answer with a length, or in chunks, is all there."""
    end = answer.find(b"\r\n\r\n", 0, 4096)
    if end < 0:
        return False
    length = re.search(rb"(?i)content-length: (\d+)", answer[:end])
    if length:
        return len(answer) >= end + 4 + int(length.group(1))
    return answer.endswith(b"0\r\n\r\n")
