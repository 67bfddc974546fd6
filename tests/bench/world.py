"""A cloud and a pool as real processes: the API server apart, `atoll up` for the sites."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import aiohttp
import yaml

import configs
from actors.runfile import run_directory
from bus.server import EmbeddedServer
from configs.schema import PoolSiteFile
from edge.site import PoolSite
from tests.bench.child import Child

START_SECONDS = 120.0  # a hundred nodes on two cores take a while
STOP_SECONDS = 30.0
LOG_LINES = 40  # of each process, shown after a failure
LOOK = 0.05  # seconds between looks at a process that starts


class Up:
    """One `atoll up` process."""

    def __init__(self, file: Path, state: Path, site: str, node: str = "") -> None:
        self._file = file
        self._node = node
        self._run_file = run_directory(state) / f"{site}.{node}.json".replace("..", ".")
        self._log = file.with_name(f"{site}.{node or 'all'}.log")
        self._process: subprocess.Popen[bytes] | None = None
        self.run: dict[str, Any] = {}

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def start(self, session: aiohttp.ClientSession) -> None:
        """Returns when it says that it is ready."""
        command = [str(Path(sys.executable).with_name("atoll")), "up", str(self._file)]
        command += ["--node", self._node] if self._node else []
        with self._log.open("ab") as log:
            self._process = await asyncio.to_thread(
                subprocess.Popen, command, stdout=log, stderr=log
            )
        await self._until(self._is_told)
        await self._until(lambda: self._is_ready(session))

    async def _until(self, reached: Any) -> None:
        assert self._process is not None
        end = time.monotonic() + START_SECONDS
        while not await reached():
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"{self._file.name} does not start: {self._log.read_text()}")
            await asyncio.sleep(LOOK)

    async def _is_told(self) -> bool:
        try:
            self.run = json.loads(self._run_file.read_text())
        except (FileNotFoundError, ValueError):
            return False
        return bool(self.run["pid"] == self.pid)

    async def _is_ready(self, session: aiohttp.ClientSession) -> bool:
        async with session.get(self.run["health"] + "/readyz") as response:
            return response.status == 200

    async def status(self, session: aiohttp.ClientSession) -> dict[str, Any]:
        async with session.get(self.run["health"] + "/status") as response:
            return dict(await response.json())

    @property
    def hubs(self) -> dict[str, str]:
        return dict(self.run["hubs"])

    def kill(self) -> None:
        """As a crash: kill -9, of this process alone."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    async def stop(self) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            await asyncio.to_thread(self._process.wait, STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()


