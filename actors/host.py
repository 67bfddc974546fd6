"""A host: runs one HostSpec's actors in the current event loop, whichever process that is.

Actors start in order, each after its predecessor has started, failed or used up some patience; one
that fails starts anew by itself while the others go on; they stop in reverse order in a deadline.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from loguru import logger
from prometheus_client import CollectorRegistry

from actors.actor import Actor, Context
from actors.backoff import RestartPolicy
from actors.metrics import exposition, gauges
from actors.runner import ActorRunner, State
from actors.specs import ActorSpec, HostSpec
from actors.tasks import OwnedTasks
from bus.api import Bus
from bus.connection import BusSettings

if TYPE_CHECKING:
    from loguru import Logger

START_PATIENCE = 3.0  # seconds an actor may hold up its successors' start
BUS_CLOSE_SECONDS = 1.0

Connect = Callable[[BusSettings], Awaitable[Bus]]


async def connect(settings: BusSettings) -> Bus:
    """The real thing: returns at once, the link comes up in the background."""
    from bus.connection import Connection

    connection = Connection(settings)
    await connection.start()
    return connection


class Host:
    """Promises: `start`, `stop` and `status` never fail because of an actor."""

    def __init__(
        self,
        spec: HostSpec,
        connect: Connect = connect,
        policy: RestartPolicy | None = None,
        patience: float = START_PATIENCE,
    ) -> None:
        self.spec = spec
        self.state = State.WAITING
        self._connect = connect
        self._patience = patience
        self._log: Logger = logger.bind(site=spec.site, node=spec.node, actor=f"host {spec.name}")
        self._buses: dict[str, Bus] = {}
        self._runners = {actor.name: self._runner(actor, policy) for actor in spec.actors}

    def __repr__(self) -> str:
        return f"<Host {self.spec.site}/{self.spec.name} {self.state} {list(self._runners)}>"

    async def start(self) -> None:
        """Returns when every actor has had its turn to start. Cancelled: stops what it started."""
        self.state = State.STARTING
        try:
            self.spec.state.mkdir(parents=True, exist_ok=True)
            for name, settings in self.spec.buses.items():
                bus = self._buses[name] = await self._connect(settings)
                if self.state is not State.STARTING:  # stopped meanwhile, and this one not closed
                    await self._close(bus)
                    return
            for runner in self._runners.values():
                if self.state is not State.STARTING:  # stopped meanwhile
                    return
                runner.start()
                await runner.attempted(self._patience)
        except BaseException:
            await self.stop()
            raise
        if self.state is State.STARTING:
            self.state = State.RUNNING

    async def stop(self, deadline: float | None = None) -> None:
        """Stops all in reverse order; each `on_stop` has its share of the deadline. Idempotent."""
        if self.state in (State.STOPPING, State.STOPPED):
            return
        self.state = State.STOPPING
        loop = asyncio.get_running_loop()
        end = loop.time() + (self.spec.stop_deadline if deadline is None else deadline)
        for left, runner in zip(
            range(len(self._runners), 0, -1), reversed(self._runners.values()), strict=True
        ):
            await runner.stop(max(end - loop.time(), 0.0) / left)
        for bus in self._buses.values():
            await self._close(bus)
        self.state = State.STOPPED

    async def _close(self, bus: Bus) -> None:
        try:
            await asyncio.wait_for(bus.close(), BUS_CLOSE_SECONDS)
        except Exception as error:
            self._log.warning("the {} connection did not close: {!r}", bus.name, error)

    def kill(self) -> None:
        """No goodbye, as if the process had died: for tests and the second Ctrl-C."""
        for runner in self._runners.values():
            runner.kill()
        self.state = State.STOPPED

    async def configure(self, actor: str, settings: Any) -> None:
        """Raises SettingsRefused (the old settings stay), KeyError for an unknown actor."""
        await self._runners[actor].configure(settings)

    @property
    def is_ready(self) -> bool:
        """Whether every actor runs."""
        running = (runner.state is State.RUNNING for runner in self._runners.values())
        return self.state is State.RUNNING and all(running)

    def status(self) -> dict[str, Any]:
        return {
            "name": self.spec.name,
            "site": self.spec.site,
            "node": self.spec.node,
            "pid": os.getpid(),
            "state": str(self.state),
            "ready": self.is_ready,
            "actors": {name: runner.status() for name, runner in self._runners.items()},
            "buses": {name: _bus_status(bus) for name, bus in self._buses.items()},
        }

    def metrics(self) -> str:
        """Prometheus text of all actors, each sample labelled with site, node and actor."""
        place = {"site": self.spec.site, "node": self.spec.node}
        return exposition(
            [
                ({**place, "actor": runner.name}, runner.registry)
                for runner in self._runners.values()
            ]
            + [(place, self._own_metrics())]
        )

    def _own_metrics(self) -> CollectorRegistry:
        runners = self._runners.values()
        return gauges(
            {
                "atoll_actor_up": (
                    "Whether the actor runs",
                    {r.name: float(r.state is State.RUNNING) for r in runners},
                ),
                "atoll_actor_restarts": (
                    "Restarts after failures",
                    {r.name: float(r.restarts) for r in runners},
                ),
                "atoll_actor_settings_refused": (
                    "Whether the actor refused its last settings",
                    {r.name: float(bool(r.config_error)) for r in runners},
                ),
            },
            label="actor",
        )

    def _runner(self, actor: ActorSpec, policy: RestartPolicy | None) -> ActorRunner:
        log = logger.bind(site=self.spec.site, node=self.spec.node, actor=actor.name)

        def make_context(tasks: OwnedTasks, registry: CollectorRegistry) -> Context:
            return Context(
                site=self.spec.site,
                node=self.spec.node,
                actor=actor.name,
                buses=self._buses,
                log=log,
                metrics=registry,
                tasks=tasks,
                state=self.spec.state,
                peers=_Peers(self._runners),
            )

        return ActorRunner(actor, make_context, log, policy)


class _Peers(Mapping[str, Actor[Any]]):
    """The actors of a host that run right now; look them up at each use, they may be made anew."""

    def __init__(self, runners: Mapping[str, ActorRunner]) -> None:
        self._runners = runners

    def __getitem__(self, name: str) -> Actor[Any]:
        actor = self._runners[name].actor
        if actor is None:
            raise KeyError(name)
        return actor

    def __iter__(self) -> Iterator[str]:
        return (name for name, runner in self._runners.items() if runner.actor is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _bus_status(bus: Bus) -> dict[str, Any]:
    stats = bus.stats()
    return {
        "up": bus.is_up,
        "in_bytes": stats.in_bytes,
        "out_bytes": stats.out_bytes,
        "in_messages": stats.in_messages,
        "out_messages": stats.out_messages,
        "reconnects": stats.reconnects,
        "dropped": stats.dropped,
    }
