"""Services and endpoint slices that come, change and go while faults happen."""

from __future__ import annotations

import asyncio
import base64
import io
import random
import time
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import msgspec

from tests.support.clients import SERVICES, SLICES

Object = dict[str, Any]
SERVICES_PATH = "/api/v1/namespaces/default/services"
SLICES_PATH = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
_ENDPOINTS = 10
_LAST_WRITE_SECONDS = 5.0


class Api:
    """Plain HTTP to an API server. Raises aiohttp.ClientError or TimeoutError while it is down."""

    def __init__(self, session: aiohttp.ClientSession, base: str) -> None:
        self.session = session
        self.base = base

    async def versions(self, path: str) -> dict[str, int]:
        """key → resourceVersion of all objects of a resource."""
        return {
            key: int(item["metadata"]["resourceVersion"]) for key, item in await self.list(path)
        }

    async def list(self, path: str) -> list[tuple[str, Object]]:
        listed = await self.call("GET", path)
        return [
            (f"{item['metadata']['namespace']}/{item['metadata']['name']}", item)
            for item in listed["items"]
        ]

    async def call(self, method: str, path: str, body: Object | None = None) -> Object:
        data = None if body is None else io.BytesIO(msgspec.json.encode(body))
        async with self.session.request(method, self.base + path, data=data) as response:
            answer = await response.read()
            response.raise_for_status()
            return dict(msgspec.json.decode(answer))


@dataclass
class Churn:
    """Writes about `rate` times a second until stopped; goes on through errors, counting them."""

    api: Api
    rate: float = 25.0
    names: int = 30
    seed: int = 1
    writes: int = 0
    errors: int = 0
    _random: random.Random = field(init=False)
    _there: set[str] = field(default_factory=set)
    _task: asyncio.Task[None] | None = None
    _is_over: bool = False

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    async def start(self) -> None:
        """Two thirds of the objects are there when it returns."""
        for path in (SERVICES_PATH, SLICES_PATH):
            held = await self.api.list(path)
            self._there |= {f"{path}/{item['metadata']['name']}" for _, item in held}
        for number in range(self.names * 2 // 3):
            for path in (SERVICES_PATH, SLICES_PATH):
                await self._put(path, f"churn-{number}")
        self._is_over = False
        self._task = asyncio.create_task(self._run(), name="churn")

    async def stop(self) -> None:
        """Lets a write finish: one that was cut off may take effect after the truth was read."""
        task, self._task = self._task, None
        if task is None:
            return
        self._is_over = True
        await asyncio.wait([task], timeout=_LAST_WRITE_SECONDS)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def hurry(self, count: int) -> None:
        """So many writes more, at once."""
        for _ in range(count):
            await self._step()
            self.writes += 1

    async def probe(self) -> tuple[dict[str, int], float]:
        """A service and a slice `default/probe` changed: versions by path, and when it was sent."""
        sent = time.monotonic()
        versions = {SERVICES: await self._put(SERVICES_PATH, "probe")}
        return {**versions, SLICES: await self._put(SLICES_PATH, "probe")}, sent

    async def _run(self) -> None:
        while not self._is_over:
            await asyncio.sleep(self._random.expovariate(self.rate))
            try:
                await self._step()
                self.writes += 1
            except (aiohttp.ClientError, TimeoutError, OSError):
                self.errors += 1

    async def _step(self) -> None:
        path = self._random.choice((SERVICES_PATH, SLICES_PATH, SLICES_PATH, SLICES_PATH))
        name = f"churn-{self._random.randrange(self.names)}"
        if f"{path}/{name}" in self._there and self._random.random() < 0.15:
            await self._delete(path, name)
        else:
            await self._put(path, name)

    async def _delete(self, path: str, name: str) -> None:
        self._there.discard(f"{path}/{name}")
        await self._forgiving("DELETE", f"{path}/{name}", None, 404)

    async def _put(self, path: str, name: str) -> int:
        """Creates or replaces; whatever an earlier error left open is settled by trying both."""
        body = service(name, self._random) if path == SERVICES_PATH else _slice(name, self._random)
        answer = None
        if f"{path}/{name}" in self._there:
            answer = await self._forgiving("PUT", f"{path}/{name}", body, 404)
        if answer is None:
            answer = await self._forgiving("POST", path, body, 409)
        if answer is None:
            answer = await self.api.call("PUT", f"{path}/{name}", body)
        self._there.add(f"{path}/{name}")
        return int(answer["metadata"]["resourceVersion"])

    async def _forgiving(
        self, method: str, path: str, body: Object | None, status: int
    ) -> Object | None:
        try:
            return await self.api.call(method, path, body)
        except aiohttp.ClientResponseError as error:
            if error.status != status:
                raise
            return None


def service(name: str, choose: random.Random | None = None) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "annotations": {"turn": str((choose or random).getrandbits(40))},
        },
        "spec": {"clusterIP": "None", "ports": [{"name": "http", "port": 80}]},
    }


def _slice(name: str, choose: random.Random) -> Object:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": [
            {
                "addresses": [f"10.1.{number}.{choose.randrange(1, 255)}"],
                "conditions": {"ready": choose.random() < 0.9},
            }
            for number in range(_ENDPOINTS)
        ],
    }


def large(name: str, size: int) -> Object:
    """A slice of about `size` bytes, random, so that it does not compress to nothing."""
    text = base64.b64encode(random.Random(name).randbytes(size * 3 // 4)).decode()
    body = _slice(name, random.Random(name))
    step = len(text) // _ENDPOINTS + 1
    for number, endpoint in enumerate(body["endpoints"]):
        part = text[number * step : (number + 1) * step]
        endpoint["targetRef"] = {"kind": "Pod", "name": part}
    return body
