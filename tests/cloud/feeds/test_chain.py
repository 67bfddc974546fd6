"""The whole way: embedded API server, Feeds actor, real nats-server, follower."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client import generate_latest

from actors.backoff import RestartPolicy
from actors.kube import builtin
from actors.kube.client import ApiAccess, ClusterClient
from actors.kube.reflector import ReflectorSettings
from bus.api import Bus
from bus.feed.settings import FeedSettings
from cloud.apiserver.server import ApiServerSettings, EmbeddedApiServer
from cloud.feeds.actor import Feeds, FeedsSettings
from tests.actors.until import until
from tests.cloud.rig import (
    CloudBus,
    bare,
    catalog_of,
    cloud_bus,
    configmap,
    feeding,
    following,
    listed,
)

QUICK = RestartPolicy(first=0.02, ceiling=0.1, settle=10.0)
CONFIGMAPS = "configmaps_v1"
CM = builtin.CONFIGMAPS


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class World:
    """A bus, an API server that can be restarted on its port, and a follower's connection."""

    def __init__(self, path: Path, bus: CloudBus, follower: Bus) -> None:
        self.path = path
        self.bus = bus
        self.follower = follower
        self.api = EmbeddedApiServer(path / "api-0")
        self.lives = 0

    async def begin(self) -> None:
        await self.api.start()
        self.access = ApiAccess(url=self.api.url)
        self.client = ClusterClient(self.access)

    async def end(self) -> None:
        await self.client.close()
        await self.api.stop()

    async def restart(self, *, amnesia: bool = False, history: int = 10_000) -> None:
        await self.api.stop()
        self.lives += amnesia
        await self.serve(int(self.access.url.rpartition(":")[2]), history)

    async def serve(self, port: int, history: int = 10_000) -> None:
        settings = ApiServerSettings(port=port, history=history)
        self.api = EmbeddedApiServer(self.path / f"api-{self.lives}", settings)
        await self.api.start()

    async def change_unseen(self, history: int) -> None:
        """The API server serves elsewhere for a while, and objects change."""
        await self.api.stop()
        await self.serve(free_port(), history)
        async with ClusterClient(ApiAccess(url=self.api.url)) as client:
            for name in ("three", "four", "five"):
                await client.create(CM, "default", configmap(name, a="2"))
            await client.delete(CM, "default", "two")

    def settings(self, *resources: str, **rest: Any) -> FeedsSettings:
        return FeedsSettings(
            resources,
            self.access,
            tick=0.1,
            **{"reflector": ReflectorSettings(QUICK), "retry": QUICK, **rest},
        )

    @asynccontextmanager
    async def feeds(self, *resources: str, **rest: Any) -> AsyncIterator[Feeds]:
        async with feeding(
            self.bus, self.settings(*resources, **rest), self.path / "state"
        ) as feeds:
            yield feeds

    async def put(self, name: str, **data: str) -> None:
        await self.client.create(CM, "default", configmap(name, **data))

    async def change(self, name: str, **data: str) -> None:
        patch = msgspec.json.encode({"data": data})
        await self.client.patch(CM, "default", name, patch)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with cloud_bus(tmp_path) as bus:
        follower = await bus.connect("follower")
        made = World(tmp_path, bus, follower)
        await made.begin()
        try:
            yield made
        finally:
            await made.end()
            await follower.close()


