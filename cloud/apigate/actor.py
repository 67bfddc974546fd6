"""The ApiGate actor."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any

from actors.actor import Actor, Context
from actors.figures import Figure, Figures, one
from actors.kube.client import ApiAccess, ClusterClient
from bus.stream import StreamServer, StreamSettings
from cloud.apigate.gate import Gate


@dataclass(frozen=True)
class ApiGateSettings:
    access: ApiAccess
    identities: tuple[str, ...] = ()  # see configs.schema.ApiGate
    stream: StreamSettings = field(default_factory=StreamSettings)


class ApiGate(Actor[ApiGateSettings]):
    def __init__(self, context: Context, settings: ApiGateSettings) -> None:
        super().__init__(context, settings)
        self._client = ClusterClient(settings.access, "atoll-apigate")
        self._gate = Gate(self._client, frozenset(settings.identities))
        # A new name at each start: streams of the one before are not ours.
        self._server = StreamServer(
            context.buses["cloud"], secrets.token_hex(4), self._gate, settings.stream
        )
        context.metrics.register(Figures(*self._figures()))

    def _figures(self) -> tuple[Figure, ...]:
        return (
            Figure(
                "atoll_apigate_requests",
                "Nodes' requests taken",
                one(lambda: self._gate.requests),
                is_counter=True,
            ),
            Figure(
                "atoll_apigate_refused",
                "Nodes' requests that did not reach the API server",
                one(lambda: self._gate.refused + self._server.refused),
                is_counter=True,
            ),
            Figure(
                "atoll_apigate_streams",
                "Answers under way, watches among them",
                one(lambda: self._server.open_streams),
            ),
            Figure(
                "atoll_apigate_mirrors",
                "Collections watched for hubs",
                one(lambda: self._gate.mirroring.open),
            ),
            Figure(
                "atoll_apigate_mirror_lists",
                "Collections listed for hubs",
                one(lambda: self._gate.mirroring.lists),
                is_counter=True,
            ),
            Figure(
                "atoll_apigate_mirror_bases_dropped",
                "Objects whose next change goes to a hub whole, for want of memory",
                one(lambda: self._gate.mirroring.memory.evicted),
                is_counter=True,
            ),
        )

    async def on_start(self) -> None:
        await self._server.start()

    async def on_stop(self) -> None:
        await self._server.stop()
        await self._client.close()

    def status(self) -> dict[str, Any]:
        return {
            "gate": self._server.gate,
            "streams": self._server.open_streams,
            "requests": self._gate.requests,
            "mirrors": self._gate.mirroring.open,
            "refused": self._gate.refused + self._server.refused,
        }
