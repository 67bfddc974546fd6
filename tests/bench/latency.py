"""From a change written to the API server to the event at a node's client, whole path.

Measured: PUT of an EndpointSlice over HTTP (sent) until its watch event's line is whole at a client
of a hub that is neither leader nor coordinator, at several rates. Baseline: the same client on the
API server itself, in the same run, for the same changes. With stages: where the version was first
seen on the cloud's bus, then (relayed by the leader) and then (committed) on the pool's.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from typing import Any

import msgspec

from tests.bench.load import SLICES, workload
from tests.bench.parts.reader import Reader
from tests.bench.report import Report, quantile, spread
from tests.bench.taps import Taps
from tests.bench.world import World

P50, P99 = 10.0, 50.0  # ms wanted, idle machine
CALM = 20.0  # changes a second up to which the wanted times hold
SMOKE = {"services": 5, "endpoints": 3, "seconds": 0.5, "rates": [10.0], "nodes": 1}


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--endpoints", type=int, default=50)
    parser.add_argument("--rates", type=float, nargs="+", default=[10.0, 100.0], help="changes/s")
    parser.add_argument("--seconds", type=float, default=20.0, help="for each rate")


async def run(args: argparse.Namespace) -> Report:
    load = {"services": args.services, "endpoints": args.endpoints, "nodes": args.nodes}
    report = Report("latency", {**load, "seconds": args.seconds})
    async with World() as world:
        version = await world.start_api(args.services, args.endpoints)
        await world.start_cloud()
        await world.start_pool(args.nodes)
        node, url = await _plain_hub(world)
        clients = {"hub": Reader(url, stamps=True), "api": Reader(world.api_url, stamps=True)}
        for client in clients.values():
            await client.connect()
            await client.watch(SLICES, version)
        async with Taps(world, node) as taps:
            writer = Writer(world, args.services, args.endpoints)
            for rate in args.rates:
                written = await writer.write(rate, args.seconds)
                await _until_all(clients, max(written))
                report.figures[f"{rate:g}/s"] = _figures(written, clients, taps)
        for client in clients.values():
            client.close()
    _tell(report)
    return report


async def _plain_hub(world: World) -> tuple[str, str]:
    """A node without office, as most are; its hub's URL."""
    busy = {await world.holder("leader"), await world.holder("coordinator")}
    node = next((n for n in world.nodes if n not in busy), world.nodes[0])
    return node, world.hubs[node]


class Writer:
    """PUTs changed slices; notes for each version when it was sent."""

    def __init__(self, world: World, services: int, endpoints: int) -> None:
        self._world = world
        self._churn = workload(services, endpoints).churn()
        self._random = random.Random(3)

    async def write(self, rate: float, seconds: float) -> dict[int, float]:
        written: dict[int, float] = {}
        due = time.monotonic()
        until = due + seconds
        async with asyncio.TaskGroup() as group:
            while (due := due + self._random.expovariate(rate)) < until:
                await asyncio.sleep(due - time.monotonic())
                obj = next(self._churn)
                body = msgspec.json.encode(obj)
                group.create_task(self._put(obj["metadata"]["name"], body, written), name="put")
        return written

    async def _put(self, name: str, body: bytes, written: dict[int, float]) -> None:
        url = f"{self._world.api_url}/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
        sent = time.monotonic()
        async with self._world.session.put(f"{url}/{name}", data=body) as answer:
            answer.raise_for_status()
            head = msgspec.json.decode(await answer.read())
        written[int(head["metadata"]["resourceVersion"])] = sent


async def _until_all(clients: dict[str, Reader], version: int) -> None:
    for client in clients.values():
        await client.until(version, 20.0)


def _figures(written: dict[int, float], clients: dict[str, Reader], taps: Taps) -> dict[str, Any]:
    stages = {
        "api_server": {v: clients["api"].stamps.get(v) for v in written},
        "cloud_bus": {v: taps.when("cloud", v) for v in written},
        "leader": {v: taps.when("up", v) for v in written},
        "coordinator": {v: taps.when("pool", v) for v in written},
        "hub": {v: clients["hub"].stamps.get(v) for v in written},
    }
    after = {
        name: [at - written[v] for v, at in seen.items() if at is not None]
        for name, seen in stages.items()
    }
    return {
        "changes": len(written),
        "missed": len(written) - len(after["hub"]),
        "whole_path": spread(after["hub"]),
        "baseline_api_server": spread(after["api_server"]),
        "p50_ms_until": {n: round(1000 * quantile(t, 0.5), 2) for n, t in after.items() if t},
        "slowest_ms_until": _slowest(written, stages),
    }


def _slowest(
    written: dict[int, float], stages: dict[str, dict[int, float | None]]
) -> list[dict[str, float]]:
    """Where the slowest changes lost their time."""
    ranked = sorted(written, key=lambda v: (stages["hub"][v] or 0.0) - written[v], reverse=True)
    return [
        {
            name: round(1000 * (at - written[version]), 1)
            for name, seen in stages.items()
            if (at := seen[version]) is not None
        }
        for version in ranked[:5]
    ]


def _tell(report: Report) -> None:
    for rate, found in report.figures.items():
        whole, base = found["whole_path"], found["baseline_api_server"]
        calm = float(rate.removesuffix("/s")) <= CALM
        stages = ", ".join(f"{n} {ms}" for n, ms in found["p50_ms_until"].items())
        label = f"{rate}, {found['changes']} changes"
        for name, bound in (("p50", P50), ("p99", P99)):
            value, direct = whole[f"{name}_ms"], base[f"{name}_ms"]
            good = value < bound if calm else None
            wanted = f"< {bound:g} ms" if calm else ""
            report.add(f"{label}: {name}", f"{value} ms (API server {direct})", wanted, good)
        report.add(f"{label}: worst", f"{whole['max_ms']} ms (API server {base['max_ms']})")
        report.add(f"{label}: p50 until", stages + " ms")