async def test_objects_are_equal_through_puts_patches_and_deletes(world: World) -> None:
    await world.put("before", a="1")
    async with (
        world.feeds("configmaps", "services") as feeds,
        following(world.follower, "catalog") as catalog,
        following(world.follower, CONFIGMAPS) as followed,
        following(world.follower, "services_v1") as services,
    ):
        await catalog.until(lambda c: set(c.items) == {CONFIGMAPS, "services_v1"})
        assert catalog_of(catalog)[CONFIGMAPS].kind == "ConfigMap"
        await followed.until(lambda f: "default/before" in f.items)
        for number in range(30):
            await world.put(f"n{number}", value=str(number))
        await world.change("n3", value="changed")
        await world.client.delete(CM, "default", "n5")
        await followed.until(
            lambda f: (
                "default/n29" in f.items
                and "default/n5" not in f.items
                and b"changed" in f.items["default/n3"].data
            )
        )
        truth = await listed(world.client, "/api/v1/configmaps")
        assert {k: bare(v) for k, v in followed.objects().items()} == {
            k: bare(v) for k, v in truth.items()
        }
        assert all(each["kind"] == "ConfigMap" for each in followed.objects().values())
        await services.until(lambda s: "default/kubernetes" in s.items)
        assert followed.follower.age() < 5
        status = feeds.status()["feeds"][CONFIGMAPS]
        assert status["objects"] == len(truth)
        assert status["relists"] == {"start": 1}
        assert not status["error"]


@pytest.mark.parametrize("history", [10_000, 1])
async def test_an_api_server_restarted_with_its_data_is_followed_on(
    world: World, history: int
) -> None:
    await world.put("one", a="1")
    await world.put("two", a="1")
    async with (
        world.feeds("configmaps") as feeds,
        following(world.follower, CONFIGMAPS) as followed,
    ):
        await followed.until(lambda f: {"default/one", "default/two"} <= set(f.items))
        lineage = followed.follower.position.lineage
        await world.change_unseen(history)
        await world.restart(history=history)
        await followed.until(lambda f: "default/five" in f.items and "default/two" not in f.items)
        assert set(followed.items) >= {"default/one", "default/three", "default/four"}
        assert followed.follower.position.lineage == lineage
        assert not any(batch.reset for batch in followed.batches[1:])
        # Only where the history is too short was all listed anew, and something may be unnamed.
        assert all(batch.exact for batch in followed.batches[1:]) is (history > 1)
        relists = feeds.status()["feeds"][CONFIGMAPS]["relists"]
        assert relists == {"start": 1} | ({"expired": 1} if history == 1 else {})
        await until(lambda: not feeds.status()["feeds"][CONFIGMAPS]["error"], "all is well")


async def test_an_api_server_without_its_memory_is_another_lineage(world: World) -> None:
    for number in range(20):
        await world.put(f"old{number}", a="1")
    async with (
        world.feeds("configmaps", "services") as feeds,
        following(world.follower, CONFIGMAPS) as followed,
        following(world.follower, "services_v1") as services,
        following(world.follower, "catalog") as catalog,
    ):
        await followed.until(lambda f: "default/old19" in f.items)
        await services.until(lambda s: bool(s.items))
        before = followed.follower.position
        await world.restart(amnesia=True)
        await world.put("new", a="1")
        await followed.until(
            lambda f: set(f.items) >= {"default/new"} and "default/old3" not in f.items
        )
        after = followed.follower.position
        assert after.lineage > before.lineage
        assert after.version < before.version
        await services.until(lambda s: s.follower.position.lineage == after.lineage)
        await catalog.until(lambda c: c.follower.position.lineage == after.lineage)
        # One change of the cluster is one change of lineage, however many feeds notice it.
        assert feeds.status()["lineage"] == after.lineage
        assert {feed["lineage"] for feed in feeds.status()["feeds"].values()} == {after.lineage}


async def test_a_restored_cluster_is_another_lineage_however_far_it_has_come(world: World) -> None:
    """Its versions are above ours before we look: only what they are about shows it."""
    await world.put("kept", a="1")
    await world.api.stop()
    shutil.copytree(world.path / "api-0", world.path / "api-1")
    await world.restart()
    async with (
        world.feeds("configmaps", "services") as feeds,
        following(world.follower, CONFIGMAPS) as followed,
        following(world.follower, "services_v1") as services,
    ):
        await followed.until(lambda f: "default/kept" in f.items)
        for number in range(5):
            await world.put(f"lost{number}", a="1")
        await world.change("kept", a="lost")
        await followed.until(lambda f: b"lost" in f.items["default/kept"].data)
        await services.until(lambda s: bool(s.items))
        before = followed.follower.position
        await world.api.stop()
        world.lives = 1
        await world.serve(free_port())  # where nobody looks
        async with ClusterClient(ApiAccess(url=world.api.url)) as client:
            for number in range(20):
                await client.create(CM, "default", configmap(f"new{number}", a="1"))
        await world.restart()
        await followed.until(lambda f: "default/new19" in f.items)
        assert "default/lost0" not in followed.items
        assert b"lost" not in followed.items["default/kept"].data
        after = followed.follower.position
        assert after.version > before.version
        assert after.lineage > before.lineage
        # That one was quiet, and could not have noticed.
        await services.until(lambda s: s.follower.position.lineage == after.lineage)
        assert feeds.status()["feeds"][CONFIGMAPS]["relists"] == {"start": 1, "another past": 1}


