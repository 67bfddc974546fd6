"""How long a fault keeps changes from the clients of the nodes that live on, per kind of fault.

Measured: a pool whose nodes are processes of their own, the pool's bus apart from them, each node's
cloud link through a forwarder that can go dark. Changes are written every 20 ms from the fault on,
until what was written a second after it is everywhere again; the figure is the longest that any of
these changes took to be at every living node's client. Median and worst of `--times`. Baseline in
the same run: the same without a fault.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from actors.demo.wan import Wan
from tests.bench.load import SLICES
from tests.bench.parts.reader import Reader
from tests.bench.report import Report
from tests.bench.world import LOOK, World

EVERY = 0.02  # seconds between changes
QUIET = 1.0  # seconds after the fault from which a change that passes shows that it is healed
DEADLINE = 30.0  # seconds in which it must have healed
SMOKE = {"nodes": 1, "services": 3, "endpoints": 2, "times": 1, "faults": ["none"]}
# Seconds wanted; the design's section 6.
WANTED = {
    "none": None,
    "leader-crash": 3.0,
    "leader-stop": 1.0,
    "leader-link-reset": 1.0,
    "leader-black-hole": 3.0,
    "coordinator-crash": 3.0,
    "pool-bus-crash": None,
}


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--services", type=int, default=200)
    parser.add_argument("--endpoints", type=int, default=50)
    parser.add_argument("--times", type=int, default=5, help="repetitions of each fault")
    parser.add_argument("--faults", nargs="+", default=list(WANTED), choices=list(WANTED))


async def run(args: argparse.Namespace) -> Report:
    logging.getLogger("bus.server").setLevel(logging.CRITICAL)  # we kill it on purpose
    load = {"nodes": args.nodes, "services": args.services, "endpoints": args.endpoints}
    report = Report("failover", {**load, "times": args.times})
    async with World() as world:
        lab = Lab(world)
        await lab.start(args.nodes, args.services, args.endpoints)
        for fault in args.faults:
            found = [await lab.suffer(fault) for _ in range(args.times)]
            seconds = [each["seconds"] for each in found]
            report.figures[fault] = {
                "median_s": round(statistics.median(seconds), 3),
                "worst_s": round(max(seconds), 3),
                "all_s": [round(each, 3) for each in seconds],
                "leader_coordinated_too": [each["both"] for each in found],
            }
            _tell(report, fault)
        await lab.stop()
    return report


def _tell(report: Report, fault: str) -> None:
    found, bound = report.figures[fault], WANTED[fault]
    text = f"median {found['median_s']} s, worst {found['worst_s']} s"
    good = None if bound is None else found["worst_s"] < bound
    report.add(fault, text, "" if bound is None else f"< {bound:g} s", good)


@dataclass
class Lab:
    world: World
    wans: dict[str, Wan] = field(default_factory=dict)

    async def start(self, nodes: int, services: int, endpoints: int) -> None:
        world = self.world
        await world.start_api(services, endpoints)
        await world.start_cloud()
        port = urlsplit(world.cloud_bus).port or 0
        for number in range(1, nodes + 1):
            name = f"node-{number:03}"
            self.wans[name] = Wan(port)
            await self.wans[name].start()
        links = {name: f"nats://127.0.0.1:{wan.port}" for name, wan in self.wans.items()}
        await world.start_pool(nodes, apart=True, links=links)

    async def stop(self) -> None:
        for wan in self.wans.values():
            await wan.stop()

    async def suffer(self, fault: str) -> dict[str, Any]:
        """One fault, and its cure; the longest delay of a change made after it, in seconds."""
        await self._until_calm()
        clients = await self._clients()
        faults: dict[str, Callable[[], Awaitable[set[str]]]] = {
            "none": self._none,
            "leader-crash": lambda: self._crash("leader"),
            "leader-stop": self._stop_leader,
            "leader-link-reset": self._reset,
            "leader-black-hole": self._black_hole,
            "coordinator-crash": lambda: self._crash("coordinator"),
            "pool-bus-crash": self._crash_bus,
        }
        leader = await self.world.holder("leader")
        both = leader == await self.world.holder("coordinator")
        lost = await faults[fault]()
        living = [client for node, client in clients.items() if node not in lost]
        written = await self._write_until_healed(living)
        worst = max(delay(written, client.stamps) for client in living)
        for client in clients.values():
            client.close()
        await self._cure(lost)
        return {"seconds": worst, "both": both, "changes": len(written)}

    async def _write_until_healed(self, living: list[Reader]) -> dict[int, float]:
        """Versions written, and when."""
        fault = time.monotonic()
        written: dict[int, float] = {}
        while True:
            began = time.monotonic()
            written[await self.world.api.call("change")] = began
            late = [v for v, at in written.items() if at > fault + QUIET]
            if late and all(max(c.stamps, default=0) >= min(late) for c in living):
                break
            if began > fault + DEADLINE:
                raise RuntimeError(f"not healed after {DEADLINE} s")
            await asyncio.sleep(EVERY)
        await asyncio.gather(*(c.until(max(written), DEADLINE) for c in living))
        return written

    async def _until_calm(self) -> None:
        """One leader, one coordinator, and a change passes: the last fault is over."""
        await self.world.holder("leader")
        await self.world.holder("coordinator")
        clients = await self._clients()
        await self._until(clients, await self.world.api.call("change"))
        for client in clients.values():
            client.close()

    async def _clients(self) -> dict[str, Reader]:
        clients = {}
        for node, url in self.world.hubs.items():
            clients[node] = client = Reader(url, stamps=True)
            await client.connect()
            await client.watch(f"{SLICES}?timeoutSeconds=300", await self._version(url))
        return clients

    async def _version(self, url: str) -> int:
        async with self.world.session.get(f"{url}{SLICES}?limit=1") as answer:
            return int((await answer.json())["metadata"]["resourceVersion"])

    async def _until(self, clients: dict[str, Reader], version: int) -> float:
        return max(await asyncio.gather(*(c.until(version, DEADLINE) for c in clients.values())))

    # -- faults: each returns the nodes that it took ----------------------------------------------

    async def _none(self) -> set[str]:
        return set()

    async def _crash(self, office: str) -> set[str]:
        node = await self.world.holder(office)
        self.world.ups[node].kill()
        return {node}

    async def _stop_leader(self) -> set[str]:
        """As an update of the node does it."""
        node = await self.world.holder("leader")
        os.kill(self.world.ups[node].pid, signal.SIGTERM)
        return {node}

    async def _reset(self) -> set[str]:
        node = await self.world.holder("leader")
        self.wans[node].cut()  # so that it cannot just dial again
        self.wans[node].drop()
        return set()

    async def _black_hole(self) -> set[str]:
        self.wans[await self.world.holder("leader")].cut()
        return set()

    async def _crash_bus(self) -> set[str]:
        assert self.world.pool_bus is not None
        pid = self.world.pool_bus.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        return set()

    async def _cure(self, lost: set[str]) -> None:
        for wan in self.wans.values():
            if wan.is_cut:
                wan.drop()
                wan.heal()
        for node in lost:
            await self.world.ups[node].stop()
            await self.world.ups[node].start(self.world.session)
        await asyncio.sleep(LOOK)
        await self.world.until_synced()


def delay(written: dict[int, float], stamps: dict[int, float]) -> float:
    """The longest from a write to the first event with its version or a later one, in seconds.

    Of an object that changed twice while nothing passed only the newer state comes.
    """
    seen = sorted(stamps.items(), reverse=True)
    worst, first = 0.0, float("inf")
    for version, at in sorted(written.items(), reverse=True):
        while seen and seen[0][0] >= version:
            first = min(first, seen.pop(0)[1])
        worst = max(worst, first - at)
    return worst
