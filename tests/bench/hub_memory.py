"""Memory of a hub that holds many pods and slices, beside one that holds nothing."""

from __future__ import annotations

import argparse
import asyncio
import time
from typing import Any

from tests.bench import kernel
from tests.bench.life import CORE, Node
from tests.bench.world import World

FILL_SECONDS = 120.0
PODS = f"{CORE}/pods"
MB = 1e6
Json = dict[str, Any]


async def memory(args: argparse.Namespace) -> Json:
    """Of a node that only serves, in a process of its own; its kubelet watches all the pods."""
    empty = await _one(0, 0, args)
    full = await _one(args.many_pods, args.many_slices, args)
    return {"empty": empty, "full": full}


async def _one(pods: int, slices: int, args: argparse.Namespace) -> Json:
    async with World() as world:
        await world.start_api(slices, args.slice_endpoints)
        await world.start_cloud()
        await world.start_pool(args.many_nodes, apart=True)
        name = await _plain(world)
        size = await world.api.call("fill_pods", node=name, count=pods) if pods else 0
        async with Node.at(world.hubs[name], name) as node:
            watch = await node.watch("kubelet", f"{PODS}?fieldSelector=spec.nodeName%3D{name}")
            await _until(lambda: len(watch.names) >= pods)
            await asyncio.sleep(args.settle)
            held = {"pods": len(watch.names), "pod_bytes": size, "slices": slices}
            return held | _sizes(world.ups[name].pid)


async def _plain(world: World) -> str:
    """Neither leader nor coordinator, where there are nodes enough."""
    busy = {await world.holder("leader"), await world.holder("coordinator")}
    return next((node for node in world.nodes if node not in busy), world.nodes[0])


async def _until(reached: Any) -> None:
    end = time.monotonic() + FILL_SECONDS
    while not reached():
        if time.monotonic() > end:
            raise RuntimeError("the hub does not get its pods")
        await asyncio.sleep(0.05)


def _sizes(pid: int) -> Json:
    """Of `atoll up`, which is all there is of such a node."""
    found = kernel.processes_below(pid)
    return {
        "rss_mb": round(sum(each.memory_info().rss for each in found) / MB, 1),
        "pss_mb": round(sum(kernel.pss(each.pid) for each in found) / MB, 1),
    }
