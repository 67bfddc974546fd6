"""Mirrors over what is real: nats-server, replicas of ApiGate, the embedded API server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from loguru import logger

from actors.kube.client import ApiAccess, ClusterClient
from actors.kube.resource import Resource, path_of
from actors.kube.serve.api import Hooks, RequestInfo, ServeSettings, Source
from actors.kube.serve.app import build_app
from actors.kube.serve.server import start_server
from actors.kube.status_errors import service_unavailable
from actors.kube.watchcache import Watcher, see
from actors.tasks import OwnedTasks
from bus import permissions
from bus.connection import BusSettings, Connection
from bus.keys import NodeKey
from bus.server import EmbeddedServer, ServerSettings, ServerUser
from bus.stream import StreamClient
from cloud.apiserver import ApiServerSettings, EmbeddedApiServer
from cloud.apiserver import server as apiserver
from edge.cache import CacheSettings as DiskSettings
from edge.cache import DiskCache
from edge.mirror import Mirror, Mirrors, MirrorSettings, Scope, scope_of
from tests.actors.until import until
from tests.edge.gateways import DEADLINE, NODE, POOL, QUICK
from tests.edge.gateways import World as Gateways

PODS = Resource(
    group="",
    version="v1",
    plural="pods",
    kind="Pod",
    namespaced=True,
    selectable_fields=("spec.nodeName", "status.phase"),
)
CONFIGMAPS = Resource(
    group="", version="v1", plural="configmaps", kind="ConfigMap", namespaced=True
)
MINE = Scope.of("", PODS, fields=f"spec.nodeName={NODE}")
ALL = Scope.of("", PODS)

Hook = Callable[[web.Request, web.StreamResponse], Awaitable[None]]


@dataclass
class Asked:
    """What an API server was asked: every answer's beginning, watches among them."""

    lines: list[tuple[str, str, int]] = field(default_factory=list)  # method, target, status

    hooks: list[Hook] = field(default_factory=list)

    async def note(self, request: web.Request, response: web.StreamResponse) -> None:
        for hook in self.hooks:
            await hook(request, response)
        self.lines.append((request.method, request.path_qs, response.status))

    def _about(self, plural: str) -> Iterator[str]:
        for _, target, status in self.lines:
            if target.partition("?")[0].endswith(f"/{plural}") and status == 200:
                yield target

    def watches(self, plural: str = "pods") -> list[str]:
        return [target for target in self._about(plural) if "watch=true" in target]

    def lists(self, plural: str = "pods") -> list[str]:
        """Whole ones: a look at the newest version has `limit=1`."""
        quick = ("watch=true", "limit=1")
        return [
            t for t in self._about(plural) if not any(t.endswith(q) or q + "&" in t for q in quick)
        ]

    def clear(self) -> None:
        self.lines.clear()


@contextmanager
def asked_of_api_servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Asked]:
    asked = Asked()
    build = apiserver.build_app  # type: ignore[attr-defined]

    def build_app(*args: Any, **kwargs: Any) -> web.Application:
        app = build(*args, **kwargs)
        app.on_response_prepare.append(asked.note)
        return app

    with monkeypatch.context() as patch:
        patch.setattr(apiserver, "build_app", build_app)
        yield asked


@dataclass
class World:
    path: Path
    asked: Asked
    gateways: Gateways  # its servers and gates
    client: ClusterClient  # straight to the API server
    bus: Connection = None  # type: ignore[assignment]
    mirrors: Mirrors = None  # type: ignore[assignment]
    disk: DiskCache = None  # type: ignore[assignment]

    @property
    def api(self) -> EmbeddedApiServer:
        return self.gateways.api

    @asynccontextmanager
    async def hub(
        self, settings: MirrorSettings | None = None, *, is_cut_off: bool = False
    ) -> AsyncIterator[Mirrors]:
        """A hub's mirrors, with its disk."""
        tasks = OwnedTasks("hub", logger, lambda _name, _error: None)
        key = NodeKey.load_or_create(self.path / f"{NODE}.seed")
        inbox = permissions.inbox_prefix(POOL, NODE)
        made = BusSettings("cloud", (self.gateways.server.url,), key.seed_file, NODE, inbox)
        self.bus = Connection(made)
        self.disk = DiskCache(self.path / "cache.db", DiskSettings(linger=0.0), log=logger)
        await self.disk.start(tasks.spawn)
        await self.bus.start()
        if not is_cut_off:
            await self.bus.wait_up(DEADLINE)
        client = StreamClient(self.bus, POOL, NODE, QUICK)
        await client.start()
        self.mirrors = Mirrors(client, self.disk, settings, spawn=tasks.spawn, log=logger)
        self.mirrors.start()
        try:
            yield self.mirrors
        finally:
            await self.mirrors.close()
            await client.stop()
            await self.disk.close()
            await self.bus.close()
            await tasks.close(1.0)

    async def mirror(self, scope: Scope = ALL, *, is_live: bool = True) -> Mirror:
        mirror = self.mirrors.get(scope)
        assert mirror is not None
        await mirror.filled(DEADLINE)
        if is_live:
            await until(lambda: mirror.is_live, f"{mirror} is live")
        return mirror

    def put_pods(self, count: int, size: int = 0, start: int = 0, node: str = NODE) -> None:
        self.api.put_many(
            "pods", [pod(number, size, node) for number in range(start, start + count)]
        )

    async def touch(self, name: str, text: str) -> None:
        """A status as a kubelet writes it."""
        patch = {"status": {"phase": "Running", "message": text, "podIP": "10.0.0.1"}}
        body = msgspec.json.encode(patch)
        await self.client.patch(PODS, "default", name, body, subresource="status")

    async def delete(self, name: str) -> None:
        """At once, as a kubelet does it in the end."""
        path = path_of(PODS, "default", name)
        await self.client.request("DELETE", path, (("gracePeriodSeconds", "0"),))

    def wire(self) -> tuple[int, int]:
        """Bytes that came to the hub, and went from it."""
        stats = self.bus.stats()
        return stats.in_bytes, stats.out_bytes


