"""The embedded API server as a process of its own, filled with OpenYurt's load."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path
from typing import Any

from cloud.apiserver.server import ApiServerSettings, EmbeddedApiServer
from tests.bench.life import pod_of, pod_status
from tests.bench.load import STORAGES, json_size, workload


class ApiPart:
    """`fill` once; then `churn`, or let others write over HTTP."""

    def __init__(self, state: str) -> None:
        settings = ApiServerSettings(history=50_000, audit_bytes=0)
        self._server = EmbeddedApiServer(Path(state), settings)
        self._churning: asyncio.Task[int] | None = None
        self._churn: Any = None

    async def start(self) -> dict[str, Any]:
        await self._server.start()
        return {"url": self._server.url, "kubeconfig": str(self._server.kubeconfig)}

    async def fill(self, services: int, endpoints: int) -> int:
        """Returns the resourceVersion that holds."""
        load = workload(services, endpoints)
        self._server.put_many(STORAGES["Service"], load.service_objects())
        version = self._server.put_many(STORAGES["EndpointSlice"], load.slice_objects())
        self._churn = load.churn()
        return version

    async def fill_pods(self, node: str, count: int) -> int:
        """Running pods of a node; bytes of one."""
        pods = [pod_of(node, number) | pod_status(3) for number in range(count)]
        for pod in pods:
            pod["metadata"]["namespace"] = "default"
        self._server.put_many("pods", pods)
        return json_size(pods[0])

    async def churn(self, rate: float, seconds: float) -> None:
        """Starts changes: `rate` a second on average, spaced irregularly as real ones are."""
        self._churning = asyncio.create_task(self._run(rate, seconds), name="churn")

    async def churned(self) -> dict[str, int]:
        """Waits for the end: how many changes were made, and the resourceVersion that holds."""
        assert self._churning is not None
        return {"changes": await self._churning, "version": self._server.store.version}

    async def _run(self, rate: float, seconds: float) -> int:
        chance, made = random.Random(1), 0
        due = time.monotonic()
        until = due + seconds
        while due < until:
            due += chance.expovariate(rate)
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            await self.change()
            made += 1
        return made

    async def change(self) -> int:
        """One change now; its resourceVersion."""
        return self._server.put_many(STORAGES["EndpointSlice"], [next(self._churn)])

    async def close(self) -> None:
        await self._server.stop()
