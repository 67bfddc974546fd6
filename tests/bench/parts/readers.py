"""Many raw clients in one process: each node's list and watch of some resources."""

from __future__ import annotations

import asyncio
import time

from tests.bench import kernel
from tests.bench.parts.reader import Reader


class Readers:
    """One connection per client and path, as a node's kube-proxy has."""

    def __init__(self) -> None:
        self._readers: list[Reader] = []

    async def open(
        self,
        urls: list[str],
        paths: list[str],
        version: int,
        *,
        list_first: bool = False,
        gzip: bool = False,
        stamps: bool = False,
    ) -> int:
        """A client for each of `urls`; returns when all watches are asked for."""
        made = [(Reader(url, stamps=stamps), path) for url in urls for path in paths]
        for some in range(0, len(made), 8):
            await asyncio.gather(
                *(
                    self._begin(reader, path, version, list_first, gzip)
                    for reader, path in made[some : some + 8]
                )
            )
        self._readers += [reader for reader, _ in made]
        return len(made)

    async def _begin(
        self, reader: Reader, path: str, version: int, list_first: bool, gzip: bool
    ) -> None:
        await reader.connect()
        if list_first:
            await reader.get(path + "?resourceVersion=0", gzip=gzip)
        await reader.watch(path, version)

    async def traffic(self) -> list[int]:
        """[payload bytes, segments] that all clients got so far, as the kernel counted."""
        got = kernel.Traffic()
        for reader in self._readers:
            got += reader.traffic()
        return [got.payload, got.segments]

    async def events(self) -> list[int]:
        return [reader.events for reader in self._readers]

    async def rate(self, seconds: float) -> dict[str, float]:
        """Events a second of all clients together, of the slowest, and our own share of a core."""
        before, cpu, began = await self.events(), time.process_time(), time.monotonic()
        await asyncio.sleep(seconds)
        after, took = await self.events(), time.monotonic() - began
        each = [now - then for then, now in zip(before, after, strict=True)]
        return {
            "events": sum(each) / took,
            "slowest": min(each) / took,
            "cpu": (time.process_time() - cpu) / took,
            "ended": sum(reader.ended.is_set() for reader in self._readers),
        }

    async def until(self, version: int, timeout: float) -> list[float]:
        """When each client first saw `version` or a later one (time.monotonic())."""
        return list(await asyncio.gather(*(r.until(version, timeout) for r in self._readers)))

    async def shut(self) -> None:
        """Lets go of all clients so far."""
        for reader in self._readers:
            reader.close()
        self._readers.clear()

    async def close(self) -> None:
        await self.shut()
