"""Events a second that one hub's serving code delivers to 1, 10 and 100 watchers.

Measured: the watch cache and the served API (aiohttp), objects of 2.5 KB, on one core; the clients
are raw sockets in another process on the other core, which count lines. Changes come one at a time,
and in steps of ten as frames bring them under load. Baseline in the same run: a bare asyncio server
on that core that writes the same bytes, ready-made, to as many connections. "A second" is one of
the server's CPU time, as the kernel counts it: other programs on its core do not change that much.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import psutil

from tests.bench.child import Child
from tests.bench.load import SLICES
from tests.bench.report import Report

TICK = 0.01  # seconds: what the kernel counts CPU time in
WANTED = 50_000  # events a second of 2.5 KB on one core
SMOKE = {"watchers": [2], "steps": [10], "seconds": 0.2}


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--watchers", type=int, nargs="+", default=[1, 10, 100])
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 10], help="changes at a time")
    parser.add_argument("--size", type=int, default=2500, help="bytes of an object")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")


async def run(args: argparse.Namespace) -> Report:
    report = Report("fanout", {"seconds": args.seconds, "server_cores": 1})
    runs = report.figures["runs"] = []
    for watchers in args.watchers:
        for step in args.steps:
            hub = await measure(args, watchers, step, bare=False)
            bare = await measure(args, watchers, step, bare=True)
            runs.append({"watchers": watchers, "changes_at_a_time": step, "hub": hub, "bare": bare})
            _tell(report, watchers, step, hub, bare)
    best = max(one["hub"]["events_per_second"] for one in runs)
    report.figures["best_events_per_second"] = best
    return report


def _tell(report: Report, watchers: int, step: int, hub: Any, bare: Any) -> None:
    rate, base = hub["events_per_second"], bare["events_per_second"]
    report.add(
        f"{watchers} watchers, {step} at a time",
        f"{rate:,.0f} events/s of {hub['size']} B; bare server {base:,.0f} "
        f"({100 * rate / base:.0f} %); by the clock {hub['by_the_clock']:,}, server had "
        f"{100 * hub['server_cpu']:.0f} % of its core, client {100 * hub['client_cpu']:.0f} %",
        f"> {WANTED:,}",
        rate > WANTED,
    )


async def measure(
    args: argparse.Namespace, watchers: int, step: int, *, bare: bool
) -> dict[str, Any]:
    part = "tests.bench.parts.fanout_server:FanoutServer"
    async with (
        Child(part, core=0, size=args.size, bare=bare) as server,
        Child("tests.bench.parts.readers:Readers", core=1) as clients,
    ):
        told = await server.call("listen")
        await clients.call("open", urls=[told["url"]] * watchers, paths=[SLICES], version=1)
        await server.call("feed", batch=step)
        await clients.call("rate", seconds=min(0.5, args.seconds))  # warms up
        began, cpu = time.monotonic(), _cpu(server.pid)
        rate = await clients.call("rate", seconds=args.seconds)
        share = max(TICK, _cpu(server.pid) - cpu) / (time.monotonic() - began)
        await server.call("halt")
    return {
        "events_per_second": round(rate["events"] / share),
        "by_the_clock": round(rate["events"]),
        "slowest_watcher_by_the_clock": round(rate["slowest"]),
        "size": told["size"],
        "server_cpu": round(share, 2),
        "client_cpu": round(rate["cpu"], 2),
        "ended": rate["ended"],
    }


def _cpu(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)
