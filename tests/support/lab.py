"""A cloud site and a pool of three nodes as they are run: `atoll up`, one process per node.

Every site is a machine of its own (`netns.py`): the cloud and each node have a port on the WAN, the
nodes and the pool's bus one on the LAN. Nothing survives the test, however it ends.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sysconfig
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import yaml

from bus import permissions
from tests.support.churn import Api
from tests.support.clients import PATHS, Client, session
from tests.support.netns import Lan, Machine, socket_factory
from tests.support.process import Process

NODES = ("node-1", "node-2", "node-3")
POOL = "pool-a"
WAN, LAN = "wan0", "lan0"
CLOUD_ADDRESS, BUS_ADDRESS = "10.77.0.1", "10.78.0.1"
API_PORT, HUB_PORT, HEALTH_PORT, BUS_PORT = 6443, 10261, 10267, 4222
UP_SECONDS = 40.0  # for anything to start, on a busy machine
ATOLL = str(Path(sysconfig.get_path("scripts")) / "atoll")
_LOOK = 0.05  # seconds between looks at what other processes say of themselves

Json = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """What differs between labs."""

    api_apart: bool = True  # the API server in a process of its own, else in the cloud site's
    bus_apart: bool = (
        True  # the pool's nats-server on a machine of its own, else on node-1 with TLS
    )
    storage: int = 256 << 20  # bytes, of the pool's JetStream
    disk: int = 0  # bytes of a real small disk for it; 0: the machine's own
    max_object: int = 3 << 20  # bytes the API server takes
    cloud: Json = field(default_factory=dict)  # more keys of the site files
    pool: Json = field(default_factory=dict)


class Lab:
    """`async with Lab(directory) as lab`; processes by name: "api", "cloud", "bus", "node-1" ..."""

    def __init__(self, directory: Path, plan: Plan | None = None) -> None:
        self.directory = directory
        self.plan = plan or Plan()
        self.processes: dict[str, Process] = {}
        self.machines: dict[str, Machine] = {}
        self._sessions: dict[str, aiohttp.ClientSession] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Lab:
        try:
            self._lay_cables()
            self._write_files()
            await self._start_all()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """All at once where it still runs; `stop` is the orderly way, for tests of it."""
        for process in reversed(self.processes.values()):
            await process.close()
        await self._stack.aclose()

    # -- construction -----------------------------------------------------------------------------

    def _lay_cables(self) -> None:
        wan, lan = Lan(WAN, "10.77.0"), Lan(LAN, "10.78.0")
        self._stack.callback(wan.close)
        self._stack.callback(lan.close)
        for number, name in enumerate(("cloud", "bus", *NODES), 1):
            machine = self.machines[name] = Machine(name)
            self._stack.callback(machine.close)
            if name != "bus":
                wan.plug(machine, 1 if name == "cloud" else number + 8)
            if name != "cloud":
                lan.plug(machine, 1 if name == "bus" else number + 8)
            connector = aiohttp.TCPConnector(limit=0, socket_factory=socket_factory(machine))
            self._sessions[name] = session(connector)
            self._stack.push_async_callback(self._sessions[name].close)

    def _write_files(self) -> None:
        for name, address in (("cloud", CLOUD_ADDRESS), ("pool", _address("node-1"))):
            _make_certificate(self.directory, name, address)
        self._write("cloud", {**self._cloud_file(), **self.plan.cloud})
        self._write("pool", {**self._pool_file(), **self.plan.pool})

    def _write(self, name: str, content: Json) -> None:
        self.file(name).write_text(yaml.safe_dump(content, sort_keys=False))

    def file(self, name: str) -> Path:
        return self.directory / f"{name}.yaml"

    def _cloud_file(self) -> Json:
        embedded = {"embedded": {"listen": f"127.0.0.1:{API_PORT}"}}
        return {
            "version": 1,
            "kind": "cloud",
            "name": "cloud",
            "state": "cloud",
            "enrolment": "enrolment",
            "api": {"kubeconfig": "api/kubeconfig"} if self.plan.api_apart else embedded,
            "bus": {"listen": f"{CLOUD_ADDRESS}:{BUS_PORT}", "tls": _tls_files("cloud")},
            "health": {"listen": f"127.0.0.1:{HEALTH_PORT}"},
        }

    def _pool_file(self) -> Json:
        own = {
            "listen": f"{_address('node-1')}:{BUS_PORT}",
            "tls": _tls_files("pool"),
            "ca": "pool.crt",
        }
        return {
            "version": 1,
            "kind": "pool",
            "name": POOL,
            "state": "pool",
            "cloud": {
                "url": f"tls://{CLOUD_ADDRESS}:{BUS_PORT}",
                "ca": "cloud.crt",
                "enrolment": "enrolment",
            },
            "bus": {"url": f"nats://{BUS_ADDRESS}:{BUS_PORT}"} if self.plan.bus_apart else own,
            "nodes": [{"name": node, "host": _address(node)} for node in NODES],
            "health": {"listen": f"127.0.0.1:{HEALTH_PORT}"},
        }

    # -- processes --------------------------------------------------------------------------------

    async def _start_all(self) -> None:
        apart = [*["api"] * self.plan.api_apart, *["bus"] * self.plan.bus_apart]
        await asyncio.gather(*(self.start(name) for name in apart))
        await asyncio.gather(*(self.start(name) for name in ("cloud", *NODES)))
        await self.settled()

    async def start(self, name: str) -> Process:
        """Starts it (again) and waits until it says that it is up."""
        before = self.processes.get(name)
        if before is not None:
            await before.close()
        process = self.processes[name] = await self._launch(name)
        await process.says("serving at" if name in ("api", "bus") else "all is started", UP_SECONDS)
        return process

    async def _launch(self, name: str) -> Process:
        if name == "api":
            state, size = self.directory / "api", self.plan.max_object
            program = ["tests.support.apiserver", str(state), str(API_PORT), str(size)]
            return await Process.python(name, self.machines["cloud"], "-m", *program)
        if name == "bus":
            where = [POOL, str(self.directory / "pool"), BUS_ADDRESS, str(BUS_PORT)]
            program = [
                "tests.support.busd",
                *where,
                str(self.plan.storage),
                str(self.plan.disk),
                *NODES,
            ]
            return await Process.python(name, self.machines["bus"], "-m", *program)
        site = self.file("cloud" if name == "cloud" else "pool")
        node = [] if name == "cloud" else ["--node", name]
        command = [ATOLL, "up", str(site), "--runtime", "local", *node]
        return await Process.start(name, self.machines[name], *command)

    async def kill(self, *names: str) -> None:
        """-9 at once."""
        for name in names:
            self.processes[name].send(signal.SIGKILL)
        await asyncio.gather(*(self.processes[name].ended(5.0) for name in names))

    def nats_pid(self, site: str) -> int:
        """nats-server's own pid; `site` is "cloud" or "pool"."""
        return int((self.directory / site / "bus" / "nats.pid").read_text())

    async def gone(self, pid: int) -> None:
        """Returns once a process that is not our child has ended."""

        async def is_gone() -> bool:
            return not psutil.pid_exists(pid)

        await self.until(is_gone, f"process {pid} is gone")

    def descendants(self) -> list[psutil.Process]:
        """Everything below the lab's processes, nats-servers and their guards included."""
        running = [process for process in self.processes.values() if process.is_running]
        return [
            child
            for process in running
            for child in psutil.Process(process.pid).children(recursive=True)
        ]

    @property
    def nodes(self) -> list[str]:
        """Those whose process runs."""
        return [
            node for node in NODES if node in self.processes and self.processes[node].is_running
        ]

    # -- what they say ----------------------------------------------------------------------------

    async def status(self, name: str) -> Json:
        """{} while it does not answer."""
        url = f"http://127.0.0.1:{HEALTH_PORT}/status"
        try:
            async with self._sessions[name].get(url) as response:
                return dict(await response.json())
        except (aiohttp.ClientError, TimeoutError, OSError):
            return {}

    async def metrics(self, name: str) -> str:
        url = f"http://127.0.0.1:{HEALTH_PORT}/metrics"
        async with self._sessions[name].get(url) as response:
            return await response.text()

    async def actor(self, host: str, actor: str) -> Json:
        status = await self.status(host)
        found = status.get("hosts", {}).get(host, {}).get("actors", {}).get(actor, {})
        return dict(found.get("status") or {})

    async def holder(self, office: str, among: Iterable[str] = NODES) -> str:
        """The node that says it holds "leader" or "coordinator"; "" unless exactly one does."""
        nodes = [node for node in self.nodes if node in among]
        said = await asyncio.gather(*(self.actor(node, office) for node in nodes))
        found = [n for n, status in zip(nodes, said, strict=True) if status.get("is_leader")]
        return found[0] if len(found) == 1 else ""

    async def until(
        self, reached: Callable[[], Awaitable[Any]], what: str, timeout: float = 20.0
    ) -> Any:
        """What `reached` gave when it was true. Other processes send no event, so it is asked."""
        end = time.monotonic() + timeout
        while not (found := await reached()):
            if time.monotonic() > end:
                raise AssertionError(f"not within {timeout} s: {what}\n{self.tails()}")
            await asyncio.sleep(_LOOK)
        return found

    async def offices(self) -> tuple[str, str]:
        """Leader and coordinator, once there is one of each."""

        async def both() -> tuple[str, str] | None:
            leader, keeper = await self.holder("leader"), await self.holder("coordinator")
            return (leader, keeper) if leader and keeper else None

        leader, keeper = await self.until(both, "a leader and a coordinator")
        return leader, keeper

    async def settled(self, timeout: float = UP_SECONDS) -> None:
        """Healed: every node fed by the coordinator, one leader, all links up."""

        async def fine() -> bool:
            if len(self.nodes) < len(NODES) or not all([await self._is_fed(n) for n in NODES]):
                return False
            return bool(await self.holder("leader") and await self.holder("coordinator"))

        await self.until(fine, "the pool as it shall be", timeout)

    async def _is_fed(self, node: str) -> bool:
        status = await self.status(node)
        host = status.get("hosts", {}).get(node, {})
        hub = host.get("actors", {}).get("hub", {}).get("status") or {}
        ages = [feed["age"] for feed in hub.get("feeds", {}).values()]
        links = [bus["up"] for bus in host.get("buses", {}).values()]
        fresh = len(ages) >= len(PATHS) and all(age is not None and age < 3.0 for age in ages)
        return hub.get("source") == "pool" and fresh and len(links) == 2 and all(links)

    def tails(self) -> str:
        return "\n".join(process.tail() for process in self.processes.values())

    # -- clients ----------------------------------------------------------------------------------

    @property
    def api(self) -> Api:
        return Api(self._sessions["cloud"], f"http://127.0.0.1:{API_PORT}")

    def hub(self, node: str) -> Api:
        return Api(self._sessions[node], f"http://127.0.0.1:{HUB_PORT}")

    def client(self, node: str, path: str, every: int = 0) -> Client:
        hub = self.hub(node)
        return Client(hub.session, hub.base, path, node, every)

    async def intruder(self, site: str, who: str) -> Process:
        """`tests.support.intruder` on a site's bus, with the key of a node or of the cloud."""
        pool_url = self._pool_file()["bus"].get("url", f"tls://{_address('node-1')}:{BUS_PORT}")
        url = f"tls://{CLOUD_ADDRESS}:{BUS_PORT}" if site == "cloud" else pool_url
        seed = self.directory / "pool" / "nodes" / who / "node.seed"
        inbox = permissions.inbox_prefix(POOL, who)
        if who == "cloud":
            seed = self.directory / "cloud" / "keys" / "admin.seed"
            inbox = permissions.ADMIN_INBOX
        ca = [str(self.directory / f"{site}.crt")] if url.startswith("tls") else []
        program = ["tests.support.intruder", url, str(seed), inbox, *ca]
        process = await Process.python(f"intruder {who}", self.machines[who], "-m", *program)
        self._stack.push_async_callback(process.close)
        await process.says("ready")
        return process

    # -- faults -----------------------------------------------------------------------------------

    def black_hole(self, nodes: Iterable[str]) -> None:
        for node in nodes:
            self.machines[node].black_hole(WAN)

    def heal(self, nodes: Iterable[str] = NODES) -> dict[str, int]:
        """Packets that each black hole took."""
        return {node: self.machines[node].heal(WAN) for node in nodes}

    async def recover(self) -> None:
        """Heals all that a test may have left broken."""
        self.heal()
        for process in self.processes.values():
            if process.is_running:
                process.send(signal.SIGCONT)
        dead = [name for name, process in self.processes.items() if not process.is_running]
        await asyncio.gather(*(self.start(name) for name in dead))
        await self.settled()

    async def lead_from(self, node: str) -> None:
        """Makes `node` the leader, by the loss of the others' links for a moment."""
        others = [other for other in NODES if other != node]
        if await self.holder("leader") == node:
            return
        for other in others:
            self.machines[other].link_down(WAN)
        await self.until(lambda: self._leads(node), f"{node} leads")
        self.heal(others)
        await self.settled()

    async def _leads(self, node: str) -> bool:
        return await self.holder("leader") == node


def _address(node: str) -> str:
    """On the LAN; on the WAN it ends alike."""
    return f"10.78.0.{NODES.index(node) + 11}"


def _tls_files(name: str) -> Json:
    return {"certificate": f"{name}.crt", "key": f"{name}.key"}


def _make_certificate(directory: Path, name: str, address: str) -> None:
    """Signed by itself, so that it is its own CA."""
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    files = ["-keyout", str(directory / f"{name}.key"), "-out", str(directory / f"{name}.crt")]
    names = ["-subj", f"/CN={name}", "-addext", f"subjectAltName=IP:{address}"]
    command = ["openssl", "req", "-x509", "-days", "2", *key, *names, *files]
    subprocess.run(command, check=True, capture_output=True)
