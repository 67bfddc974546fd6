"""Against a real nats-server: who may connect, and until when."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bus import permissions
from bus.connection import BusSettings, Connection
from bus.keys import NodeKey
from cloud.enrolment.actor import Enrolment, EnrolmentSettings
from tests.actors.until import until
from tests.cloud.rig import CloudBus, Running, cloud_bus, running


class Place:
    """A bus, the directory it is told by, and nodes that dial."""

    def __init__(self, path: Path, bus: CloudBus, ran: Running) -> None:
        self.path = path
        self.bus = bus
        self.ran = ran
        self.directory = path / "enrolment"

    def file(self, node: str) -> Path:
        return self.directory / f"pool-a.{node}.pub"

    def key(self, node: str) -> NodeKey:
        return NodeKey.load_or_create(self.path / f"{node}.seed")

    @asynccontextmanager
    async def dialling(self, node: str) -> AsyncIterator[Connection]:
        connection = Connection(
            BusSettings(
                name="cloud",
                urls=(self.bus.server.url,),
                seed_file=self.key(node).seed_file,
                client=f"pool-a/{node}",
                inbox_prefix=permissions.inbox_prefix("pool-a", node),
                reconnect_seconds=0.02,
            )
        )
        await connection.start()
        try:
            yield connection
        finally:
            await connection.close()


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with cloud_bus(tmp_path) as bus:
        settings = EnrolmentSettings(tmp_path / "enrolment", bus.admin.public, tmp_path / "bus")
        async with running(Enrolment, settings, tmp_path) as ran:
            yield Place(tmp_path, bus, ran)


async def test_a_key_lets_its_node_in_and_its_removal_shuts_it_out(place: Place) -> None:
    async with place.dialling("node-1") as connection, place.dialling("node-2") as other:
        place.file("node-1").write_text(place.key("node-1").public + "\n")
        await connection.wait_up(5.0)
        assert not other.is_up
        assert place.ran.actor.status()["nodes"] == ["pool-a/node-1"]
        place.file("node-1").unlink()
        await until(lambda: not connection.is_up, "revoked", 5.0)
        assert place.ran.actor.status()["nodes"] == []


async def test_the_sites_own_connection_outlives_every_change(place: Place) -> None:
    site = await place.bus.connect()
    try:
        for node in ("node-1", "node-2"):
            place.file(node).write_text(place.key(node).public)
            async with place.dialling(node) as connection:
                await connection.wait_up(5.0)
        assert site.stats().reconnects == 0
        assert site.is_up
    finally:
        await site.close()


async def test_a_bad_file_is_named_and_stops_nobody(place: Place) -> None:
    (place.directory / "pool-a.bad.pub").write_text("nonsense")
    await until(lambda: bool(place.ran.actor.status()["faults"]), "seen", 5.0)
    assert place.ran.metric("atoll_enrolment_faulty_files 1.0")
    async with place.dialling("node-1") as connection:
        place.file("node-1").write_text(place.key("node-1").public)
        await connection.wait_up(5.0)
    assert place.ran.metric("atoll_enrolled_nodes 1.0")
    assert "pool-a.bad.pub" in place.ran.actor.status()["faults"]


async def test_a_directory_that_is_replaced_is_followed(place: Place) -> None:
    place.directory.rename(place.path / "away")
    place.directory.mkdir()
    async with place.dialling("node-1") as connection:
        place.file("node-1").write_text(place.key("node-1").public)
        await connection.wait_up(5.0)


async def test_an_external_bus_is_left_alone(tmp_path: Path) -> None:
    settings = EnrolmentSettings(tmp_path / "enrolment", "UADMIN", None)
    async with running(Enrolment, settings, tmp_path) as ran:
        key = NodeKey.load_or_create(tmp_path / "n.seed")
        (tmp_path / "enrolment" / "p.n.pub").write_text(key.public)
        await until(lambda: ran.actor.status()["nodes"] == ["p/n"], "seen", 5.0)
    assert not (tmp_path / "bus").exists()
