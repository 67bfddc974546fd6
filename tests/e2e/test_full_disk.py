"""The pool's bus has no room for the pool's objects: it says so, and hubs are fed all the same."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import Note
from tests.support.churn import SLICES_PATH, large
from tests.support.lab import Lab, Plan
from tests.support.trial import Trial

pytestmark = pytest.mark.timeout(120)

LARGE = 400 << 10
MANY = 60  # of these: three times what either disk takes
# Clients shall lose nothing to a bound of the hubs, which is another matter.
HUB = {"hub": {"window": "128MiB", "watcher_queue": "128MiB"}}


async def test_bound_of_the_bus_reached(tmp_path: Path, note: Note) -> None:
    """`bus.storage`: what could not be written is counted, and written once there is room."""
    async with (
        Lab(tmp_path, Plan(storage=16 << 20, pool=HUB)) as lab,
        Trial(lab, rate=10.0) as trial,
    ):
        _, keeper = await lab.offices()
        mark = lab.processes[keeper].said
        await _fill(lab)
        line = await lab.processes[keeper].says("takes no writes", since=mark)
        assert "bus.storage" in line
        assert await _unwritten(lab)
        assert _value(await lab.metrics(keeper), "atoll_coordinator_unwritten_objects") > 0
        note(outage=await trial.flows())
        await _empty(lab)
        await trial.flows()
        await lab.until(lambda: _all_written(lab), "all is written once there is room")
        await trial.verify()


async def test_disk_full(tmp_path: Path, note: Note) -> None:
    """ENOSPC, on a real disk that `bus.storage` knows nothing of: leases cannot be renewed either,
    so every hub follows the cloud. The bus is whole again as soon as there is room.
    """
    async with Lab(tmp_path, Plan(disk=12 << 20, pool=HUB)) as lab, Trial(lab, rate=10.0) as trial:
        await _fill(lab)
        line = await lab.processes["bus"].says("cannot write")
        assert "no space left on device" in line
        note(outage=await trial.flows(timeout=40.0))
        began = time.monotonic()
        _enlarge_disk(lab, 200 << 20)
        await lab.settled()
        note(healed=time.monotonic() - began)
        await trial.flows()
        await trial.verify()


def _enlarge_disk(lab: Lab, size: int) -> None:
    """Only the bus's process sees it."""
    pid = lab.processes["bus"].pid
    mount = ["mount", "-o", f"remount,size={size}", str(lab.directory / "pool" / "bus")]
    enter = ["nsenter", f"--mount=/proc/{pid}/ns/mnt"]
    subprocess.run([*enter, *mount], check=True, capture_output=True)


async def _fill(lab: Lab) -> None:
    for number in range(MANY):
        await lab.api.call("POST", SLICES_PATH, large(f"large-{number}", LARGE))


async def _empty(lab: Lab) -> None:
    for number in range(MANY):
        await lab.api.call("DELETE", f"{SLICES_PATH}/large-{number}")


async def _unwritten(lab: Lab) -> int:
    """As the coordinator says."""
    _, keeper = await lab.offices()
    feeds = (await lab.actor(keeper, "coordinator"))["feeds"]
    return sum(feed["unwritten"] for feed in feeds.values())


async def _all_written(lab: Lab) -> bool:
    return not await _unwritten(lab)


def _value(metrics: str, name: str) -> float:
    lines = [line for line in metrics.splitlines() if line.startswith(name)]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)
