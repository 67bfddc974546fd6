"""Deaths and lost links in the pool: the others take over, and no client notices but by a pause.

Bounds are twice the design's budgets, or what its lease times add up to on a busy machine; the
figures are shown at the end of the run.
"""

from __future__ import annotations

import time

import pytest

from tests.e2e.conftest import Note
from tests.support.lab import NODES, Lab
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
