"""Calls through a hub beside direct ones: latency, and requests a second."""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import aiohttp

from tests.bench.hub_life import create_pod
from tests.bench.life import CORE, SPACE
from tests.bench.report import spread
from tests.bench.world import World

NODE = "node-001"
Json = dict[str, Any]


async def all_calls(args: argparse.Namespace) -> Json:
    """Passed on, mirrored, fed, and direct; nothing else happens in that world."""
    async with World() as world:
        await world.start_api(args.services, args.endpoints)
        await world.start_cloud()
        await world.start_pool(1)
        for number in range(args.pods):
            await create_pod(world, NODE, number)
        found: Json = {}
        for name, (url, agent, act) in _kinds(world).items():
            headers = {"User-Agent": f"{agent}/v1"}
            async with aiohttp.ClientSession(url, headers=headers) as session:
                found[name] = await _measured(act(session), args)
        return found


Act = Callable[[], Awaitable[None]]
Kind = tuple[str, str, Callable[[aiohttp.ClientSession], Act]]


def _kinds(world: World) -> dict[str, Kind]:
    """Each way of the hub with its baseline. kubectl's reads are not kept, kubelet's are."""
    hub, api = world.hubs[NODE], world.api_url
    pod = f"{SPACE}/pods/{NODE}-app-0"
    mine = f"{CORE}/pods?fieldSelector=spec.nodeName%3D{NODE}&resourceVersion=0"
    service = f"{SPACE}/services/app-0000?resourceVersion=0"
    get_pod, list_pods, get_service = (
        partial(_get, pod),
        partial(_get, mine),
        partial(_get, service),
    )
    patch = partial(_patch, f"{pod}/status")
    return {
        "get, passed on": (hub, "kubectl", get_pod),
        "get, kept": (hub, "kubelet", get_pod),
        "get, direct": (api, "kubelet", get_pod),
        "get, from the feed": (hub, "kubelet", get_service),
        "get of a service, direct": (api, "kubelet", get_service),
        "list, mirrored": (hub, "kubelet", list_pods),
        "list, passed on": (hub, "kubectl", list_pods),
        "list, direct": (api, "kubelet", list_pods),
        "patch, passed on": (hub, "kubectl", patch),
        "patch, kept": (hub, "kubelet", patch),
        "patch, direct": (api, "kubelet", patch),
    }


async def _measured(act: Act, args: argparse.Namespace) -> Json:
    await act()
    found = spread([await _timed(act) for _ in range(args.calls)])
    rates = {str(n): round(await _rate(act, n, args.seconds)) for n in args.clients}
    return found | {"per_second": rates}


def _get(path: str, session: aiohttp.ClientSession) -> Act:
    async def act() -> None:
        async with session.get(path) as answer:
            answer.raise_for_status()
            await answer.read()

    return act


def _patch(path: str, session: aiohttp.ClientSession) -> Act:
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


async def _timed(act: Act) -> float:
    started = time.perf_counter()
    await act()
    return time.perf_counter() - started


async def _rate(act: Act, clients: int, seconds: float) -> float:
    done = 0
    until = time.monotonic() + seconds

    async def client() -> None:
        nonlocal done
        while time.monotonic() < until:
            await act()
            done += 1

    await asyncio.gather(*(client() for _ in range(clients)))
    return done / seconds
