"""The Leader actor: campaigns while this node's cloud link works, relays while it leads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from actors.actor import Actor, Context
from actors.figures import Figure, Figures, one
from bus.fence import Fenced
from bus.stream import StreamSettings
from edge.election import elector_of
from edge.leader.lending import Lending, LendingCounters
from edge.leader.relay import Relay, RelayCounters

LEASE = "hub-leader"


@dataclass(frozen=True)
class LeaderSettings:
    ttl: float  # seconds; see configs.schema.Leases
    renew: float
    stream: StreamSettings = field(default_factory=StreamSettings)


class Leader(Actor[LeaderSettings]):
    """At most one relays at a time that anyone listens to: the coordinator refuses older tokens."""

    def __init__(self, context: Context, settings: LeaderSettings) -> None:
        super().__init__(context, settings)
        self._cloud = context.buses["cloud"]
        self._pool = context.buses["pool"]
        self._changed = asyncio.Event()
        self._forget_link: Callable[[], None] = lambda: None
        self._relay: Relay | None = None
        self._counters = RelayCounters()  # of all terms
        self._lending: Lending | None = None
        self._lent = LendingCounters()
        context.metrics.register(Figures(*self._figures()))
        self.elector = elector_of(context, LEASE, settings.ttl, settings.renew)

    async def on_start(self) -> None:
        self.elector.on_change(lambda _: self._changed.set())
        self._forget_link = self._cloud.on_link(self._on_link)
        self._on_link(self._cloud.is_up)
        self.context.tasks.spawn("elector", self.elector.run())
        self.context.tasks.spawn("leadership", self._follow_leadership())

    async def on_stop(self) -> None:
        self._forget_link()
        await self._stand_down()
        await self.elector.release()

    def _figures(self) -> tuple[Figure, ...]:
        def counter(name: str, text: str, read: Callable[[], float]) -> Figure:
            return Figure(f"atoll_leader_{name}", text, one(read), is_counter=True)

        counters = self._counters
        return (
            Figure("atoll_leader", "Whether this node leads", one(lambda: self.elector.is_leader)),
            counter("frames", "Frames from the cloud", lambda: counters.frames),
            counter("frame_bytes", "Bytes of these and of ticks", lambda: counters.frame_bytes),
            counter("syncs", "Sync requests to the cloud", lambda: counters.syncs),
            counter("sync_bytes", "Bytes of the answers", lambda: counters.sync_bytes),
            counter("not_handed_on", "Messages lost here", lambda: counters.failures),
            counter("lent_requests", "Sealed requests of borrowers", lambda: self._lent.requests),
            counter("lent_bytes", "Bytes of their answers", lambda: self._lent.bytes),
            counter("lent_refused", "Requests that were not carried", lambda: self._lent.refused),
            Figure("atoll_leader_lent_streams", "Borrowed streams", one(lambda: self._borrowed)),
        )

    def _on_link(self, up: bool) -> None:
        """Candidacy follows the link: a leader without one resigns before its lease runs out."""
        if up:
            self.elector.resume()
        else:
            self.elector.pause()

    async def _follow_leadership(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            if self.elector.is_leader and self._relay is None:
                await self._take_over()
            elif not self.elector.is_leader and self._relay is not None:
                await self._stand_down()

    async def _take_over(self) -> None:
        self.context.log.info("leads the pool: brings its data in")
        fenced = Fenced(self._pool, lambda: self.elector.token)
        self._relay = Relay(
            self._cloud, fenced, self.context.tasks, self.context.log, self._counters
        )
        await self._relay.start()
        self._lending = Lending(
            self._cloud, self._pool, self.context.site, self.context.node,
            lambda: self.elector.token, self.settings.stream, self._lent,
        )  # fmt: skip
        await self._lending.start()

    async def _stand_down(self) -> None:
        relay, self._relay = self._relay, None
        if relay is not None:
            self.context.log.info("no longer leads the pool")
            await relay.stop()
        lending, self._lending = self._lending, None
        if lending is not None:
            await lending.stop()

    @property
    def _borrowed(self) -> int:
        return self._lending.open_streams if self._lending is not None else 0

    def status(self) -> dict[str, Any]:
        counters = self._counters
        return {
            **self.elector.status(),
            "link": self._cloud.is_up,
            "frames": counters.frames,
            "frame_bytes": counters.frame_bytes,
            "syncs": counters.syncs,
            "sync_bytes": counters.sync_bytes,
            "failures": counters.failures,
            "lent_streams": self._borrowed,
            "lent_requests": self._lent.requests,
        }
