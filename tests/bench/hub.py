"""A hub beside the API server: latency, requests a second, and the WAN bytes of a node's life.

Life: all components start, the node registers, 20 pods are deployed, an idle hour (its messages in
a row; what the link itself costs is measured over `--quiet` seconds and scaled to the hour), then
the hub restarts and the components with it. Counted by the kernel at the hub's one cloud
connection, both directions, TCP payload. Baseline in the same run: the same components on the API
server itself, at their sockets (no TLS on either side). Then: calls through the hub beside direct
ones.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

from tests.bench import kernel
from tests.bench.life import CORE, Node, pod_of
from tests.bench.report import Report, human, spread
from tests.bench.world import World

WANTED = 10.0  # percent of direct
HOUR = 3600.0
SMOKE = {
    "services": 3, "endpoints": 2, "pods": 1, "beats": 1, "renewals": 2, "reopened": 1,
    "quiet": 0.2, "calls": 4, "clients": [2], "seconds": 0.2,
}  # fmt: skip
Json = dict[str, Any]


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--endpoints", type=int, default=10, help="of each service")
    parser.add_argument("--pods", type=int, default=20)
    parser.add_argument("--renewals", type=int, default=360, help="of the lease, in the idle hour")
    parser.add_argument("--beats", type=int, default=12, help="node status patches in it")
    parser.add_argument("--reopened", type=int, default=8, help="times that each watch ends in it")
    parser.add_argument("--quiet", type=float, default=20.0, help="seconds of a silent link")
    parser.add_argument("--calls", type=int, default=200, help="of each kind, for the latency")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 10, 50])
    parser.add_argument("--seconds", type=float, default=3.0, help="for requests a second")


async def run(args: argparse.Namespace) -> Report:
    names = ("services", "endpoints", "pods", "renewals", "beats", "reopened")
    report = Report("hub", {name: getattr(args, name) for name in names})
    async with World() as world:
        await world.start_api(args.services, args.endpoints)
        direct = await a_life(world, Direct(world), args)
        await world.start_cloud()
        ours = await a_life(world, Through(world), args)
        report.figures["life"] = {"hub": ours, "direct": direct}
        report.figures["calls"] = await calls(world, args)
    _tell(report)
    return report


class Direct:
    """Components on the API server; what their sockets sent and got."""

    name = "direct-1"

    def __init__(self, world: World) -> None:
        self._world = world
        self._closed = 0

    async def start(self) -> str:
        return self._world.api_url

    async def restart(self) -> str:
        return self._world.api_url

    def counted(self) -> dict[tuple[str, int], int]:
        """Bytes by connection, both directions."""
        port = int(self._world.api_url.rpartition(":")[2])
        found = kernel.connections(port)
        return {peer: c.sent.payload + c.received.payload for peer, c in found.items()}


class Through:
    """The same components on a hub; what its connection to the cloud sent and got."""

    name = "node-001"

    def __init__(self, world: World) -> None:
        self._world = world

    async def start(self) -> str:
        await self._world.start_pool(1)
        return self._world.hubs[self.name]

    async def restart(self) -> str:
        up = self._world.ups[""]
        await up.stop()
        await up.start(self._world.session)
        await self._world.until_synced()
        return self._world.hubs[self.name]

    def counted(self) -> dict[tuple[str, int], int]:
        port = int(self._world.cloud_bus.rpartition(":")[2])
        ours = kernel.local_ports([self._world.ups[""].pid])
        found = kernel.connections(port)
        links = {peer: c for peer, c in found.items() if peer[1] in ours}
        return {peer: c.sent.payload + c.received.payload for peer, c in links.items()}


class Meter:
    """Adds up what connections carry, those that have ended as well if looked at in time."""

    def __init__(self, counted: Callable[[], dict[tuple[str, int], int]]) -> None:
        self._counted = counted
        self._seen: dict[tuple[str, int], int] = {}

    async def look(self) -> int:
        found = await asyncio.to_thread(self._counted)
        for peer, size in found.items():
            self._seen[peer] = max(size, self._seen.get(peer, 0))
        return sum(self._seen.values())

    async def run(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(0.05)


async def a_life(world: World, way: Direct | Through, args: argparse.Namespace) -> Json:
    """Bytes of each phase."""
    url = await way.start()
    meter = Meter(way.counted)
    looking = asyncio.create_task(meter.run(), name="meter")
    marks: dict[str, int] = {}
    start = 0 if isinstance(way, Through) else await meter.look()
    try:
        async with Node.at(url, way.name) as node:
            await node.start()
            await node.register()
            marks["boot"] = await meter.look()
            await deploy(world, node, args.pods)
            marks["pods"] = await meter.look()
            await an_hour(node, args)
            marks["idle hour"] = await meter.look()
            await asyncio.sleep(args.quiet)
            marks["quiet"] = await meter.look()
            await node.leave()
        url = await way.restart()
        async with Node.at(url, way.name) as node:
            await node.start()
            marks["restart"] = await meter.look()
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
    phases = _differences(marks, start)
    quiet = phases.pop("quiet") * HOUR / args.quiet
    phases["idle hour"] += round(quiet)
    return phases | {"of it: the link itself, an hour": round(quiet)}


def _differences(marks: dict[str, int], start: int) -> dict[str, int]:
    found, before = {}, start
    for name, mark in marks.items():
        found[name], before = mark - before, mark
    return found


async def deploy(world: World, node: Node, pods: int) -> None:
    """By somebody at the API server; then the kubelet does its part."""
    space = f"{world.api_url}{CORE}/namespaces/default"
    for number in range(pods):
        for kind, plural, data in (
            ("ConfigMap", "configmaps", {"config.yaml": "a: b\n" * 200}),
            ("Secret", "secrets", {"token": "c2VjcmV0" * 20}),
        ):
            meta = {"name": f"{node.name}-config-{number}"}
            body = {"apiVersion": "v1", "kind": kind, "metadata": meta, "data": data}
            await _create(world.session, f"{space}/{plural}", body)
        await _create(world.session, f"{space}/pods", pod_of(node.name, number))
        await node.run_pod(number)


async def _create(session: aiohttp.ClientSession, url: str, body: Json) -> None:
    async with session.post(url, json=body) as answer:
        if answer.status not in (201, 409):
            raise RuntimeError(f"{url}: {await answer.text()}")


async def an_hour(node: Node, args: argparse.Namespace) -> None:
    for number in range(args.renewals):
        await node.renew(number)
        if args.beats and number % max(1, args.renewals // args.beats) == 0:
            await node.beat(1 + number)
        if args.reopened and number % max(1, args.renewals // args.reopened) == 0:
            await node.reopen()


# -- calls ----------------------------------------------------------------------------------------


async def calls(world: World, args: argparse.Namespace) -> Json:
    """Latency, and requests a second, through the hub (passed on, or mirrored) and direct."""
    hub = world.hubs[Through.name]
    pod = f"{CORE}/namespaces/default/pods/{Through.name}-app-0"
    mine = f"{CORE}/pods?fieldSelector=spec.nodeName%3D{Through.name}&resourceVersion=0"
    kinds = {
        "get, passed on": (hub, "kubectl/v1", pod),
        "get, direct": (world.api_url, "kubectl/v1", pod),
        "list, mirrored": (hub, "kubelet/v1", mine),
        "list, passed on": (hub, "kubectl/v1", mine),
        "list, direct": (world.api_url, "kubectl/v1", mine),
    }
    found: Json = {}
    for name, (url, agent, path) in kinds.items():
        async with aiohttp.ClientSession(url, headers={"User-Agent": agent}) as session:
            get = _get(session, path)
            await get()
            found[name] = spread([await _timed(get) for _ in range(args.calls)])
            found[name]["per_second"] = {
                str(clients): round(await _rate(get, clients, args.seconds))
                for clients in args.clients
            }
    for name, url, agent in (
        ("patch, through", hub, "kubelet/v1"),
        ("patch, direct", world.api_url, "kubelet/v1"),
    ):
        async with aiohttp.ClientSession(url, headers={"User-Agent": agent}) as session:
            patch = _patch(session, f"{pod}/status")
            found[name] = spread([await _timed(patch) for _ in range(args.calls)])
    return found


def _get(session: aiohttp.ClientSession, path: str) -> Callable[[], Awaitable[None]]:
    async def act() -> None:
        async with session.get(path) as answer:
            answer.raise_for_status()
            await answer.read()

    return act


def _patch(session: aiohttp.ClientSession, path: str) -> Callable[[], Awaitable[None]]:
    headers = {"Content-Type": "application/merge-patch+json"}
    count = 0

    async def act() -> None:
        nonlocal count
        count += 1
        body = json.dumps({"status": {"message": str(count)}})
        async with session.patch(path, data=body, headers=headers) as answer:
            answer.raise_for_status()
            await answer.read()

    return act


async def _timed(act: Callable[[], Awaitable[None]]) -> float:
    started = time.perf_counter()
    await act()
    return time.perf_counter() - started


async def _rate(act: Callable[[], Awaitable[None]], clients: int, seconds: float) -> float:
    done = 0
    until = time.monotonic() + seconds

    async def client() -> None:
        nonlocal done
        while time.monotonic() < until:
            await act()
            done += 1

    await asyncio.gather(*(client() for _ in range(clients)))
    return done / seconds


def _tell(report: Report) -> None:
    hub, direct = report.figures["life"]["hub"], report.figures["life"]["direct"]
    phases = [name for name in direct if not name.startswith("of it")]
    for name in phases:
        share = 100 * hub[name] / max(1, direct[name])
        report.add(name, f"{share:.3g} % of direct: {human(hub[name])} of {human(direct[name])}")
    ours, theirs = (sum(life[name] for name in phases) for life in (hub, direct))
    report.at_most("the whole life, bytes on the WAN", 100 * ours / max(1, theirs), WANTED, "%")
    for name, found in report.figures["calls"].items():
        rate = found.get("per_second")
        more = f"; {rate} requests/s by clients" if rate else ""
        report.add(name, f"p50 {found['p50_ms']} ms, p99 {found['p99_ms']} ms{more}")