async def test_memory_lost_while_the_cloud_site_was_away_is_noticed_too(world: World) -> None:
    for number in range(20):
        await world.put(f"old{number}", a="1")
    async with following(world.follower, CONFIGMAPS) as followed:
        async with world.feeds("configmaps"):
            await followed.until(lambda f: "default/old19" in f.items)
        before = followed.follower.position
        await world.restart(amnesia=True)
        await world.put("new", a="1")
        async with world.feeds("configmaps"):
            await followed.until(lambda f: "default/new" in f.items)
            assert "default/old3" not in followed.items
            assert followed.follower.position.lineage > before.lineage


async def test_a_restarted_feeds_actor_goes_on_in_the_same_lineage(world: World) -> None:
    await world.put("one", a="1")
    async with following(world.follower, CONFIGMAPS) as followed:
        async with world.feeds("configmaps"):
            await followed.until(lambda f: "default/one" in f.items)
        before = followed.follower.position
        await world.put("two", a="1")
        async with world.feeds("configmaps"):
            await followed.until(lambda f: "default/two" in f.items)
        assert followed.follower.position.lineage == before.lineage
        assert not any(batch.reset for batch in followed.batches[1:])
        # Only the difference was told: the object they had was not.
        assert [change.key for change in followed.batches[-1].changes] == ["default/two"]


async def test_resources_come_and_go_at_run_time(world: World) -> None:
    async with (
        world.feeds("configmaps") as feeds,
        following(world.follower, "catalog") as catalog,
    ):
        await catalog.until(lambda c: set(c.items) == {CONFIGMAPS})
        await feeds.on_config(replace(feeds.settings, resources=("configmaps", "nodes")))
        await catalog.until(lambda c: set(c.items) == {CONFIGMAPS, "nodes_v1"})
        await feeds.on_config(replace(feeds.settings, resources=("nodes",)))
        await catalog.until(lambda c: set(c.items) == {"nodes_v1"})
        await until(lambda: set(feeds.status()["feeds"]) == {"nodes_v1"}, "the feed has ended")


async def test_only_resources_may_change_at_run_time(world: World) -> None:
    async with world.feeds("configmaps") as feeds:
        with pytest.raises(ValueError, match="resources"):
            await feeds.on_config(replace(feeds.settings, tick=9.0))
        assert feeds.settings.tick != 9.0


def widget_crd() -> bytes:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    column = {"name": "Size", "type": "integer", "jsonPath": ".spec.size"}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "additionalPrinterColumns": [column],
    }
    spec = {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"plural": "widgets", "singular": "widget", "kind": "Widget"},
        "versions": [version],
    }
    metadata = {"name": "widgets.example.com"}
    kind = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}
    return msgspec.json.encode({**kind, "metadata": metadata, "spec": spec})


