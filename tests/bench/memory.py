"""Memory of a node (PSS of all its processes), both runtimes, idle and holding OpenYurt's load.

Measured: /proc/*/smaps_rollup of `atoll up` and everything below it, for a pool of one node that
runs the pool's bus, leads and coordinates (the most a node can be); then, of a pool of three, the
node that only serves, with 10,000 endpoint slices. Baseline: the same without objects. Shared pages
count by their share, so other Python processes on the machine make it a little less.
"""

from __future__ import annotations

import argparse
import asyncio
from collections import Counter
from typing import Any

import psutil

from tests.bench import kernel
from tests.bench.load import SLICES, json_size, workload
from tests.bench.report import Report
from tests.bench.world import World

IDLE_LOCAL = 90.0  # MB wanted of an idle node with runtime local
MANY = 250.0  # MB wanted of a hub with 10,000 slices
SMOKE = {
    "runtimes": ["local"],
    "idle": False,
    "services": 3,
    "endpoints": 2,
    "slices": 0,
    "settle": 0.0,
}
MB = 1e6


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--runtimes", nargs="+", default=["local", "ray"])
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--endpoints", type=int, default=50)
    parser.add_argument("--slices", type=int, default=10_000, help="held by one hub")
    parser.add_argument("--slice-endpoints", type=int, default=10, help="2.5 KB each")
    parser.add_argument("--idle", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--settle", type=float, default=5.0, help="seconds before looking")


async def run(args: argparse.Namespace) -> Report:
    report = Report("memory", {"services": args.services, "endpoints": args.endpoints})
    for runtime in args.runtimes:
        found = report.figures[runtime] = {}
        for services in (0, args.services) if args.idle else (args.services,):
            held = await one_node(runtime, services, args.endpoints, args.settle)
            found["loaded" if services else "idle"] = held
            _tell(report, runtime, services, held, args)
    if args.slices:
        report.figures["many"] = many = await many_slices(args)
        _tell_many(report, many, args)
    return report


def _tell_many(report: Report, many: dict[str, Any], args: argparse.Namespace) -> None:
    label = f"local, hub with {args.slices} slices of {many['slice_bytes']} B"
    report.at_most(label, many["total_mb"], MANY, "MB")
    report.add(f"{label}: more than idle", f"{many['total_mb'] - many['idle_mb']:.1f} MB")
    report.add(f"{label}: the coordinator's node", f"{many['coordinator_mb']} MB")


def _tell(report: Report, runtime: str, services: int, held: Any, args: argparse.Namespace) -> None:
    if services:
        load = f"{services} services, as many slices of {args.endpoints}"
        report.add(f"{runtime}, {load}", _line(held))
    elif runtime == "local":
        good = held["node_mb"] < IDLE_LOCAL
        report.add(f"{runtime}, idle", _line(held), f"< {IDLE_LOCAL:g} MB", good)
    else:
        report.add(f"{runtime}, idle", _line(held))


def _line(found: dict[str, Any]) -> str:
    parts = ", ".join(f"{name} {size}" for name, size in found["by_program_mb"].items())
    return f"{found['node_mb']} MB without the bus, {found['total_mb']} with it ({parts})"


async def one_node(runtime: str, services: int, endpoints: int, settle: float) -> dict[str, Any]:
    async with World() as world:
        await world.start_api(services, endpoints)
        await world.start_cloud()
        await world.start_pool(1, runtime=runtime)
        await asyncio.sleep(settle)
        return _node(world.ups[""].pid)


async def many_slices(args: argparse.Namespace) -> dict[str, Any]:
    """A node that only serves, beside one that coordinates; both in processes of their own."""
    sizes = {}
    for count in (0, args.slices):
        async with World() as world:
            await world.start_api(count, args.slice_endpoints)
            await world.start_cloud()
            await world.start_pool(3, apart=True)
            await asyncio.sleep(args.settle)
            sizes[count] = await _by_office(world)
            if count:
                held = await _held(world)
    made = workload(1, args.slice_endpoints).slice_objects()[0]
    return {
        "slices": held,
        "slice_bytes": json_size(made),
        "idle_mb": sizes[0]["plain"],
        "total_mb": sizes[args.slices]["plain"],
        "coordinator_mb": sizes[args.slices]["coordinator"],
    }


async def _by_office(world: World) -> dict[str, float]:
    coordinator, leader = await world.holder("coordinator"), await world.holder("leader")
    plain = next(node for node in world.nodes if node not in (coordinator, leader))
    nodes = {"plain": plain, "coordinator": coordinator}
    return {name: _node(world.ups[node].pid)["node_mb"] for name, node in nodes.items()}


async def _held(world: World) -> int:
    """How many slices a hub really has."""
    url = next(iter(world.hubs.values()))
    async with world.session.get(f"{url}{SLICES}?limit=1") as answer:
        listed = await answer.json()
    return 1 + int(listed["metadata"].get("remainingItemCount", 0))


def _node(pid: int) -> dict[str, Any]:
    """PSS of the process and all below it; the pool's bus apart, as one node of many runs it."""
    sizes: Counter[str] = Counter()
    for process in kernel.processes_below(pid):
        try:
            name = _program(process)
        except psutil.Error:
            continue  # gone meanwhile
        sizes[name] += kernel.pss(process.pid)
    total = sum(sizes.values())
    return {
        "node_mb": round((total - sizes["nats-server"]) / MB, 1),
        "total_mb": round(total / MB, 1),
        "by_program_mb": {name: round(size / MB, 1) for name, size in sizes.most_common()},
    }


def _program(process: psutil.Process) -> str:
    """What it is, in a word."""
    command = process.cmdline()
    words = " ".join(command[:4])
    if words.startswith("ray::"):
        return words.split()[0]
    names = ("guard", "nats-server", "raylet", "gcs_server", "atoll")
    return next((name for name in names if name in words), process.name())
