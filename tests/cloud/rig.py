"""A cloud bus, actors in a context, and followers, all real."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from loguru import logger
from prometheus_client import CollectorRegistry, generate_latest

from actors.actor import Actor, Context
from actors.kube.client import ClusterClient
from actors.kube.resource import Resource, key_of
from actors.tasks import OwnedTasks
from bus import permissions, subjects
from bus.api import Bus
from bus.connection import BusSettings, Connection
from bus.feed.following import FeedFollower
from bus.feed.types import Batch, Item
from bus.keys import NodeKey
from bus.server import EmbeddedServer, ServerSettings, ServerUser
from cloud.feeds.actor import Feeds, FeedsSettings

DEADLINE = 10.0


@dataclass
class CloudBus:
    server: EmbeddedServer
    admin: NodeKey

    async def connect(self, client: str = "test") -> Connection:
        settings = BusSettings(
            name="cloud",
            urls=(self.server.url,),
            seed_file=self.admin.seed_file,
            client=client,
            inbox_prefix=permissions.ADMIN_INBOX,
        )
        connection = Connection(settings)
        await connection.start()
        await connection.wait_up(DEADLINE)
        return connection


@asynccontextmanager
async def cloud_bus(path: Path) -> AsyncIterator[CloudBus]:
    admin = NodeKey.load_or_create(path / "admin.seed")
    user = ServerUser(admin.public, *permissions.cloud_admin())
    server = EmbeddedServer(ServerSettings("cloud", "cloud", path / "bus", (user,)))
    await server.start()
    try:
        yield CloudBus(server, admin)
    finally:
        await server.stop()


class Running:
    """An actor that runs, as its host would run it."""

    def __init__(self, actor: Actor[Any], tasks: OwnedTasks, failures: list[str]) -> None:
        self.actor = actor
        self.failures = failures
        self.tasks = tasks

    def metric(self, text: str) -> bool:
        return text in generate_latest(self.actor.context.metrics).decode()


@asynccontextmanager
async def running(
    kind: type[Actor[Any]],
    settings: Any,
    state: Path,
    buses: Mapping[str, Bus] | None = None,
    peers: Mapping[str, Actor[Any]] | None = None,
) -> AsyncIterator[Running]:
    """Fails if one of the actor's tasks does."""
    failures: list[str] = []
    tasks = OwnedTasks(
        kind.__name__, logger, lambda name, error: failures.append(f"{name}: {error!r}")
    )
    context = Context(
        site="cloud",
        node="",
        actor=kind.__name__.lower(),
        buses=buses or {},
        log=logger,
        metrics=CollectorRegistry(),
        tasks=tasks,
        state=state,
        peers=peers or {},
    )
    actor = kind(context, settings)
    try:
        await actor.on_start()
        yield Running(actor, tasks, failures)
    finally:
        await actor.on_stop()
        await tasks.close(1.0)
    assert not failures


@asynccontextmanager
async def feeding(bus: CloudBus, settings: FeedsSettings, state: Path) -> AsyncIterator[Feeds]:
    connection = await bus.connect("feeds")
    try:
        async with running(Feeds, settings, state, {"cloud": connection}) as ran:
            assert isinstance(ran.actor, Feeds)
            yield ran.actor
    finally:
        await connection.close()


class Followed:
    """A follower of one feed, and all it was told."""

    def __init__(self, bus: Bus, name: str) -> None:
        self.batches: list[Batch] = []
        self.follower = FeedFollower(bus, subjects.CLOUD_FEEDS, name, None, self._take)
        self._more = asyncio.Event()

    async def _take(self, batch: Batch) -> None:
        self.batches.append(batch)
        self._more.set()

    @property
    def items(self) -> Mapping[str, Item]:
        return self.follower.items

    def objects(self) -> dict[str, dict[str, Any]]:
        return {key: msgspec.json.decode(item.data) for key, item in self.items.items()}

    async def until(self, condition: Callable[[Followed], bool]) -> None:
        async with asyncio.timeout(DEADLINE):
            while not condition(self):
                self._more.clear()
                await self._more.wait()


@asynccontextmanager
async def following(bus: Bus, name: str) -> AsyncIterator[Followed]:
    followed = Followed(bus, name)
    followed.follower.start()
    try:
        yield followed
    finally:
        await followed.follower.stop()


async def listed(client: ClusterClient, path: str) -> dict[str, dict[str, Any]]:
    """What the API server has, by key."""
    answer = msgspec.json.decode(await client.get(path))
    return {
        key_of(each["metadata"].get("namespace", ""), each["metadata"]["name"]): each
        for each in answer["items"]
    }


def configmap(name: str, **data: str) -> bytes:
    return msgspec.json.encode({"metadata": {"name": name}, "data": data})


def bare(entry: dict[str, Any]) -> dict[str, Any]:
    """An object without what a list leaves out and what feeds leave out."""
    metadata = {k: v for k, v in entry["metadata"].items() if k != "managedFields"}
    return {
        **{k: v for k, v in entry.items() if k not in ("kind", "apiVersion")},
        "metadata": metadata,
    }


def catalog_of(followed: Followed) -> dict[str, Resource]:
    return {
        feed: msgspec.json.decode(item.data, type=Resource) for feed, item in followed.items.items()
    }
