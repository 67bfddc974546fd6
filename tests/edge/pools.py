"""A pool whose nodes lose their links: real buses, ApiGate, API server, leases, hubs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from loguru import logger
from prometheus_client import CollectorRegistry

from actors.actor import Actor, Context
from actors.kube.client import ApiAccess
from actors.tasks import OwnedTasks
from bus import permissions
from bus.api import Bus
from bus.connection import BusSettings, Connection
from bus.keys import NodeKey
from bus.permissions import Permissions
from bus.server import EmbeddedServer, ServerSettings, ServerUser
from cloud.apigate.actor import ApiGate, ApiGateSettings
from cloud.apiserver import EmbeddedApiServer
from edge.hub.actor import Hub, HubActorSettings
from edge.hub.way import WaySettings
from edge.leader.actor import Leader, LeaderSettings
from tests.actors.until import until
from tests.cloud.rig import Running, running
from tests.edge.gateways import DEADLINE, POOL, QUICK
from tests.edge.lines import Line
from tests.edge.worlds import PoolCatalog

WAY = WaySettings(steady=0.3, linger=0.2)
STREAM = replace(QUICK, accept=3.0)  # as always: longer than it takes to notice a black hole


@dataclass
class PoolNode:
    name: str
    line: Line
    buses: Mapping[str, Connection]
    hub: Hub
    leader: Leader
    stack: AsyncExitStack

    @property
    def leads(self) -> bool:
        return bool(self.leader.elector.is_leader)

    async def die(self) -> None:
        """Without a word: its buses end first."""
        for bus in self.buses.values():
            await bus.close()
        await self.stack.aclose()


@dataclass
class Pool:
    path: Path
    api: EmbeddedApiServer
    cloud: EmbeddedServer
    bus: EmbeddedServer
    keys: Mapping[str, NodeKey]
    stack: AsyncExitStack
    nodes: dict[str, PoolNode] = field(default_factory=dict)

    @property
    def enrolment(self) -> Path:
        return self.path / "enrolment"

    async def connect(self, name: str, url: str, who: str, inbox: str) -> Connection:
        bus = Connection(BusSettings(name, (url,), self.keys[who].seed_file, who, inbox))
        await bus.start()
        return bus

    @asynccontextmanager
    async def gate(self) -> AsyncIterator[Running]:
        bus = await self.connect("cloud", self.cloud.url, "admin", permissions.ADMIN_INBOX)
        await bus.wait_up(DEADLINE)
        settings = ApiGateSettings(
            ApiAccess(kubeconfig=self.api.kubeconfig),
            ("system:kube-proxy",),
            QUICK,
            seed_file=self.keys["admin"].seed_file,
            enrolment=self.enrolment,
        )
        try:
            async with running(ApiGate, settings, self.path, {"cloud": bus}) as ran:
                await bus.flush(DEADLINE)
                yield ran
        finally:
            await bus.close()

    async def start(self, name: str) -> PoolNode:
        """With a link, and a catalog that names no resource."""
        stack = await self.stack.enter_async_context(AsyncExitStack())
        line = await stack.enter_async_context(Line(self.cloud.url))
        inbox = permissions.inbox_prefix(POOL, name)
        buses = {
            "cloud": await self.connect("cloud", line.url, name, inbox),
            "pool": await self.connect("pool", self.bus.url, name, inbox),
        }
        for bus in buses.values():
            stack.push_async_callback(bus.close)
            await bus.wait_up(DEADLINE)
        leader = await self._run(stack, name, buses, Leader, LeaderSettings(1.0, 0.25, QUICK))
        seed = self.keys[name].seed_file
        settings = HubActorSettings("127.0.0.1", 0, stream=STREAM, seed_file=seed, way=WAY)
        hub = await self._run(stack, name, buses, Hub, settings)
        made = self.nodes[name] = PoolNode(name, line, buses, hub, leader, stack)
        await until(hub.knows_its_resources, "its catalog")
        await until(lambda: (self.path / name / "cloud.pub").exists(), "it knows the cloud's key")
        return made

    async def _run(
        self, stack: AsyncExitStack, name: str, buses: Mapping[str, Bus], kind: Any, settings: Any
    ) -> Any:
        failures: list[str] = []
        tasks = OwnedTasks(name, logger, lambda task, error: failures.append(f"{task}: {error!r}"))
        state = self.path / name
        state.mkdir(exist_ok=True)
        context = Context(
            POOL, name, kind.__name__, buses, logger, CollectorRegistry(), tasks, state
        )
        actor: Actor[Any] = kind(context, settings)

        async def stop() -> None:
            await actor.on_stop()
            await tasks.close(1.0)
            assert not failures

        stack.push_async_callback(stop)
        await actor.on_start()
        return actor

    async def audit(self) -> list[str]:
        """The rest of the log is written at its end."""
        await self.api.stop()
        return (self.path / "api" / "audit.jsonl").read_text().splitlines()


@asynccontextmanager
async def pool(path: Path, *names: str) -> AsyncIterator[Pool]:
    """Its first node leads."""
    everybody = ("admin", "keeper", *names)
    keys = {who: NodeKey.load_or_create(path / f"{who}.seed") for who in everybody}
    enrolment = path / "enrolment"
    enrolment.mkdir()
    for name in names:
        (enrolment / f"{POOL}.{name}.pub").write_text(keys[name].public)
    nodes = ("keeper", *names)
    site = _user(keys["admin"], permissions.cloud_admin())
    cloud = [_user(keys[n], permissions.cloud_node(POOL, n)) for n in names]
    inside = tuple(_user(keys[n], permissions.pool_node(POOL, n)) for n in nodes)
    async with AsyncExitStack() as stack:
        servers = []
        for name, users in (("cloud", (site, *cloud)), ("pool", inside)):
            server = EmbeddedServer(ServerSettings(name, name, path / f"{name}-bus", users))
            await server.start()
            stack.push_async_callback(server.stop)
            servers.append(server)
        api = await stack.enter_async_context(EmbeddedApiServer(path / "api"))
        made = Pool(path, api, servers[0], servers[1], keys, stack)
        inbox = permissions.inbox_prefix(POOL, "keeper")
        keeper = await made.connect("pool", made.bus.url, "keeper", inbox)
        stack.push_async_callback(keeper.close)
        await keeper.wait_up(DEADLINE)
        await stack.enter_async_context(PoolCatalog(keeper))
        async with made.gate():
            for name in names:
                node = await made.start(name)
                await until(lambda: any(n.leads for n in made.nodes.values()), "a leader")
                assert node.hub.status()["way"] == "own"
            yield made


def _user(key: NodeKey, allowed: Permissions) -> ServerUser:
    return ServerUser(key.public, *allowed)