@dataclass
class World:
    """Started step by step; all of it ends with the context."""

    runtime: str = "local"
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    nodes: tuple[str, ...] = ()
    ups: dict[str, Up] = field(default_factory=dict)  # by node; "" for all in one process
    pool_bus: EmbeddedServer | None = None

    async def __aenter__(self) -> Self:
        temporary = tempfile.TemporaryDirectory(prefix="atoll-bench-", ignore_cleanup_errors=True)
        self.directory = Path(self.stack.enter_context(temporary))
        self.session = await self.stack.enter_async_context(aiohttp.ClientSession())
        return self

    async def __aexit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            self._show_logs()
        await self.stack.aclose()

    def _show_logs(self) -> None:
        for log in sorted(self.directory.glob("*.log")):
            for line in log.read_text().splitlines()[-LOG_LINES:]:
                print(f"{log.stem}: {line}", file=sys.stderr)

    async def child(self, part: str, **arguments: Any) -> Child:
        return await self.stack.enter_async_context(Child(part, **arguments))

    async def readers(self) -> Child:
        return await self.child("tests.bench.parts.readers:Readers")

    # -- the cloud --------------------------------------------------------------------------------

    async def start_api(self, services: int, endpoints: int) -> int:
        """A filled API server; the resourceVersion that holds."""
        state = str(self.directory / "api")
        self.api = await self.child("tests.bench.parts.apiserver:ApiPart", state=state)
        told = await self.api.call("start")
        self.api_url, self._kubeconfig = str(told["url"]), str(told["kubeconfig"])
        return int(await self.api.call("fill", services=services, endpoints=endpoints))

    async def start_cloud(self) -> None:
        config = {
            "version": 1,
            "kind": "cloud",
            "name": "cloud",
            "state": "cloud",
            "runtime": "local",
            "api": {"kubeconfig": self._kubeconfig},
            "enrolment": "enrolment",
            "log": {"level": "warning"},
        }
        self.cloud = Up(self._write("cloud.yaml", config), self.directory / "cloud", "cloud")
        self.stack.push_async_callback(self.cloud.stop)
        await self.cloud.start(self.session)

    @property
    def cloud_bus(self) -> str:
        return str(self.cloud.run["servers"]["cloud"])

    # -- the pool ---------------------------------------------------------------------------------

    async def start_pool(
        self,
        nodes: int,
        *,
        apart: bool = False,
        links: Mapping[str, str] | None = None,
        runtime: str = "local",
    ) -> None:
        """All nodes in one process; or each `apart` in its own, and the pool's bus with us.

        `links`: each node's own way to the cloud.
        """
        self.nodes = tuple(f"node-{number:03}" for number in range(1, nodes + 1))
        file = self._write("pool.yaml", self._pool(runtime, links or {}))
        if apart:
            self.pool_bus = EmbeddedServer(PoolSite(_pool_file(file)).servers()[0])
            self.stack.push_async_callback(self.pool_bus.stop)
            await self.pool_bus.start()
            config = self._pool(runtime, links or {}) | {"bus": {"url": self.pool_bus.url}}
            file = self._write("pool.yaml", config)
        for node in self.nodes if apart else ("",):
            self.ups[node] = Up(file, self.directory / "pool", "pool", node)
            self.stack.push_async_callback(self.ups[node].stop)
        await asyncio.gather(*(up.start(self.session) for up in self.ups.values()))
        await self.until_synced()

    def _pool(self, runtime: str, links: Mapping[str, str]) -> dict[str, Any]:
        nodes: Sequence[dict[str, Any]] = [
            {"name": node, "listen": "127.0.0.1:0"}
            | ({"cloud_url": links[node]} if node in links else {})
            for node in self.nodes
        ]
        return {
            "version": 1,
            "kind": "pool",
            "name": "pool",
            "state": "pool",
            "runtime": runtime,
            "cloud": {"url": self.cloud_bus, "enrolment": "enrolment"},
            "nodes": list(nodes),
            "log": {"level": "info"},
        }

    @property
    def hubs(self) -> dict[str, str]:
        """URLs of the nodes' Kubernetes APIs."""
        return {node: url for up in self.ups.values() for node, url in up.hubs.items()}

    async def until_synced(self) -> None:
        """Every hub says that it has all feeds."""
        end = time.monotonic() + START_SECONDS
        for url in self.hubs.values():
            while not await self._has_feeds(url):
                if time.monotonic() > end:
                    raise RuntimeError(f"{url} does not get its feeds")
                await asyncio.sleep(LOOK)

    async def _has_feeds(self, url: str) -> bool:
        async with self.session.get(f"{url}/apis/discovery.k8s.io/v1/endpointslices?limit=1") as r:
            return r.status == 200

    async def actors(self) -> dict[str, dict[str, Any]]:
        """By node, the statuses of its actors."""
        found: dict[str, dict[str, Any]] = {}
        for up in self.ups.values():
            status = await up.status(self.session)
            for node, host in status["hosts"].items():
                actors = host.get("actors", {})
                found[node] = {name: a.get("status") or {} for name, a in actors.items()}
        return found

    async def holder(self, actor: str) -> str:
        """The node that leads ("leader") or coordinates ("coordinator"), once there is one."""
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            actors = await self.actors()
            holding = [node for node, found in actors.items() if found[actor].get("is_leader")]
            if len(holding) == 1:
                return holding[0]
            await asyncio.sleep(LOOK)
        raise RuntimeError(f"no {actor}: {actors}")

    def _write(self, name: str, config: dict[str, Any]) -> Path:
        path = self.directory / name
        path.write_text(yaml.safe_dump(config, sort_keys=False))
        return path


def _pool_file(path: Path) -> PoolSiteFile:
    site = configs.load(path)
    assert isinstance(site, PoolSiteFile)
    return site