async def test_an_unknown_resource_is_named_and_comes_with_its_crd(world: World) -> None:
    feed = "widgets_v1_example_com"
    async with (
        world.feeds("configmap", "widgets.example.com", "servcies") as feeds,
        following(world.follower, "catalog") as catalog,
        following(world.follower, feed) as followed,
    ):
        await catalog.until(lambda c: set(c.items) == {CONFIGMAPS})
        unknown = feeds.status()["unknown"]
        assert set(unknown) == {"widgets.example.com", "servcies"}
        assert "did you mean services" in unknown["servcies"]
        await world.client.create(builtin.CRDS, "", widget_crd())
        await catalog.until(lambda c: feed in c.items)
        resource = catalog_of(catalog)[feed]
        assert [column.name for column in resource.columns] == ["Size"]
        kind = {"apiVersion": "example.com/v1", "kind": "Widget"}
        body = msgspec.json.encode({**kind, "metadata": {"name": "w"}, "spec": {"size": 3}})
        await world.client.create(resource, "default", body)
        await followed.until(lambda f: "default/w" in f.items)
        assert followed.objects()["default/w"]["spec"] == {"size": 3}
        assert set(feeds.status()["unknown"]) == {"servcies"}


async def test_a_resource_leaves_with_its_crd_and_comes_back(world: World) -> None:
    feed = "widgets_v1_example_com"
    await world.client.create(builtin.CRDS, "", widget_crd())
    soon = ReflectorSettings(QUICK, gone_seconds=0.2)
    async with (
        world.feeds("widgets", "configmaps", reflector=soon) as feeds,
        following(world.follower, "catalog") as catalog,
    ):
        await catalog.until(lambda c: set(c.items) == {CONFIGMAPS, feed})
        await world.client.delete(builtin.CRDS, "", "widgets.example.com")
        await catalog.until(lambda c: set(c.items) == {CONFIGMAPS})
        await until(lambda: "widgets" in feeds.status()["unknown"], "it is named")
        assert (
            'atoll_feed_unknown_resource{name="widgets"} 1.0'
            in generate_latest(feeds.context.metrics).decode()
        )
        await world.client.create(builtin.CRDS, "", widget_crd())
        await catalog.until(lambda c: set(c.items) == {CONFIGMAPS, feed})
        await until(lambda: not feeds.status()["unknown"], "and is no longer missing")


async def test_an_oversized_object_is_named_and_stops_nothing(world: World) -> None:
    small = FeedSettings(max_object=20_000)
    async with (
        world.feeds("configmaps", feed=small) as feeds,
        following(world.follower, CONFIGMAPS) as followed,
    ):
        await world.put("big", blob="x" * 30_000)
        await world.put("after", a="1")
        await followed.until(lambda f: "default/after" in f.items)
        assert "default/big" not in followed.items
        assert list(feeds.status()["feeds"][CONFIGMAPS]["oversized"]) == ["default/big"]
        await world.change("big", blob="small")
        await followed.until(lambda f: "default/big" in f.items)
        assert not feeds.status()["feeds"][CONFIGMAPS]["oversized"]


async def test_feeds_start_while_the_api_server_is_away(world: World) -> None:
    await world.put("one", a="1")
    await world.api.stop()
    async with (
        world.feeds("configmaps") as feeds,
        following(world.follower, CONFIGMAPS) as followed,
    ):
        await until(lambda: bool(feeds.status()["error"]), "it says that nobody answers")
        await world.restart()
        await followed.until(lambda f: "default/one" in f.items)
        assert not feeds.status()["error"]


async def test_a_restart_without_api_server_keeps_the_catalog(world: World) -> None:
    async with following(world.follower, "catalog") as catalog:
        async with world.feeds("configmaps"):
            await catalog.until(lambda c: CONFIGMAPS in c.items)
        await world.api.stop()
        async with world.feeds("configmaps") as feeds:
            await until(lambda: CONFIGMAPS in feeds.status()["feeds"], "remembered")
            await until(lambda: bool(feeds.status()["feeds"][CONFIGMAPS]["error"]), "nobody there")
            assert set(catalog.items) == {CONFIGMAPS}
        await world.restart()


async def test_the_bus_server_may_restart(world: World) -> None:
    async with world.feeds("configmaps"), following(world.follower, CONFIGMAPS) as followed:
        await world.put("one", a="1")
        await followed.until(lambda f: "default/one" in f.items)
        await world.bus.server.stop()
        await world.put("two", a="1")
        await asyncio.sleep(0)
        await world.bus.server.start()
        await followed.until(lambda f: "default/two" in f.items)
