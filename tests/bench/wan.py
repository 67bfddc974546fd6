"""TCP bytes that a pool costs the cloud, beside as many real watchers on the API server.

Load: OpenYurt's published test, 1,000 services of 50 endpoints, then rolling updates (a pod turns
unready, a new one takes its place) at `--rate` changes a second. Atoll: one real pool, every node
with its own connection to the cloud; counted by the kernel at the sockets of the cloud's
nats-server, both directions. Of a pool with more nodes than `--hubs`, the others are their cloud
links alone: real, enrolled, pinging, as those of hubs that do not lead.

Baseline in the same run: as many real clients on the API server, each listing (gzip'd, as client-go
asks) and watching services and endpoint slices; counted by the kernel at their sockets. Plain JSON
lists are measured with one more client and multiplied.
"""

from __future__ import annotations

import argparse
import asyncio
from dataclasses import asdict, dataclass
from typing import Any

from tests.bench import kernel
from tests.bench.child import Child
from tests.bench.load import PATHS
from tests.bench.report import Report, human
from tests.bench.world import World

WANTED = {10: 3.0, 100: 0.5}  # percent of native egress, by nodes
SMOKE = {"nodes": [2], "hubs": 1, "services": 9, "endpoints": 5, "seconds": 0.3, "settle": 0.0}


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--nodes", type=int, nargs="+", default=[10, 100])
    parser.add_argument("--hubs", type=int, default=20, help="at most so many whole nodes")
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--endpoints", type=int, default=50)
    parser.add_argument("--rate", type=float, default=20.0, help="changes a second")
    parser.add_argument("--seconds", type=float, default=60.0, help="of churn")
    parser.add_argument("--settle", type=float, default=2.0, help="seconds before the churn")


async def run(args: argparse.Namespace) -> Report:
    names = ("services", "endpoints", "rate", "seconds")
    report = Report("wan", {name: getattr(args, name) for name in names})
    for nodes in args.nodes:
        async with World() as world:
            figures = await measure(world, nodes, args)
        report.figures[f"{nodes}_nodes"] = figures
        _tell(report, nodes, figures)
    return report


@dataclass(frozen=True)
class Egress:
    """Bytes the cloud sent, and got back; `_wan` with the headers of a WAN's packets."""

    payload: int
    wan: int
    back_payload: int = 0
    back_wan: int = 0


async def measure(world: World, nodes: int, args: argparse.Namespace) -> dict[str, Any]:
    version = await world.start_api(args.services, args.endpoints)
    await world.start_cloud()
    hubs = min(nodes, args.hubs)
    await world.start_pool(hubs)
    links = await _links(world, nodes - hubs)
    await asyncio.sleep(args.settle)
    native = await world.readers()
    urls = [world.api_url] * nodes
    opened = await native.call("open", urls=urls, paths=PATHS, version=version, **_AS_CLIENT_GO)
    plain = await _plain_list(world, version)
    before = await _count(world, [world.ups[""].pid, links.pid], native)
    await world.api.call("churn", rate=args.rate, seconds=args.seconds)
    await asyncio.sleep(args.seconds)
    churned = await world.api.call("churned")
    await _until_everywhere(world, churned["version"])
    after = await _count(world, [world.ups[""].pid, links.pid], native)
    await _same_links(before, after)
    return {
        "nodes": nodes,
        "whole_nodes": hubs,
        "cloud_links": len(after.links),
        "native_connections": opened,
        "native_is": "measured: as many real clients as nodes",
        "changes": churned["changes"],
        "idle_link": _idle(before, after),
        **_phases(before, after, plain * nodes),
    }


_AS_CLIENT_GO = {"list_first": True, "gzip": True}


@dataclass(frozen=True)
class Count:
    links: dict[tuple[str, int], kernel.Connection]
    native: kernel.Traffic


async def _links(world: World, count: int) -> Child:
    """The cloud links of nodes that are nothing else here."""
    part = "tests.bench.parts.links:Links"
    directory, enrolment = world.directory / "links", world.directory / "enrolment"
    links = await world.child(
        part, url=world.cloud_bus, directory=str(directory), enrolment=str(enrolment)
    )
    await links.call("open", nodes=[f"idle-{number:03}" for number in range(count)])
    return links


