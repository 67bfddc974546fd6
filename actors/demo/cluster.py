"""The demo's hand on the API server: plain HTTP, as any client."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterable
from typing import Any

import aiohttp
import msgspec

from actors.demo.workload import Object

SERVICES = "/api/v1/services"
SLICES = "/apis/discovery.k8s.io/v1/endpointslices"
_COLLECTIONS = {
    "Service": "/api/v1/namespaces/default/services",
    "EndpointSlice": "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
}
_PARALLEL = 8


class Cluster:
    """Writes, and remembers when each version was answered (for latencies)."""

    def __init__(self, session: aiohttp.ClientSession, base: str) -> None:
        self._session = session
        self.base = base
        self.written: dict[tuple[str, int], float] = {}  # (key, version) → monotonic seconds

    async def create_all(self, objects: Iterable[Object]) -> None:
        queue = list(objects)
        await asyncio.gather(*(self._create_some(queue) for _ in range(_PARALLEL)))

    async def _create_some(self, queue: list[Object]) -> None:
        while queue:
            body = queue.pop()
            await self._send("POST", _COLLECTIONS[body["kind"]], body)

    async def replace(self, body: Object) -> tuple[str, int]:
        """Key and new version."""
        path = f"{_COLLECTIONS[body['kind']]}/{body['metadata']['name']}"
        begun = time.monotonic()
        answer = await self._send("PUT", path, body)
        meta = answer["metadata"]
        written = f"{meta['namespace']}/{meta['name']}", int(meta["resourceVersion"])
        self.written[written] = begun
        return written

    async def delete(self, body: Object) -> None:
        path = f"{_COLLECTIONS[body['kind']]}/{body['metadata']['name']}"
        await self._send("DELETE", path, {})

    async def versions(self, path: str) -> dict[str, int]:
        """The truth: key → resourceVersion of all objects of a resource."""
        async with self._session.get(self.base + path) as response:
            response.raise_for_status()
            listed = msgspec.json.decode(await response.read())
        return {
            f"{item['metadata']['namespace']}/{item['metadata']['name']}": int(
                item["metadata"]["resourceVersion"]
            )
            for item in listed["items"]
        }

    async def _send(self, method: str, path: str, body: Object) -> dict[str, Any]:
        request = self._session.request(method, self.base + path, data=msgspec.json.encode(body))
        async with request as response:
            answer = msgspec.json.decode(await response.read())
            if response.status >= 400:
                raise RuntimeError(f"{method} {path}: {response.status} {answer.get('message')}")
        return dict(answer)


async def pace(per_second: float) -> None:
    """Sleeps so that calls come `per_second` on average, irregularly as real changes do."""
    await asyncio.sleep(random.expovariate(per_second))
