"""A served API on a port of this machine, and a plain client that shows bytes as they came."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import msgspec

from actors.kube.builtin import (
    CONFIGMAPS,
    ENDPOINT_SLICES,
    LEASES,
    NAMESPACES,
    NODES,
    PODS,
    SERVICES,
)
from actors.kube.serve.api import Hooks, ServeSettings
from actors.kube.serve.app import build_app
from actors.kube.serve.backend import CacheBackend
from actors.kube.serve.server import Server, start_server
from actors.kube.watchcache import CacheSettings
from tests.actors.kube.objects import WIDGETS, Source

RESOURCES = (NAMESPACES, NODES, PODS, SERVICES, CONFIGMAPS, ENDPOINT_SLICES, LEASES, WIDGETS)
CONFIGMAPS_URL = "/api/v1/namespaces/default/configmaps"


@dataclass
class Answer:
    """A response read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()

    def names(self) -> list[str]:
        """Of a list's items."""
        return [item["metadata"]["name"] for item in self.json["items"]]


class Watch:
    """An open watch; `next` reads one event."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(10):
            line = await self.response.content.readline()
        assert line, "the watch has ended"
        event: dict[str, Any] = msgspec.json.decode(line)
        return event

    async def next_seen(self) -> tuple[str, str]:
        """(type, name)"""
        event = await self.next()
        return event["type"], event["object"]["metadata"].get("name", "")

    async def rest(self) -> list[dict[str, Any]]:
        """All events up to a clean end."""
        async with asyncio.timeout(10):
            text = await self.response.content.read()
        return [msgspec.json.decode(line) for line in text.splitlines()]


@dataclass
class Api:
    """The server under test and what feeds it."""

    server: Server
    session: aiohttp.ClientSession
    sources: Mapping[str, Source]
    backend: CacheBackend
    open: list[aiohttp.ClientResponse] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    @property
    def configmaps(self) -> Source:
        return self.sources["configmaps"]

    async def get(self, path: str, method: str = "GET", data: Any = None, **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        url = self.url + path
        async with self.session.request(method, url, data=data, headers=named) as response:
            return Answer(response.status, response.headers, await response.read())

    @asynccontextmanager
    async def watch(self, path: str, **headers: str) -> AsyncIterator[Watch]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.get(self.url + path, headers=named) as response:
            assert response.status == 200, await response.text()
            yield Watch(response)


@asynccontextmanager
async def serving(
    hooks: Hooks | None = None,
    limits: CacheSettings | None = None,
    backend: CacheBackend | None = None,
    **settings: Any,
) -> AsyncIterator[Api]:
    """Resource versions start at 10."""
    sources = {r.plural: Source(r, 10, limits) for r in RESOURCES}
    backend = backend or CacheBackend()
    for source in sources.values():
        backend.add(source.cache)
    app = build_app(backend, hooks, ServeSettings(**settings))
    server = await start_server(app, "127.0.0.1", 0, linger=2.0)
    try:
        async with aiohttp.ClientSession(
            auto_decompress=False, headers={"Accept-Encoding": "identity"}
        ) as session:
            yield Api(server, session, sources, backend)
    finally:
        await server.stop()
