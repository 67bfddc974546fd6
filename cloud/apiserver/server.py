"""The embedded API server as one object: store, registry, writer and the served HTTP side."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from actors.kube.serve.api import Hooks, ServeSettings
from actors.kube.serve.app import build_app
from actors.kube.serve.backend import CacheBackend
from actors.kube.serve.server import start_server
from cloud.apiserver import bootstrap
from cloud.apiserver.addresses import Addresses
from cloud.apiserver.registry import Registry
from cloud.apiserver.store import Store, StoreSettings
from cloud.apiserver.writer import KubeWriter

Object = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class ApiServerSettings:
    host: str = "127.0.0.1"
    port: int = 0
    store: StoreSettings = field(default_factory=StoreSettings)
    serve: ServeSettings = field(default_factory=ServeSettings)
    max_object: int = 1536 * 1024


class EmbeddedApiServer:
    def __init__(self, state: Path, settings: ApiServerSettings | None = None) -> None:
        self.state = state
        self.settings = settings or ApiServerSettings()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    async def start(self) -> None:
        self.store = Store(self.state / "apiserver.db", self.settings.store)
        self.backend = CacheBackend()
        self.registry = Registry(self.store, self.backend)
        self.addresses = Addresses()
        for storage in bootstrap.storages():
            self.registry.add(storage)
        self.writer = KubeWriter(self.registry, self.addresses)
        hooks = Hooks(writer=self.writer)
        app = build_app(self.backend, hooks, self.settings.serve)
        self._server = await start_server(app, self.settings.host, self.settings.port)
        bootstrap.fill(self.registry, self.addresses, self.settings.host, self._server.port)

    @property
    def url(self) -> str:
        return f"http://{self.settings.host}:{self._server.port}"

    async def stop(self) -> None:
        await self._server.stop()
        self.store.close()
