"""Deaths and lost links in the pool: the others take over, and no client notices but by a pause.

Bounds are twice the design's budgets, or what its lease times add up to on a busy machine; the
figures are shown at the end of the run.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time

import psutil
import pytest

from tests.e2e.conftest import Note
from tests.support.lab import NODES, WAN, Lab
from tests.support.trial import Trial

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

TAKEOVER = 6.0  # seconds; budget 3


def _others(*gone: str) -> list[str]:
    return [node for node in NODES if node not in gone]


async def _apart(lab: Lab) -> tuple[str, str]:
    """Leader and coordinator, on different nodes."""
    leader, keeper = await lab.offices()
    if leader == keeper:
        leader = _others(keeper)[0]
        await lab.lead_from(leader)
    return leader, keeper


async def test_leader_killed(lab: Lab, trial: Trial, note: Note) -> None:
    leader, keeper = await _apart(lab)
    began = time.monotonic()
    await lab.kill(leader)
    outage = await trial.flows(began, _others(leader))
    assert (await lab.offices())[0] != leader
    assert (await lab.offices())[1] == keeper
    await lab.start(leader)
    await trial.verify(lists={leader: 2})
    note(outage=outage)
    assert outage < TAKEOVER


async def test_coordinator_killed(lab: Lab, trial: Trial, note: Note) -> None:
    leader, keeper = await _apart(lab)
    began = time.monotonic()
    await lab.kill(keeper)
    outage = await trial.flows(began, _others(keeper))
    assert await lab.holder("leader") == leader
    await lab.start(keeper)
    await trial.verify(lists={keeper: 2})
    note(outage=outage)
    assert outage < TAKEOVER


async def test_leader_and_coordinator_on_one_node_killed(
    lab: Lab, trial: Trial, note: Note
) -> None:
    keeper = (await lab.offices())[1]
    await lab.lead_from(keeper)
    began = time.monotonic()
    await lab.kill(keeper)
    outage = await trial.flows(began, _others(keeper))
    await lab.start(keeper)
    await trial.verify(lists={keeper: 2})
    note(outage=outage)
    assert outage < TAKEOVER


@pytest.mark.parametrize("fault", ["black hole", "link down"])
async def test_leaders_link_lost(lab: Lab, trial: Trial, note: Note, fault: str) -> None:
    leader, keeper = await _apart(lab)
    machine = lab.machines[leader]
    began = time.monotonic()
    (machine.black_hole if fault == "black hole" else machine.link_down)(WAN)
    outage, noticed = await asyncio.gather(trial.flows(began), _link_lost(lab, leader, began))
    assert (await lab.offices())[0] != leader
    assert await lab.holder("coordinator") == keeper
    if fault == "black hole":
        assert machine.dropped() > 0
    else:
        assert not machine.is_up(WAN)
    healed = time.monotonic()
    lab.heal()
    await lab.until(lambda: _has_link(lab, leader), "the link is back")
    back = time.monotonic() - healed
    await trial.verify()
    note(outage=outage, noticed=noticed, back=back)
    assert outage < TAKEOVER
    assert noticed < TAKEOVER


async def test_link_of_a_follower_lost_changes_nothing(lab: Lab, trial: Trial, note: Note) -> None:
    leader, _ = await lab.offices()
    other = _others(leader)[0]
    began = time.monotonic()
    lab.black_hole([other])
    noticed = await _link_lost(lab, other, began)
    pause = await trial.flows()
    assert (await lab.offices())[0] == leader
    assert lab.machines[other].dropped() > 0
    lab.heal()
    await trial.verify()
    note(pause=pause, noticed=noticed)
    assert pause < 1.0


async def test_pool_bus_killed(lab: Lab, trial: Trial, note: Note) -> None:
    pid, mark = lab.nats_pid("pool"), lab.processes["bus"].said
    began = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    await lab.gone(pid)
    outage = await trial.flows(began)
    assert lab.nats_pid("pool") != pid
    await lab.processes["bus"].says("ended unasked", since=mark)
    await trial.verify()
    note(outage=outage)
    assert outage < TAKEOVER


async def test_pool_bus_gone_for_good(lab: Lab, trial: Trial, note: Note) -> None:
    """No coordinator anywhere: hubs follow the cloud by themselves, and come back."""
    began = time.monotonic()
    await lab.kill("bus")
    outage = await trial.flows(began)
    await lab.until(lambda: _all_follow(lab, "cloud"), "all follow the cloud")
    direct = await trial.flows()
    restored = time.monotonic()
    await lab.start("bus")
    await lab.until(lambda: _all_follow(lab, "pool"), "all follow the pool again")
    back = time.monotonic() - restored
    again = await trial.flows()
    await trial.verify()
    note(outage=outage, direct=direct, back=back, again=again)
    assert outage < 2 * (3.0 + 1.0) + 2.0  # fallback_after and its jitter
    assert direct < 1.0
    assert again < 1.0


async def test_pool_bus_lost_its_disk(lab: Lab, trial: Trial, note: Note) -> None:
    """Leases and table begin anew; tokens grow all the same, and nobody lists again."""
    pid = lab.nats_pid("pool")
    await lab.kill("bus")
    await lab.gone(pid)  # else it may still write below what is removed
    shutil.rmtree(lab.directory / "pool" / "bus" / "jetstream")
    await lab.start("bus")
    began = time.monotonic()
    outage = await trial.flows(began)
    await lab.until(lambda: _all_follow(lab, "pool"), "all follow the pool again")
    await trial.verify()
    note(outage=outage)
    assert outage < TAKEOVER


async def test_paused_leader_is_refused(lab: Lab, trial: Trial, note: Note) -> None:
    """A process that slept through its own replacement must not act on what it remembers."""
    leader, keeper = await _apart(lab)
    before = await lab.actor(keeper, "coordinator")
    relayed = (await lab.actor(leader, "leader"))["failures"]
    began = time.monotonic()
    lab.processes[leader].send(signal.SIGSTOP)
    outage = await trial.flows(began, _others(leader))
    assert psutil.Process(lab.processes[leader].pid).status() == psutil.STATUS_STOPPED
    await asyncio.sleep(max(0.0, began + 10.0 - time.monotonic()))  # the fault's length
    mark = lab.processes[leader].said
    lab.processes[leader].send(signal.SIGCONT)
    await lab.processes[leader].says("no longer leads the pool", since=mark)
    caught_up = await trial.flows()
    refused = (await lab.actor(keeper, "coordinator"))["refused"] - before["refused"]
    failures = (await lab.actor(leader, "leader"))["failures"] - relayed
    await trial.verify()
    note(outage=outage, caught_up=caught_up, refused=refused, not_handed_on=failures)
    assert (await lab.offices())[0] != leader
    assert outage < TAKEOVER


async def test_paused_coordinator_is_refused(lab: Lab, trial: Trial, note: Note) -> None:
    """The table refuses what it wants to write when it wakes up; hubs refuse what it says."""
    _, keeper = await _apart(lab)
    began = time.monotonic()
    lab.processes[keeper].send(signal.SIGSTOP)
    outage = await trial.flows(began, _others(keeper))
    assert psutil.Process(lab.processes[keeper].pid).status() == psutil.STATUS_STOPPED
    await asyncio.sleep(max(0.0, began + 10.0 - time.monotonic()))  # the fault's length
    successor = await lab.holder("coordinator", _others(keeper))
    mark = lab.processes[keeper].said
    lab.processes[keeper].send(signal.SIGCONT)
    woken = time.monotonic()
    await lab.processes[keeper].says("coordinat", since=mark)
    knows = time.monotonic() - woken
    caught_up = await trial.flows()
    assert (await lab.offices())[1] == successor != keeper
    await trial.verify()
    note(outage=outage, knows=knows, caught_up=caught_up)
    assert outage < TAKEOVER


async def _has_link(lab: Lab, node: str) -> bool:
    return bool((await lab.actor(node, "leader")).get("link"))


async def _link_lost(lab: Lab, node: str, since: float) -> float:
    """Seconds until the node itself says so."""

    async def lost() -> bool:
        return (await lab.actor(node, "leader")).get("link") is False

    await lab.until(lost, f"{node} notices")
    return time.monotonic() - since


async def _all_follow(lab: Lab, source: str) -> bool:
    return all([(await lab.actor(node, "hub")).get("source") == source for node in NODES])