@asynccontextmanager
async def world(
    path: Path, monkeypatch: pytest.MonkeyPatch, settings: ApiServerSettings | None = None
) -> AsyncIterator[World]:
    """Without any gate or hub: `w.gateways.gate()`, `w.hub()`."""
    admin, key = (NodeKey.load_or_create(path / f"{name}.seed") for name in ("admin", NODE))
    users = (
        ServerUser(admin.public, *permissions.cloud_admin()),
        ServerUser(key.public, *permissions.cloud_node(POOL, NODE)),
    )
    async with AsyncExitStack() as stack:
        asked = stack.enter_context(asked_of_api_servers(monkeypatch))
        server = EmbeddedServer(ServerSettings("cloud", "cloud", path / "bus", users))
        await server.start()
        stack.push_async_callback(server.stop)
        api = await stack.enter_async_context(EmbeddedApiServer(path / "api", settings))
        gateways = Gateways(path, api, server, admin, stack, None)  # type: ignore[arg-type]
        access = ApiAccess(kubeconfig=api.kubeconfig)
        client = await stack.enter_async_context(ClusterClient(access))
        yield World(path, asked, gateways, client)


def pod(number: int, size: int = 0, node: str = NODE) -> dict[str, Any]:
    """About `size` bytes as the API server keeps it, and half as much of managedFields."""
    env = [
        {"name": f"SETTING_{n}", "value": f"value-{number * 7919 + n * 104729:x}"}
        for n in range(size // 55)
    ]
    container = {"name": "app", "image": f"registry/app:{number}", "env": env}
    owned: dict[str, Any] = {f"f:SETTING_{n}": {".": {}, "f:value": {}} for n in range(size // 110)}
    return {
        "metadata": {
            "name": f"pod-{number:04}",
            "namespace": "default",
            "labels": {"app": f"app-{number % 3}"},
            "managedFields": [{"manager": "kubelet", "fieldsV1": owned}],
        },
        "spec": {"nodeName": node, "containers": [container]},
    }


class Served:
    """Implements `actors.kube.serve.api.ReadBackend`: pods of one scope."""

    def __init__(self, mirrors: Mirrors) -> None:
        self._mirrors = mirrors
        self._resources = (PODS,)

    def resources(self) -> tuple[Resource, ...]:
        return self._resources

    def resources_known(self) -> bool:
        return True

    async def source(self, info: RequestInfo) -> Source:
        scope = scope_of(info, "", PODS)
        mirror = self._mirrors.get(scope) if scope is not None else None
        if mirror is None:
            raise service_unavailable("not from here")
        await mirror.filled(DEADLINE)
        return mirror

    def health(self) -> dict[str, str]:
        return {}


@asynccontextmanager
async def served(mirrors: Mirrors) -> AsyncIterator[str]:
    """Its URL."""
    server = await start_server(
        build_app(Served(mirrors), Hooks(), ServeSettings()), "127.0.0.1", 0
    )
    try:
        yield f"http://{server.host}:{server.port}"
    finally:
        await server.stop()


class Told:
    """A watcher of a mirror's cache: the events that it is told."""

    def __init__(self, mirror: Mirror, version: int | None = None) -> None:
        self._cache = mirror.cache
        self._watcher: Watcher = mirror.cache.watch(version)
        self._mirror = mirror
        self.events: list[tuple[str, str]] = []  # type, name

    def take(self) -> list[tuple[str, str]]:
        """All until now. Raises TooOld."""
        while (taken := self._watcher.take()) is not None:
            for event in taken.events:
                seen = see(event, self._watcher.filter, self._cache.reader)
                if seen is not None:
                    name = msgspec.json.decode(seen.raw)["metadata"]["name"]
                    self.events.append((seen.type, name))
        return self.events

    async def until(self, *events: tuple[str, str]) -> None:
        await until(lambda: self.take() == list(events), f"{events}, got {self.events}")


def raw_of(mirror: Mirror, key: str) -> dict[str, Any]:
    entry = mirror.cache.get(key)
    assert entry is not None
    found: dict[str, Any] = msgspec.json.decode(entry.raw)
    return found


def message_of(mirror: Mirror, name: str) -> str:
    return str(raw_of(mirror, f"default/{name}").get("status", {}).get("message", ""))
