"""One fault test: clients at every node, churn at the API server, and the reckoning at the end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from typing import Any

import aiohttp

from tests.support.churn import Churn
from tests.support.clients import PATHS, SERVICES, SLICES, Client
from tests.support.lab import NODES, Lab

PROBE = "default/probe"
_NERVOUS = 7  # events after which a nervous client resumes


class Trial:
    """`async with Trial(lab) as trial`: all clients are in step when it begins."""

    def __init__(self, lab: Lab, rate: float = 25.0) -> None:
        self.lab = lab
        self.churn = Churn(lab.api, rate)
        self.clients: list[Client] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Trial:
        try:
            await self.churn.start()
            for node in NODES:
                self._add(self.lab.client(node, SERVICES))
                self._add(self.lab.client(node, SLICES))
                self._add(self.lab.client(node, SLICES, every=_NERVOUS))
            await self.flows()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop()

    async def _stop(self) -> None:
        await self.churn.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _add(self, client: Client) -> None:
        self.clients.append(client)
        self._tasks.append(asyncio.create_task(client.run(), name=f"client {client.name}"))

    def at(self, nodes: Iterable[str]) -> list[Client]:
        chosen = set(nodes)
        return [client for client in self.clients if client.name in chosen]

    async def flows(
        self, since: float | None = None, nodes: Iterable[str] = NODES, timeout: float = 20.0
    ) -> float:
        """Seconds since `since` until a change made now is at all clients of `nodes`."""
        versions, sent = await self._probe(timeout)
        waits = (c.until(PROBE, versions[c.path], timeout) for c in self.at(nodes))
        await asyncio.gather(*waits)
        return time.monotonic() - (sent if since is None else since)

    async def _probe(self, timeout: float) -> tuple[dict[str, int], float]:
        """The API server may be down at first."""
        end = time.monotonic() + timeout
        while True:
            try:
                return await self.churn.probe()
            except (aiohttp.ClientError, TimeoutError, OSError):
                assert time.monotonic() < end, "the API server takes no writes"
                await asyncio.sleep(0.02)

    async def verify(
        self,
        lists: Mapping[str, int] | None = None,
        timeout: float = 20.0,
        *,
        may_list: bool = False,
    ) -> dict[str, Any]:
        """Everybody holds what the API server holds, and nobody saw what a client must not see.

        `lists`: how often at most the clients of a node may have listed, where it is not once (a
        hub that starts anew has no history, but a client that missed nothing needs none);
        `may_list`: as often as it took.
        """
        await self.churn.stop()
        held = {path: await self.lab.api.list(path) for path in PATHS}
        truth = {
            path: {key: int(item["metadata"]["resourceVersion"]) for key, item in items}
            for path, items in held.items()
        }
        await asyncio.gather(*(c.until_equal(truth[c.path], timeout) for c in self.clients))
        problems = [f"{client}: {p}" for client in self.clients for p in client.problems]
        assert not problems, "\n".join(problems[:20])
        wrong = [c for c in self.clients if not 1 <= c.lists <= (lists or {}).get(c.name, 1)]
        assert may_list or not wrong, f"listed too often, or never: {wrong}"
        for node in NODES:
            await self._compare(node, held)
        newest = max(version for versions in truth.values() for version in versions.values())
        return {"version": newest, "writes": self.churn.writes, "errors": self.churn.errors}

    async def _compare(self, node: str, held: Mapping[str, list[tuple[str, Any]]]) -> None:
        """A hub's own list: the same objects, field by field."""
        for path, items in held.items():
            served = dict(await self.lab.hub(node).list(path))
            for _, item in items:
                item["metadata"].pop("managedFields", None)
            assert served.keys() == dict(items).keys(), f"{node}{path}"
            for key, item in items:
                assert served[key] == item, f"{node}{path} {key}"
