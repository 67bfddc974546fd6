"""What every runtime promises, asked of each of them."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from actors.runner import SettingsRefused
from actors.runtimes import HostGone
from actors.specs import ActorSpec
from bus.connection import BusSettings
from bus.keys import NodeKey
from bus.server import EmbeddedServer, ServerSettings, ServerUser
from tests.actors.runtimes.conftest import REPOSITORY, Bench
from tests.actors.samples import Journal, ToySettings, host, toy
from tests.actors.until import until

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal")


async def test_a_host_starts_in_order_tells_its_status_and_stops_in_reverse(
    bench: Bench, tmp_path: Path, journal: Journal
) -> None:
    spec = host(tmp_path, toy("a", journal.path, word="hello"), toy("b", journal.path))
    handle = await bench.runtime.start_host(spec)
    status = await handle.status()
    assert status["ready"]
    assert status["pid"] == handle.pid
    assert status["actors"]["a"]["status"] == {"word": "hello", "pid": handle.pid}
    assert (handle.pid == os.getpid()) is (bench.runtime.name == "local")
    await handle.stop(3.0)
    await handle.stop(3.0)
    assert journal.lines() == [
        *("a starting", "a started", "b starting", "b started"),
        *("b stopping", "b stopped", "a stopping", "a stopped"),
    ]
    if bench.runtime.name == "ray":
        assert not psutil.pid_exists(status["pid"])
    with pytest.raises(HostGone):
        await handle.status()


async def test_settings_and_metrics_and_log_lines_cross(
    bench: Bench, tmp_path: Path, journal: Journal
) -> None:
    handle = await bench.runtime.start_host(
        host(tmp_path, toy("a", journal.path, word="old", refuse="bad"))
    )
    await handle.configure("a", ToySettings(journal.path, word="new", refuse="bad"))
    with pytest.raises(SettingsRefused, match="'bad' is not for me"):
        await handle.configure("a", ToySettings(journal.path, word="bad", refuse="bad"))
    status = await handle.status()
    assert status["actors"]["a"]["status"]["word"] == "new"
    assert 'atoll_actor_up{actor="a",node="node-1",site="pool-a"} 1.0' in await handle.metrics()
    await until(lambda: any("took new settings" in line for line in bench.lines), "a log line")
    await handle.stop(3.0)


async def test_a_failing_actor_is_in_the_status_not_an_error(
    bench: Bench, tmp_path: Path, journal: Journal
) -> None:
    handle = await bench.runtime.start_host(
        host(tmp_path, toy("bad", journal.path, fail_on="start"), toy("good", journal.path))
    )
    status = await handle.status()
    assert not status["ready"]
    assert "toy cannot start" in status["actors"]["bad"]["error"]
    assert status["actors"]["good"]["state"] == "running"
    await handle.stop(3.0)


async def test_a_killed_host_is_noticed(bench: Bench, tmp_path: Path, journal: Journal) -> None:
    handle = await bench.runtime.start_host(host(tmp_path, toy("a", journal.path)))
    waiting = asyncio.create_task(handle.wait_exit())
    began = time.monotonic()
    bench.kill(handle)
    assert await asyncio.wait_for(waiting, 5)
    assert time.monotonic() - began < 1.0
    with pytest.raises(HostGone):
        await handle.configure("a", None)
    await handle.stop(1.0)
    assert "a stopping" not in journal.lines()
    again = await bench.runtime.start_host(host(tmp_path, toy("a", journal.path)))
    await again.stop(1.0)


async def test_a_stop_keeps_its_deadline(bench: Bench, tmp_path: Path, journal: Journal) -> None:
    spec = host(tmp_path, toy("stuck", journal.path, factory="Stubborn"))
    handle = await bench.runtime.start_host(spec)
    began = time.monotonic()
    await handle.stop(0.3)
    assert time.monotonic() - began < 3.0
    assert journal.lines()[-1] == "stuck cancelled"


async def test_a_cancelled_start_leaves_no_host(
    bench: Bench, tmp_path: Path, journal: Journal
) -> None:
    spec = host(tmp_path, toy("slow", journal.path, start_seconds=60))
    starting = asyncio.create_task(bench.runtime.start_host(spec))
    await until(lambda: journal.lines() == ["slow starting"], "slow starting")
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert "slow started" not in journal.lines()


async def test_actors_run_our_packages_and_reach_the_bus(bench: Bench, tmp_path: Path) -> None:
    key = NodeKey.load_or_create(tmp_path / "seed")
    user = ServerUser(key.public, (">",), (">",))
    server = EmbeddedServer(ServerSettings("pool", "pool-a", tmp_path / "bus", (user,)))
    await server.start()
    bus = BusSettings("pool", (server.url,), key.seed_file, "pool-a/node-1", "_INBOX.test")
    actor = ActorSpec("a", "tests.actors.samples:Surroundings", None)
    handle = await bench.runtime.start_host(
        replace(host(tmp_path, actor), buses={"pool": bus}, name="node-1")
    )
    try:
        status = await handle.status()
        surroundings = status["actors"]["a"]["status"]
        for name, path in surroundings["files"].items():
            assert Path(path) == REPOSITORY / name / "__init__.py"
        if bench.runtime.name == "ray":
            assert surroundings["loop"].startswith("uvloop")
        async with asyncio.timeout(5):
            while not status["buses"]["pool"]["up"]:
                await asyncio.sleep(0.01)
                status = await handle.status()
    finally:
        await handle.stop(3.0)
        await server.stop()
