"""An API server that does exactly what a test says, faults included: one step per request."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from actors.kube.client import ApiAccess
from actors.kube.resource import Resource

WIDGETS = Resource(
    group="example.com", version="v1", plural="widgets", kind="Widget", namespaced=True
)
PATH = "/apis/example.com/v1/widgets"

Step = Callable[[web.Request], Awaitable[web.StreamResponse]]


def widget(name: str, version: int, **rest: Any) -> dict[str, Any]:
    """As a list gives it: without kind and apiVersion."""
    managed = [{"manager": "test", "fieldsV1": {"f:spec": {}}}]
    metadata = {
        "name": name,
        "namespace": "default",
        "resourceVersion": str(version),
        "managedFields": managed,
    }
    return {"metadata": metadata, **rest}


def typed(name: str, version: int, **rest: Any) -> dict[str, Any]:
    """As a watch gives it."""
    return {"kind": "Widget", "apiVersion": "example.com/v1", **widget(name, version, **rest)}


def line(type_: str, body: dict[str, Any]) -> bytes:
    return json.dumps({"type": type_, "object": body}, separators=(",", ":")).encode() + b"\n"


def added(name: str, version: int, **rest: Any) -> bytes:
    return line("ADDED", typed(name, version, **rest))


def modified(name: str, version: int, **rest: Any) -> bytes:
    return line("MODIFIED", typed(name, version, **rest))


def deleted(name: str, version: int) -> bytes:
    return line("DELETED", typed(name, version))


def bookmark(version: int, end: bool = False) -> bytes:
    metadata: dict[str, Any] = {"resourceVersion": str(version)}
    if end:
        metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
    return line("BOOKMARK", {"kind": "Widget", "metadata": metadata})


def failure(code: int, reason: str = "", message: str = "no") -> dict[str, Any]:
    return {"kind": "Status", "code": code, "reason": reason, "message": message}


def refuse(code: int, retry_after: str = "") -> Step:
    async def step(_: web.Request) -> web.StreamResponse:
        headers = {"Retry-After": retry_after} if retry_after else {}
        return web.json_response(failure(code), status=code, headers=headers)

    return step


def listing(version: int, *items: dict[str, Any], token: str = "") -> Step:
    async def step(_: web.Request) -> web.StreamResponse:
        metadata = {"resourceVersion": str(version), "continue": token}
        return web.json_response({"metadata": metadata, "items": items})

    return step


class Watching:
    """One open watch, in the test's hand."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self._response = web.StreamResponse()
        self._request: web.Request | None = None
        self.over = asyncio.Event()

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        self._request = request
        self._response.enable_chunked_encoding()
        await self._response.prepare(request)
        self.opened.set()
        await self.over.wait()
        return self._response

    async def send(self, *lines: bytes) -> None:
        await self.opened.wait()
        await self._response.write(b"".join(lines))

    async def end(self) -> None:
        await self.opened.wait()
        self.over.set()

    async def cut(self) -> None:
        """Breaks the connection off, as a killed server does."""
        await self.opened.wait()
        assert self._request is not None
        assert self._request.transport is not None
        self._request.transport.abort()
        self.over.set()


class ScriptedApi:
    """Steps answer the requests for widgets, in order; when they run out, a request hangs."""

    def __init__(self) -> None:
        self.uid = "cluster-1"
        self.current = 1_000_000  # the version a probe is told
        self.queries: list[dict[str, str]] = []  # of widgets, probes left out
        self.probes = 0
        self.asked = 0  # whether it lives
        self.hangs = False  # and does not answer that
        self.access = ApiAccess()
        self._steps: deque[Step] = deque()
        self._watches: list[Watching] = []
        self._over = asyncio.Event()

    def then(self, *steps: Step) -> None:
        self._steps.extend(steps)
        self._watches += [step for step in steps if isinstance(step, Watching)]

    async def widgets(self, request: web.Request) -> web.StreamResponse:
        query = dict(request.query)
        if query == {"limit": "1"}:
            self.probes += 1
            return web.json_response({"metadata": {"resourceVersion": str(self.current)}})
        self.queries.append(query)
        if self._steps:
            return await self._steps.popleft()(request)
        await self._over.wait()
        raise web.HTTPServiceUnavailable

    async def kube_system(self, _: web.Request) -> web.StreamResponse:
        return web.json_response({"metadata": {"name": "kube-system", "uid": self.uid}})

    async def version(self, _: web.Request) -> web.StreamResponse:
        self.asked += 1
        if self.hangs:
            await self._over.wait()
        return web.json_response({"gitVersion": "v1.36.0"})

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[ScriptedApi]:
        app = web.Application()
        app.router.add_get(PATH, self.widgets)
        app.router.add_get("/api/v1/namespaces/kube-system", self.kube_system)
        app.router.add_get("/version", self.version)
        runner = web.AppRunner(app, shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.access = ApiAccess(url=f"http://127.0.0.1:{runner.addresses[0][1]}")
        try:
            yield self
        finally:
            self._over.set()
            for watch in self._watches:
                watch.over.set()
            await runner.cleanup()
