"""The whole pool is cut off from the cloud while things change there; then it catches up."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.e2e.conftest import Note
from tests.support.clients import PATHS, SERVICES
from tests.support.lab import NODES, Lab
from tests.support.trial import Trial

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]

CATCH_UP = 8.0  # seconds; reconnect, election and one sync by difference


@pytest.mark.parametrize(
    "seconds", [2.0, 15.0, pytest.param(120.0, marks=pytest.mark.nightly)], ids="{:.0f}s".format
)
async def test_whole_pool_cut(lab: Lab, trial: Trial, note: Note, seconds: float) -> None:
    writes = trial.churn.writes
    before = {client: dict(client.versions) for client in trial.clients}
    lab.black_hole(NODES)
    await asyncio.sleep(seconds)  # the fault's length
    changed = trial.churn.writes - writes
    served = {node: await lab.hub(node).versions(SERVICES) for node in NODES}
    if seconds > 10:
        assert await _served_stale(lab)
    dropped = {node: lab.machines[node].dropped() for node in NODES}
    began = time.monotonic()
    lab.heal()
    catch_up = await trial.flows(began)
    await trial.verify()
    note(changed=changed, catch_up=catch_up)
    assert changed > 10 * seconds, "there was to be churn meanwhile"
    assert all(dropped.values()), dropped
    assert all(client.versions != before[client] for client in trial.clients)
    assert len({tuple(sorted(versions.items())) for versions in served.values()}) == 1
    assert catch_up < CATCH_UP


async def test_hub_restarted_during_the_cut(lab: Lab, trial: Trial, note: Note) -> None:
    """What the coordinator holds is enough for a node that starts with nothing."""
    _, keeper = await lab.offices()
    other, bystander = (node for node in NODES if node != keeper)
    lab.black_hole(NODES)
    held = {path: await _stands_still(lab, bystander, path) for path in PATHS}
    await lab.kill(other)
    began = time.monotonic()
    await lab.start(other)
    served = {path: await _first_list(lab, other, path) for path in PATHS}
    restart = time.monotonic() - began
    assert served == held
    assert (await lab.actor(other, "hub"))["source"] == "pool"
    assert lab.machines[other].dropped() > 0
    lab.heal()
    await trial.flows()
    await trial.verify()  # nothing was missed: not even its own clients list anew
    note(restart=restart)


async def test_coordinator_killed_during_the_cut(lab: Lab, trial: Trial, note: Note) -> None:
    """Its successor goes on from the pool's own table, and serves a node that starts anew."""
    _, keeper = await lab.offices()
    bystander, _ = (node for node in NODES if node != keeper)
    lab.black_hole(NODES)
    held = {path: await _stands_still(lab, bystander, path) for path in PATHS}
    began = time.monotonic()
    await lab.kill(keeper)
    await lab.until(lambda: _another_keeps(lab, keeper), "a successor")
    takeover = time.monotonic() - began
    await lab.start(keeper)
    assert {path: await _first_list(lab, keeper, path) for path in PATHS} == held
    lab.heal()
    await trial.flows()
    await trial.verify()
    note(takeover=takeover)
    assert takeover < 6.0


async def _served_stale(lab: Lab) -> bool:
    """Every hub says that what it serves is old."""
    for node in NODES:
        hub = lab.hub(node)
        async with hub.session.get(hub.base + SERVICES) as response:
            if "edge cache" not in response.headers.get("Warning", ""):
                return False
    return True


async def _stands_still(lab: Lab, node: str, path: str) -> dict[str, int]:
    """What a node serves once nothing comes any more: the black hole holds."""
    await lab.until(lambda: _no_link(lab, node), f"{node} notices the cut")
    return await lab.hub(node).versions(path)


async def _no_link(lab: Lab, node: str) -> bool:
    return not any([(await lab.actor(n, "leader")).get("link", True) for n in NODES])


async def _another_keeps(lab: Lab, keeper: str) -> bool:
    return await lab.holder("coordinator") not in ("", keeper)


async def _first_list(lab: Lab, node: str, path: str) -> dict[str, int]:
    """The first list that a starting hub gives: until its first sync it gives none."""
    found: dict[str, int] = await lab.until(
        lambda: _list_or_nothing(lab, node, path), f"{node} serves {path}"
    )
    return found


async def _list_or_nothing(lab: Lab, node: str, path: str) -> dict[str, int] | None:
    hub = lab.hub(node)
    async with hub.session.get(hub.base + path) as response:
        if response.status != 200:
            return None
    return await hub.versions(path)
