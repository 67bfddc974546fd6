"""A hub beside the API server: the WAN bytes of a node's life, latency, requests a second, memory.

Life: all components start, the node registers, 20 pods are deployed, an idle hour (its messages in
a row, and what silence costs, measured over `--quiet` seconds and scaled to the hour; `--full`
takes the hour), a reboot with the link cut, and the link is back; then nothing may be missing.
Counted by a relay in the path, TCP payload of both directions, without TLS on either side. The hub
is a pool of one, so that it carries the pool's feeds, too. Baseline in the same run: the same
components on the API server itself, JSON over HTTP/1.1 (real ones ask for protobuf over HTTP/2:
about half).
"""

from __future__ import annotations

import argparse
from typing import Any

from tests.bench.hub_calls import all_calls
from tests.bench.hub_life import both_lives
from tests.bench.hub_memory import memory
from tests.bench.report import Report, human

WANTED = 10.0  # percent of direct
PARTS = {"life": both_lives, "calls": all_calls, "memory": memory}
SMOKE = {
    "services": 3, "endpoints": 2, "pods": 1, "beats": 1, "renewals": 2, "reopened": 1,
    "quiet": 0.2, "calls": 4, "clients": [2], "seconds": 0.2, "settle": 0.0,
    "many_nodes": 1, "many_pods": 3, "many_slices": 3,
}  # fmt: skip
Json = dict[str, Any]


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--full", action="store_true", help="an hour that takes an hour")
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--endpoints", type=int, default=10, help="of each service")
    parser.add_argument("--pods", type=int, default=20)
    parser.add_argument("--renewals", type=int, default=360, help="of the lease, in the idle hour")
    parser.add_argument("--beats", type=int, default=12, help="node status patches in it")
    parser.add_argument("--reopened", type=int, default=8, help="times that each watch ends in it")
    parser.add_argument("--quiet", type=float, default=90.0, help="seconds of silence")
    parser.add_argument("--calls", type=int, default=200, help="of each kind, for the latency")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 10, 50])
    parser.add_argument("--seconds", type=float, default=3.0, help="for requests a second")
    parser.add_argument("--many-nodes", type=int, default=3, help="of the pool, for the memory")
    parser.add_argument("--many-pods", type=int, default=2000)
    parser.add_argument("--many-slices", type=int, default=10_000)
    parser.add_argument("--slice-endpoints", type=int, default=10, help="2.5 KB each")
    parser.add_argument("--settle", type=float, default=5.0, help="seconds before looking")


async def run(args: argparse.Namespace) -> Report:
    names = ("services", "endpoints", "pods", "renewals", "beats", "reopened", "full")
    report = Report("hub", {name: getattr(args, name) for name in names})
    for name in args.parts:
        report.figures[name] = await PARTS[name](args)
        _TELLERS[name](report, report.figures[name])
    return report


def _tell_life(report: Report, found: Json) -> None:
    hub, direct = found["hub"], found["direct"]
    for name, ours in hub.items():
        theirs = direct[name]["bytes"]
        share = f"{100 * ours['bytes'] / theirs:.3g} % of direct: " if theirs else ""
        silence = (
            f", {human(ours['of it silence'])} of it silence" if "of it silence" in ours else ""
        )
        value = f"{share}{human(ours['bytes'])} (direct {human(theirs)}){silence}"
        report.add(f"WAN, {name}", value)
    ours, theirs = (sum(phase["bytes"] for phase in life.values()) for life in (hub, direct))
    found["total"] = {"hub": ours, "direct": theirs, "percent": round(100 * ours / theirs, 3)}
    label = f"WAN, the whole life ({human(ours)} of {human(theirs)})"
    report.at_most(label, 100 * ours / theirs, WANTED, "%")


def _tell_calls(report: Report, found: Json) -> None:
    for name, one in found.items():
        rates = ", ".join(f"{rate}/s by {clients}" for clients, rate in one["per_second"].items())
        report.add(name, f"p50 {one['p50_ms']} ms, p99 {one['p99_ms']} ms; {rates}")


def _tell_memory(report: Report, found: Json) -> None:
    empty, full = found["empty"], found["full"]
    report.add("memory of an empty hub", f"RSS {empty['rss_mb']} MB, PSS {empty['pss_mb']} MB")
    held = f"{full['pods']} pods of {full['pod_bytes']} B, {full['slices']} slices"
    report.add(f"memory, {held}", f"RSS {full['rss_mb']} MB, PSS {full['pss_mb']} MB")


_TELLERS = {"life": _tell_life, "calls": _tell_calls, "memory": _tell_memory}
