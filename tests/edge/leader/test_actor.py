"""The Leader actor at the edges of its life."""

from __future__ import annotations

from pathlib import Path

from loguru import logger
from prometheus_client import CollectorRegistry

from actors.actor import Context
from bus.memory import MemoryBroker, MemoryBus
from edge.leader.actor import Leader, LeaderSettings
from tests.edge.worlds import owned_tasks


async def test_it_can_be_stopped_before_it_has_started(tmp_path: Path) -> None:
    buses = {name: MemoryBus(MemoryBroker(), name) for name in ("cloud", "pool")}
    async with owned_tasks() as tasks:
        context = Context(
            site="pool-a",
            node="node-1",
            actor="leader",
            buses=buses,
            log=logger,
            metrics=CollectorRegistry(),
            tasks=tasks,
            state=tmp_path,
        )
        await Leader(context, LeaderSettings(ttl=2.0, renew=0.5)).on_stop()
