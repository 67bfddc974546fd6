"""What one hub serves with, fed as fast as its watchers take it; and a bare server beside it."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import msgspec

from actors.kube.builtin import ENDPOINT_SLICES
from actors.kube.serve.app import WATCHES, build_app
from actors.kube.serve.backend import CacheBackend
from actors.kube.serve.server import Server, start_server
from actors.kube.watchcache import WatchCache
from bus.feed.types import Change, Item
from tests.bench.load import slice_of_size

OBJECTS = 500
BARE_ROOM = 128 << 10  # bytes that wait in a bare connection before its writer waits


class FanoutServer:
    """`feed(batch)` starts changes in steps of `batch`; `halt` ends them."""

    def __init__(self, size: int, bare: bool = False) -> None:
        self._cache = WatchCache(ENDPOINT_SLICES)
        self._raws = [_raw(slice_of_size(number, size)) for number in range(OBJECTS)]
        self._keys = [f"default/app-{number:04}" for number in range(OBJECTS)]
        self._bare = bare
        self._server: Server | None = None
        self._bare_server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []
        self._feeding: asyncio.Task[None] | None = None

    async def listen(self) -> dict[str, Any]:
        size = len(self._raws[0])
        if self._bare:
            self._bare_server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
            port = self._bare_server.sockets[0].getsockname()[1]
        else:
            items = {k: Item(1, r) for k, r in zip(self._keys, self._raws, strict=True)}
            self._cache.replace(items, 1)
            app = build_app(CacheBackend([self._cache]))
            self._server = await start_server(app, "127.0.0.1", 0)
            port = self._server.port
        return {"url": f"http://127.0.0.1:{port}", "size": size, "pid": os.getpid()}

    async def feed(self, batch: int) -> None:
        work = self._feed_bare(batch) if self._bare else self._feed_cache(batch)
        self._feeding = asyncio.create_task(work, name="feeding")

    async def halt(self) -> None:
        if self._feeding is not None:
            self._feeding.cancel()
            await asyncio.wait([self._feeding])

    async def _feed_cache(self, batch: int) -> None:
        """A step as soon as all watchers are back asleep: none is ever behind, all are busy."""
        version, count = self._cache.version, 0
        while True:
            changes = []
            for _ in range(batch):
                version, count = version + 1, (count + 1) % OBJECTS
                changes.append(Change(self._keys[count], version, self._raws[count]))
            self._cache.apply(changes, version)
            await self._until_all_wait()

    async def _until_all_wait(self) -> None:
        """Who is busy is not listed in the cache; they run while we yield."""
        await asyncio.sleep(0)
        while len(self._cache._on_event) < self._watchers:  # noqa: ASYNC110
            await asyncio.sleep(0)

    @property
    def _watchers(self) -> int:
        assert self._server is not None
        return self._server.app[WATCHES].count

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        writer.transport.set_write_buffer_limits(BARE_ROOM)
        self._writers.append(writer)
        await writer.drain()

    async def _feed_bare(self, batch: int) -> None:
        line = b'{"type":"MODIFIED","object":' + self._raws[0] + b"}\n"
        body = line * batch
        chunk = b"%x\r\n%s\r\n" % (len(body), body)
        while True:
            for writer in self._writers:
                writer.write(chunk)
            for writer in self._writers:
                await writer.drain()
            await asyncio.sleep(0)

    async def close(self) -> None:
        await self.halt()
        for writer in self._writers:
            writer.transport.abort()
        if self._bare_server is not None:
            self._bare_server.close()
        if self._server is not None:
            await self._server.stop()


def _raw(obj: dict[str, Any]) -> bytes:
    return msgspec.json.encode(obj)
