"""A node's whole life in bytes on its WAN, on a hub and directly on the API server."""

from __future__ import annotations

import argparse
import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.bench.life import CORE, LEASES, RESTART_EVENT, RESTARTED, SPACE, Node, pod_of, pod_status
from tests.bench.relay import Relay
from tests.bench.world import LOOK, World

HOUR = 3600.0
LATE_BEAT = 1000
REPLAY_SECONDS = 120.0
REBOOT_RENEWALS = 6  # of the lease, while the link is cut
Json = dict[str, Any]


class Direct:
    """Components on the API server."""

    name = "direct-1"
    works_cut_off = False

    def __init__(self, world: World, relay: Relay) -> None:
        self.world = world
        self.relay = relay

    async def start(self) -> str:
        return self.relay.url

    async def restart(self) -> str:
        return self.relay.url

    async def until_replayed(self) -> None:
        pass


class Through:
    """The same components on a hub, of a pool of one: it carries the pool's feeds as well."""

    name = "node-001"
    works_cut_off = True

    def __init__(self, world: World, relay: Relay) -> None:
        self.world = world
        self.relay = relay

    async def start(self) -> str:
        await self.world.start_pool(1, links={self.name: self.relay.url})
        return self.world.hubs[self.name]

    async def restart(self) -> str:
        up = self.world.ups[""]
        await up.stop()
        await up.start(self.world.session)
        await self.world.until_synced()
        return self.world.hubs[self.name]

    async def until_replayed(self) -> None:
        end = time.monotonic() + REPLAY_SECONDS
        while any((waiting := (await self._hub())["writes"]).values()):
            if time.monotonic() > end:
                raise RuntimeError(f"writes still wait: {waiting}")
            await asyncio.sleep(LOOK)
        if reports := (await self._hub())["not_replayed"]:
            raise RuntimeError(f"not replayed: {reports}")

    async def _hub(self) -> Json:
        found: Json = (await self.world.actors())[self.name]["hub"]
        return found


@dataclass
class Marks:
    """What the relay had carried at the end of each phase."""

    relay: Relay
    phases: dict[str, Json] = field(default_factory=dict)
    _sent: int = 0
    _got: int = 0

    def end(self, phase: str) -> None:
        up, down = self.relay.sent - self._sent, self.relay.got - self._got
        self.phases[phase] = {"bytes": up + down, "up": up, "down": down}
        self._sent, self._got = self.relay.sent, self.relay.got


async def both_lives(args: argparse.Namespace) -> Json:
    async with World() as world:
        await world.start_api(args.services, args.endpoints)
        async with Relay(world.api_url) as relay:
            direct = await a_life(Direct(world, relay), args)
        await world.start_cloud()
        async with Relay(world.cloud_bus) as relay, AsyncExitStack() as stack:
            stack.push_async_callback(_stop, world)  # before its link is gone
            ours = await a_life(Through(world, relay), args)
    return {"hub": ours, "direct": direct}


async def _stop(world: World) -> None:
    for up in world.ups.values():
        await up.stop()


async def a_life(way: Direct | Through, args: argparse.Namespace) -> Json:
    """Bytes of each phase."""
    url = await way.start()
    marks = Marks(way.relay)
    async with Node.at(url, way.name) as node:
        await node.start()
        await node.register()
        marks.end("boot")
        await deploy(way.world, node, args.pods)
        marks.end("pods")
        await an_hour(node, args)
        marks.end("idle hour")
        await asyncio.sleep(args.quiet)
        marks.end("quiet")
    _scale(marks.phases, args)
    await reboot_cut_off(way, marks, args)
    return marks.phases


def _scale(phases: dict[str, Json], args: argparse.Namespace) -> None:
    """The hour's messages came in a row: what silence costs is added."""
    quiet, hour = phases.pop("quiet"), phases["idle hour"]
    if args.full:
        return
    silence = {name: round(size * HOUR / args.quiet) for name, size in quiet.items()}
    hour |= {name: hour[name] + size for name, size in silence.items()}
    hour["of it silence"] = silence["bytes"]


async def deploy(world: World, node: Node, pods: int) -> None:
    """By somebody at the API server; then the kubelet does its part."""
    for number in range(pods):
        await create_pod(world, node.name, number)
        await node.run_pod(number)
        await world.api.call("change")  # the pod is in a service's slice


async def create_pod(world: World, node: str, number: int) -> None:
    space = f"{world.api_url}{SPACE}"
    for kind, plural, data in (
        ("ConfigMap", "configmaps", {"config.yaml": "a: b\n" * 200}),
        ("Secret", "secrets", {"token": "c2VjcmV0" * 20}),
    ):
        meta = {"name": f"{node}-config-{number}"}
        body = {"apiVersion": "v1", "kind": kind, "metadata": meta, "data": data}
        await _create(world.session, f"{space}/{plural}", body)
    await _create(world.session, f"{space}/pods", pod_of(node, number))


async def _create(session: aiohttp.ClientSession, url: str, body: Json) -> None:
    async with session.post(url, json=body) as answer:
        if answer.status not in (201, 409):
            raise RuntimeError(f"{url}: {await answer.text()}")


async def an_hour(node: Node, args: argparse.Namespace) -> None:
    """Its messages in a row; with `--full` at their times."""
    began = time.monotonic()
    for number in range(args.renewals):
        await node.renew()
        if args.beats and number % max(1, args.renewals // args.beats) == 0:
            await node.beat(1 + number)
        if args.reopened and number % max(1, args.renewals // args.reopened) == 0:
            await node.reopen()
        if args.full:
            due = began + (number + 1) * HOUR / args.renewals
            await asyncio.sleep(max(0.0, due - time.monotonic()))


async def reboot_cut_off(way: Direct | Through, marks: Marks, args: argparse.Namespace) -> None:
    """The link is cut, all starts anew; then the link is back, and nothing is lost."""
    await way.relay.cut()
    url = await way.restart()
    marks.end("reboot, cut off")
    async with Node.at(url, way.name) as node:
        if not way.works_cut_off:
            way.relay.heal()
        await node.start()
        await node.come_back(args.pods, LATE_BEAT)
        for _ in range(REBOOT_RENEWALS):
            await node.renew()
        if way.works_cut_off:
            marks.end("reboot, cut off")
            way.relay.heal()
        await way.until_replayed()
        marks.end("reconnect")
        await check_nothing_lost(way.world, node, args.pods)


async def check_nothing_lost(world: World, node: Node, pods: int) -> None:
    """Raises RuntimeError: the API server does not have what the node last said."""
    lease = await _read(world, f"{LEASES}/{node.name}")
    if lease["spec"].get("renewTime") != node.renewed:
        raise RuntimeError(f"the last renewal is lost: {lease['spec']}")
    wanted = pod_status(RESTARTED)["status"]["containerStatuses"]
    for number in range(pods):
        pod = await _read(world, f"{SPACE}/pods/{node.pod(number)}")
        if pod["status"].get("containerStatuses") != wanted:
            raise RuntimeError(f"a pod's last status is lost: {pod['status']}")
        await _read(world, f"{SPACE}/events/{node.event(number, RESTART_EVENT)}")
    await _read(world, f"{CORE}/nodes/{node.name}")


async def _read(world: World, path: str) -> Json:
    async with world.session.get(f"{world.api_url}{path}") as answer:
        if answer.status != 200:
            raise RuntimeError(f"lost: {path}: {answer.status}")
        found: Json = await answer.json()
        return found
