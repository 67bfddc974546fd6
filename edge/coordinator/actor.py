"""The Coordinator actor: stands for election, and serves one term after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

from actors.actor import Actor, Context
from actors.figures import Figure, Figures, one
from bus.errors import BusError, Conflict
from bus.feed import FeedSettings
from bus.feed.ticks import Ticks
from bus.fence import Fenced, Guard, Guarded
from bus.table import JetStreamTable
from edge.coordinator.shelf import Ends, Shelf
from edge.coordinator.term import Term
from edge.election import elector_of
from edge.metrics import follower_figures

LEASE = "coordinator"


@dataclass(frozen=True)
class CoordinatorSettings:
    ttl: float  # seconds; see configs.schema.Leases
    renew: float
    tick: float = 1.0  # seconds between ticks to the hubs
    feed: FeedSettings = field(default_factory=FeedSettings)


class Coordinator(Actor[CoordinatorSettings]):
    """Ray does not fence and processes get paused: the lease's token does, at every receiver."""

    def __init__(self, context: Context, settings: CoordinatorSettings) -> None:
        super().__init__(context, settings)
        self._pool = context.buses["pool"]
        self._guard = Guard()
        self._changed = asyncio.Event()
        self._term: Term | None = None
        self._running: asyncio.Task[None] | None = None
        context.metrics.register(Figures(*self._figures()))
        self.elector = elector_of(context, LEASE, settings.ttl, settings.renew)

    async def on_start(self) -> None:
        self.elector.on_change(lambda _: self._changed.set())
        self.context.tasks.spawn("elector", self.elector.run())
        self.context.tasks.spawn("office", self._follow_election())

    async def on_stop(self) -> None:
        await self._end_term()
        await self.elector.release()

    def _figures(self) -> tuple[Figure, ...]:
        return (
            *follower_figures(
                "atoll_coordinator_feed",
                lambda: {name: shelf.follower for name, shelf in self._shelves().items()},
            ),
            Figure(
                "atoll_coordinator_active",
                "Whether this node coordinates the pool",
                one(lambda: self._term is not None),
            ),
            Figure(
                "atoll_coordinator_unwritten_objects",
                "Objects that the pool's table has no room for",
                lambda: {name: shelf.unwritten for name, shelf in self._shelves().items()},
                "feed",
            ),
            Figure(
                "atoll_coordinator_fenced_messages",
                "Messages of a replaced leader, refused",
                one(lambda: self._guard.refused),
                is_counter=True,
            ),
        )

    def _shelves(self) -> Mapping[str, Shelf]:
        return self._term.shelves if self._term is not None else {}

    async def _follow_election(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            if self.elector.is_leader and self._running is None:
                self._begin_term()
            elif not self.elector.is_leader and self._running is not None:
                await self._end_term()

    def _begin_term(self) -> None:
        self.context.log.info("coordinates the pool")
        self._term = Term(self._ends, self.settings.tick)
        self._running = self.context.tasks.spawn("term", self._serve(self._term))

    def _ends(self, spawn: Callable[[str, Coroutine[Any, Any, None]], asyncio.Task[None]]) -> Ends:
        return Ends(
            upstream=Guarded(self._pool, self._guard),
            downstream=Fenced(self._pool, lambda: self.elector.token),
            table=JetStreamTable(self._pool),
            token=lambda: self.elector.token,
            ticks=Ticks(),
            settings=self.settings.feed,
            spawn=spawn,
            log=self.context.log,
        )

    async def _serve(self, term: Term) -> None:
        """A term that fails is given up, with its lease, so that another node may do better.

        But for a Conflict: then a predecessor's last write came after our load, and a new term
        reads it.
        """
        is_conflict = False
        try:
            await term.run()
        except* Conflict as errors:
            is_conflict = True
            self.context.log.info("reads the pool's table again: {}", _reasons(errors))
        except* BusError as errors:
            self.context.log.warning("gives the coordination up: {}", _reasons(errors))
        self._term = self._running = None
        if is_conflict and self.elector.is_leader:
            self._changed.set()
        else:
            await self.elector.release()

    async def _end_term(self) -> None:
        running, self._running, self._term = self._running, None, None
        if running is not None:
            self.context.log.info("no longer coordinates the pool")
            running.cancel()
            await asyncio.wait([running])

    def status(self) -> dict[str, Any]:
        return {
            **self.elector.status(),
            "active": self._term is not None,
            "refused": self._guard.refused,
            "feeds": {
                name: {
                    "objects": len(shelf.publisher.items),
                    "version": shelf.publisher.position.version,
                    "age": shelf.follower.age(),
                    "unwritten": shelf.unwritten,
                }
                for name, shelf in self._shelves().items()
            },
        }


def _reasons(errors: ExceptionGroup[BusError]) -> str:
    return "; ".join(sorted({str(error) for error in errors.exceptions}))
