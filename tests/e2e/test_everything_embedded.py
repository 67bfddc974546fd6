"""As the examples run it: the API server in the cloud's process, the pool's bus on its first node.

So one death takes more with it: the cloud site's all of the cloud, node-1's the pool's bus as well.
"""

from __future__ import annotations

import time

import pytest

from tests.actors.processes import is_running
from tests.e2e.conftest import Note
from tests.support.lab import NODES, Lab, Plan
from tests.support.trial import Trial

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]
PLAN = Plan(api_apart=False, bus_apart=False)

BUS_NODE, OTHERS = NODES[0], NODES[1:]


async def test_node_with_the_pool_bus_killed(lab: Lab, trial: Trial, note: Note) -> None:
    """No bus, no coordinator, perhaps no leader: the others follow the cloud, and come back."""
    pid = lab.nats_pid("pool")
    began = time.monotonic()
    await lab.kill(BUS_NODE)
    await lab.gone(pid)  # its guard has seen to it
    outage = await trial.flows(began, OTHERS)
    assert {(await lab.actor(node, "hub"))["source"] for node in OTHERS} == {"cloud"}
    await lab.start(BUS_NODE)
    restored = time.monotonic()
    await lab.settled()
    back = time.monotonic() - restored
    await trial.verify(lists={BUS_NODE: 2})
    note(outage=outage, back=back)
    assert outage < 10.0  # fallback_after, its jitter, and a sync


async def test_cloud_with_its_api_server_killed(lab: Lab, trial: Trial, note: Note) -> None:
    await lab.kill("cloud")
    await lab.start("cloud")
    up = time.monotonic()
    back = await trial.flows(up)
    await trial.verify()
    assert trial.churn.errors > 0
    note(back=back)
    assert back < 10.0


async def test_orderly_stop_leaves_nothing(lab: Lab, note: Note) -> None:
    """Ctrl-C's way: exit code 0, and no process below any of them lives on."""
    below = lab.descendants()
    assert {"nats-server"} <= {process.name() for process in below}
    took = {}
    for name in ("node-3", "node-2", "cloud", "node-1"):
        began = time.monotonic()
        assert await lab.processes[name].stop() == 0
        took[name] = time.monotonic() - began
    assert not [process for process in below if is_running(process)]
    note(**{name.replace("-", "_"): seconds for name, seconds in took.items()})