async def _count(world: World, pids: list[int], native: Child) -> Count:
    """`pids`: whose links to the cloud's bus count; the cloud's own do not."""
    port = int(world.cloud_bus.rpartition(":")[2])
    ours = await asyncio.to_thread(kernel.local_ports, pids)
    found = await asyncio.to_thread(kernel.connections, port)
    links = {peer: link for peer, link in found.items() if peer[1] in ours}
    payload, segments = await native.call("traffic")
    return Count(links, kernel.Traffic(payload, segments))


async def _same_links(before: Count, after: Count) -> None:
    if before.links.keys() != after.links.keys():
        raise RuntimeError("a cloud link broke during the bench: its bytes are not counted")


async def _plain_list(world: World, version: int) -> int:
    """What one client's lists cost as plain JSON."""
    client = await world.readers()
    await client.call("open", urls=[world.api_url], paths=PATHS, version=version, list_first=True)
    payload, segments = await client.call("traffic")
    await client.call("shut")
    return kernel.Traffic(payload, segments).with_headers


async def _until_everywhere(world: World, version: int) -> None:
    """Every hub serves the last change: what was sent arrived."""
    clients = await world.readers()
    await clients.call(
        "open", urls=list(world.hubs.values()), paths=PATHS[1:], version=version - 1, stamps=True
    )
    await clients.call("until", version=version, timeout=30.0)
    await clients.call("shut")


def _idle(before: Count, after: Count) -> dict[str, int]:
    """What the cheapest link cost in the churn phase: a node that does not lead."""
    sent = [after.links[peer].sent - link.sent for peer, link in before.links.items()]
    sizes = sorted((each.payload, each.with_headers) for each in sent)
    return {"payload": sizes[0][0], "wan": sizes[0][1], "median_wan": sizes[len(sizes) // 2][1]}


def _phases(before: Count, after: Count, plain_lists: int) -> dict[str, Any]:
    phases = {
        "initial": (_egress(before), before.native.with_headers, before.native.payload),
        "churn": (
            _egress(after, before),
            (after.native - before.native).with_headers,
            after.native.payload - before.native.payload,
        ),
        "total": (_egress(after), after.native.with_headers, after.native.payload),
    }
    found: dict[str, Any] = {}
    for name, (ours, native, payload) in phases.items():
        found[name] = {
            "atoll": asdict(ours),
            "native_payload": payload,
            "native_wan": native,
            "percent_payload": round(100 * ours.payload / payload, 4),
            "percent_wan": round(100 * ours.wan / native, 4),
        }
    lists = plain_lists - before.native.with_headers  # what gzip saves on the lists
    for name in ("initial", "total"):
        native = found[name]["native_wan"] + lists
        found[name]["percent_wan_of_plain_json"] = round(
            100 * found[name]["atoll"]["wan"] / native, 4
        )
    return found


def _egress(after: Count, before: Count | None = None) -> Egress:
    sent, got = kernel.total(after.links)
    if before is not None:
        was_sent, was_got = kernel.total(before.links)
        sent, got = sent - was_sent, got - was_got
    return Egress(sent.payload, sent.with_headers, got.payload, got.with_headers)


def _tell(report: Report, nodes: int, figures: dict[str, Any]) -> None:
    for name in ("initial", "churn", "total"):
        found = figures[name]
        ours, bound = found["atoll"], WANTED.get(nodes)
        share = found["percent_wan"]
        good = share < bound if name == "total" and bound else None
        plain = found.get("percent_wan_of_plain_json")
        report.add(
            f"{nodes} nodes ({figures['whole_nodes']} whole), {name}",
            f"{share:.3g} % of native: {human(ours['wan'])} of {human(found['native_wan'])}"
            f" (payload {human(ours['payload'])}, back {human(ours['back_payload'])}"
            + (f"; {plain:.3g} % of plain JSON)" if plain is not None else ")"),
            f"< {bound:g} %" if good is not None else "",
            good,
        )
