"""Faults of all kinds, one upon the other, in an order that a seed gives; nightly."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable

import pytest

from tests.e2e.conftest import Note
from tests.support.lab import NODES, WAN, Lab
from tests.support.trial import Trial

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(400),
    pytest.mark.nightly,
]

SECONDS = 90.0
Fault = Callable[[Lab, random.Random], Awaitable[None]]


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_everything_at_once(lab: Lab, trial: Trial, note: Note, seed: int) -> None:
    """Whatever happened: once all is healed, all are equal, and no client saw a thing go back."""
    choose = random.Random(seed)
    end = time.monotonic() + SECONDS
    faults = 0
    while time.monotonic() < end:
        await choose.choice(FAULTS)(lab, choose)
        faults += 1
        await asyncio.sleep(choose.uniform(0.0, 3.0))  # they shall meet each other half-way
    began = time.monotonic()
    await lab.recover()
    await trial.flows()
    healed = time.monotonic() - began
    await trial.verify(may_list=True)
    note(faults=faults, healed=healed)


async def _kill_node(lab: Lab, choose: random.Random) -> None:
    node = choose.choice(NODES)
    if lab.processes[node].is_running:
        await lab.kill(node)


async def _start_nodes(lab: Lab, choose: random.Random) -> None:
    dead = [node for node in NODES if not lab.processes[node].is_running]
    await asyncio.gather(*(lab.start(node) for node in dead))


async def _cut(lab: Lab, choose: random.Random) -> None:
    node = choose.choice(NODES)
    lab.heal([node])
    lab.machines[node].black_hole(WAN)


async def _unplug(lab: Lab, choose: random.Random) -> None:
    lab.machines[choose.choice(NODES)].link_down(WAN)


async def _heal(lab: Lab, choose: random.Random) -> None:
    lab.heal()


async def _pause(lab: Lab, choose: random.Random) -> None:
    process = lab.processes[choose.choice(NODES)]
    if process.is_running:
        process.send(signal.SIGSTOP)
        await asyncio.sleep(choose.uniform(0.5, 4.0))
        process.send(signal.SIGCONT)


async def _kill_bus(lab: Lab, choose: random.Random) -> None:
    site = choose.choice(("cloud", "pool"))
    try:
        os.kill(lab.nats_pid(site), signal.SIGKILL)
    except (FileNotFoundError, ProcessLookupError):
        return  # it is just starting


async def _restart_api(lab: Lab, choose: random.Random) -> None:
    await lab.kill("api")
    await lab.start("api")


async def _restart_cloud(lab: Lab, choose: random.Random) -> None:
    await lab.kill("cloud")
    await lab.start("cloud")


FAULTS: tuple[Fault, ...] = (
    _kill_node,
    _start_nodes,
    _start_nodes,
    _cut,
    _cut,
    _unplug,
    _heal,
    _heal,
    _pause,
    _kill_bus,
    _kill_bus,
    _restart_api,
    _restart_cloud,
)
