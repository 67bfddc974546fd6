"""Cloud and pool under Ray, as `atoll up` runs them: a worker killed, and nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
import yaml

from tests.actors.processes import is_running
from tests.e2e.conftest import Note
from tests.support.churn import Api, Churn
from tests.support.clients import PATHS, Client, session
from tests.support.lab import ATOLL, NODES, UP_SECONDS
from tests.support.process import Process

pytestmark = pytest.mark.timeout(240)

Json = dict[str, Any]


class Site:
    """One `atoll up`, on loopback, with ports of the system's choice."""

    def __init__(self, file: Path, process: Process, http: aiohttp.ClientSession) -> None:
        self._file = file
        self.process = process
        self._http = http

    @classmethod
    async def up(cls, directory: Path, content: Json, http: aiohttp.ClientSession) -> Site:
        file = directory / f"{content['name']}.yaml"
        file.write_text(yaml.safe_dump({"version": 1, "state": content["name"], **content}))
        process = await Process.start(content["name"], None, ATOLL, "up", str(file))
        site = cls(file, process, http)
        try:
            await process.says("all is started", 2 * UP_SECONDS)
        except BaseException:
            await process.close()
            raise
        return site

    def run_file(self) -> Json:
        name = self._file.stem
        return dict(json.loads((self._file.parent / name / "run" / f"{name}.json").read_text()))

    async def hosts(self) -> Json:
        async with self._http.get(self.run_file()["health"] + "/status") as response:
            return dict((await response.json())["hosts"])

    async def actor(self, host: str, actor: str) -> Json:
        found = (await self.hosts())[host].get("actors", {}).get(actor, {})
        return dict(found.get("status") or {})

    async def leader(self) -> str:
        """The node that leads, within a deadline."""
        end = time.monotonic() + UP_SECONDS
        while time.monotonic() < end:
            for node in NODES:
                if (await self.actor(node, "leader")).get("is_leader"):
                    return node
            await asyncio.sleep(0.1)
        raise AssertionError(f"nobody leads:\n{self.process.tail()}")

    def below(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)


@contextlib.asynccontextmanager
async def _sites(directory: Path) -> AsyncIterator[tuple[Site, Site]]:
    cloud_file: Json = {"kind": "cloud", "name": "cloud", "enrolment": "enrolment"}
    async with session(aiohttp.TCPConnector(limit=0)) as http, contextlib.AsyncExitStack() as stack:
        cloud = await Site.up(directory, {**cloud_file, "api": {"embedded": {}}}, http)
        stack.push_async_callback(cloud.process.close)
        pool_file: Json = {
            "kind": "pool",
            "name": "pool-a",
            "cloud": {"url": cloud.run_file()["servers"]["cloud"], "enrolment": "enrolment"},
            "nodes": [{"name": node, "listen": "127.0.0.1:0"} for node in NODES],
        }
        pool = await Site.up(directory, pool_file, http)
        stack.push_async_callback(pool.process.close)
        yield cloud, pool


async def test_ray_worker_of_the_leader_killed(tmp_path: Path, note: Note) -> None:
    began = time.monotonic()
    async with _sites(tmp_path) as (cloud, pool), session(aiohttp.TCPConnector(limit=0)) as http:
        note(start=time.monotonic() - began)
        leader = await pool.leader()
        api = Api(http, str((await cloud.actor("cloud", "apiserver"))["url"]))
        others = [node for node in NODES if node != leader]
        clients = [
            Client(http, str((await pool.actor(node, "hub"))["listen"]), path, node)
            for node in others
            for path in PATHS
        ]
        churn = Churn(api, rate=10.0)
        async with _running(churn, clients):
            await _flows(churn, clients)
            worker = int((await pool.hosts())[leader]["pid"])
            assert worker != pool.process.pid
            killed = time.monotonic()
            os.kill(worker, signal.SIGKILL)
            await _flows(churn, clients)
            outage = time.monotonic() - killed
            assert not _lives(worker)
            assert await pool.leader() in NODES  # its own restart may be as quick as a takeover
            back = await _restarted(pool, leader, worker) - killed
            await churn.stop()
            for path in PATHS:
                truth = await api.versions(path)
                at = (client for client in clients if client.path == path)
                await asyncio.gather(*(client.until_equal(truth, 20.0) for client in at))
                await _serves(http, pool, leader, path, truth)
        assert not [p for client in clients for p in client.problems]
        assert {client.lists for client in clients} == {1}
        await _leave_nothing(cloud, pool)
        note(outage=outage, host_back=back)
        assert outage < 8.0


async def _flows(churn: Churn, clients: list[Client]) -> None:
    versions, _ = await churn.probe()
    await asyncio.gather(*(c.until("default/probe", versions[c.path], 30.0) for c in clients))


async def _restarted(pool: Site, host: str, before: int) -> float:
    """When the host ran again, as a process of its own."""
    end = time.monotonic() + UP_SECONDS
    while time.monotonic() < end:
        found = (await pool.hosts())[host]
        if found["state"] == "running" and found.get("pid") not in (None, before):
            return time.monotonic()
        await asyncio.sleep(0.1)
    raise AssertionError(f"{host} did not come back:\n{pool.process.tail()}")


async def _serves(
    http: aiohttp.ClientSession, pool: Site, node: str, path: str, truth: dict[str, int]
) -> None:
    end = time.monotonic() + UP_SECONDS
    served: dict[str, int] = {}
    while served != truth:
        assert time.monotonic() < end, f"{node}{path} serves {served}, not {truth}"
        with contextlib.suppress(aiohttp.ClientError):
            url = str((await pool.actor(node, "hub")).get("listen") or "")
            served = await Api(http, url).versions(path) if url else {}
        await asyncio.sleep(0.1)


async def _leave_nothing(*sites: Site) -> None:
    """Ctrl-C once: all stop in order, and of Ray's daemons and workers none is left."""
    below = [process for site in sites for process in site.below()]
    names = {process.name() for process in below}
    assert {"gcs_server", "raylet", "nats-server"} <= names, names
    for site in sites:
        site.process.send(signal.SIGINT)
    assert [await site.process.ended(40.0) for site in sites] == [0] * len(sites)
    assert not [process for process in below if is_running(process)]


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@contextlib.asynccontextmanager
async def _running(churn: Churn, clients: list[Client]) -> AsyncIterator[None]:
    await churn.start()
    tasks = [asyncio.create_task(client.run(), name=f"client {client.name}") for client in clients]
    try:
        yield
    finally:
        await churn.stop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
