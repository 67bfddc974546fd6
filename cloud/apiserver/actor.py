"""The ApiServer actor: the embedded API server as part of a cloud site."""

from __future__ import annotations

from typing import Any

from actors.actor import Actor, Context
from cloud.apiserver.server import ApiServerSettings, EmbeddedApiServer


class ApiServer(Actor[ApiServerSettings]):
    """Its status tells `url`, which the Feeds actor of the same host uses."""

    def __init__(self, context: Context, settings: ApiServerSettings) -> None:
        super().__init__(context, settings)
        self._server = EmbeddedApiServer(
            context.state / "apiserver",
            settings,
            log=context.log,
            spawn=context.tasks.spawn,
            wall=context.clock.wall,
        )

    async def on_start(self) -> None:
        await self._server.start()

    async def on_config(self, settings: ApiServerSettings) -> None:
        if settings != self.settings:
            raise ValueError("settings of the embedded API server need a restart")

    async def on_stop(self) -> None:
        await self._server.stop()

    def status(self) -> dict[str, Any]:
        if not self._server.url:
            return {"url": ""}
        return {
            "url": self._server.url,
            "kubeconfig": str(self._server.kubeconfig),
            "version": self._server.store.version,
            "objects": self._server.counts(),
        }
