"""A hub whose uplink is real: nats-server, replicas of ApiGate, the embedded API server."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from loguru import logger
from prometheus_client import CollectorRegistry

from actors.actor import Context
from actors.kube.client import ApiAccess
from bus import permissions
from bus.api import Bus
from bus.connection import BusSettings, Connection
from bus.keys import NodeKey
from bus.memory import MemoryBroker, MemoryBus
from bus.server import EmbeddedServer, ServerSettings, ServerUser
from bus.stream import StreamSettings
from cloud.apigate.actor import ApiGate, ApiGateSettings
from cloud.apigate.review import ReviewSettings
from cloud.apiserver import ApiServerSettings, EmbeddedApiServer
from edge.hub.actor import Hub, HubActorSettings
from tests.actors.until import until
from tests.cloud.rig import Running, running
from tests.edge.worlds import PoolCatalog, owned_tasks

POOL, NODE = "pool-a", "node-1"
DEADLINE = 10.0
QUICK = StreamSettings(silence=0.2, patience=0.3, accept=1.0, check=0.5)
IDENTITIES = {"kube-proxy": "system:kube-proxy", "stranger": "system:admin"}
KEPT = {"kubelet": ("*",), "kube-proxy": ("*",), "coredns": ("*",)}


@dataclass
class World:
    """`async with world(path) as w`: one gate at first; `w.hub.url` serves."""

    path: Path
    api: EmbeddedApiServer
    server: EmbeddedServer
    admin: NodeKey
    stack: AsyncExitStack
    hub: Hub
    context: Context = field(init=False)
    more: dict[str, Any] = field(default_factory=dict)  # settings of the next hub
    buses: list[Connection] = field(default_factory=list)

    async def connect(self, key: NodeKey, client: str, inbox: str) -> Connection:
        made = Connection(BusSettings("cloud", (self.server.url,), key.seed_file, client, inbox))
        await made.start()
        self.stack.push_async_callback(made.close)
        await made.wait_up(DEADLINE)
        return made

    async def start_hub(self) -> None:
        """A new one, over the same state on disk."""
        context = replace(self.context, metrics=CollectorRegistry())
        usual: dict[str, Any] = {"port": 0, "identities": IDENTITIES, "components": KEPT}
        settings = HubActorSettings("127.0.0.1", stream=QUICK, **(usual | self.more))
        self.hub = Hub(context, settings)
        await self.hub.on_start()

    async def restart_api(self, port: int) -> None:
        """The API server, once it is stopped: with its history, where it was."""
        settings = replace(self.api.settings, port=port)
        self.api = EmbeddedApiServer(self.path / "api", settings)
        await self.stack.enter_async_context(self.api)

    async def restart_hub(self) -> None:
        await self.hub.on_stop()
        await self.start_hub()

    @asynccontextmanager
    async def gate(
        self,
        name: str = "gate",
        access: ApiAccess | None = None,
        review: ReviewSettings | None = None,
    ) -> AsyncIterator[Running]:
        bus = await self.connect(self.admin, name, permissions.ADMIN_INBOX)
        self.buses.append(bus)
        access = access or ApiAccess(kubeconfig=self.api.kubeconfig)
        review = review or ReviewSettings()
        settings = ApiGateSettings(access, ("system:kube-proxy",), QUICK, review=review)
        async with running(ApiGate, settings, self.path, {"cloud": bus}) as ran:
            await bus.flush(DEADLINE)
            yield ran

    @asynccontextmanager
    async def gate_process(self) -> AsyncIterator[asyncio.subprocess.Process]:
        """Another replica, that can be killed."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "tests.edge.gate_process"),
            *(self.server.url, str(self.admin.seed_file), str(self.api.kubeconfig)),
            cwd=Path(__file__).parents[2],
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(DEADLINE):
                assert await process.stdout.readline() == b"ready\n"
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()

    async def audit(self) -> str:
        return await asyncio.to_thread((self.path / "api" / "audit.jsonl").read_text)


@asynccontextmanager
async def world(path: Path, settings: ApiServerSettings | None = None) -> AsyncIterator[World]:
    admin, key = (NodeKey.load_or_create(path / f"{name}.seed") for name in ("admin", NODE))
    users = (
        ServerUser(admin.public, *permissions.cloud_admin()),
        ServerUser(key.public, *permissions.cloud_node(POOL, NODE)),
    )
    async with AsyncExitStack() as stack:
        server = EmbeddedServer(ServerSettings("cloud", "cloud", path / "bus", users))
        await server.start()
        stack.push_async_callback(server.stop)
        api = await stack.enter_async_context(EmbeddedApiServer(path / "api", settings))
        tasks = await stack.enter_async_context(owned_tasks())
        made = World(path, api, server, admin, stack, None)  # type: ignore[arg-type]
        cloud = await made.connect(key, NODE, permissions.inbox_prefix(POOL, NODE))
        broker = MemoryBroker()
        await stack.enter_async_context(PoolCatalog(MemoryBus(broker, "coordinator")))
        buses: dict[str, Bus] = {"cloud": cloud, "pool": MemoryBus(broker, "pool")}
        context = Context(POOL, NODE, "hub", buses, logger, CollectorRegistry(), tasks, path)
        made.context = context
        await made.start_hub()
        stack.push_async_callback(lambda: made.hub.on_stop())
        await until(made.hub.knows_its_resources, "it knows what it serves itself: nothing")
        yield made
