"""What an actor is: a plain class with a life cycle, a context and no knowledge of what runs it.

An actor never imports ray. Its host (see `actors/host.py`) makes it, calls `on_start`, hands it
settings changes, and calls `on_stop` in reverse order within a deadline. A background task that
raises fails the actor: it is stopped and started anew with backoff, visible in the status.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from bus.api import Bus
from bus.clock import awake_time

if TYPE_CHECKING:
    from loguru import Logger
    from prometheus_client import CollectorRegistry

S = TypeVar("S")


class Clock(Protocol):
    """Time as actors see it: `monotonic` for spans and leases, `wall` for people and Kubernetes."""

    def monotonic(self) -> float: ...

    def wall(self) -> float: ...


class SystemClock:
    def monotonic(self) -> float:
        return awake_time()  # a suspended machine's leases are over, and its data is old

    def wall(self) -> float:
        return time.time()


class Tasks(Protocol):
    """The actor's own task group."""

    def spawn(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Starts a named task owned by this actor. If it raises, the actor fails (loudly).

        A task that returns is fine. All are cancelled and awaited after `on_stop`.
        """


@dataclass(frozen=True)
class Context:
    """All of the world that an actor may touch."""

    site: str
    node: str  # "" for actors of a site that belong to no node
    actor: str
    buses: Mapping[str, Bus]  # by name: "cloud", "pool"; connected in the background, maybe down
    log: Logger  # loguru, with site, node and actor bound
    metrics: CollectorRegistry
    tasks: Tasks
    state: Path  # a directory of this node (or site) that outlives restarts
    clock: Clock = field(default_factory=SystemClock)
    # Actors of the same host that may hand each other objects (a hub its coordinator's, say). The
    # bus is the normal way; this is for what must not be copied.
    peers: Mapping[str, Actor[Any]] = field(default_factory=dict)


class Actor(Generic[S]):
    """Base of all actors; `S` is the type of its settings (frozen, picklable)."""

    def __init__(self, context: Context, settings: S) -> None:
        self.context = context
        self.settings = settings

    async def on_start(self) -> None:
        """Ready when it returns: others may rely on this actor."""

    async def on_config(self, settings: S) -> None:
        """New settings, already validated. Raises to keep the old ones (the host says why)."""
        self.settings = settings

    async def on_stop(self) -> None:
        """Lets go of what others wait for (leases first). Must bear being called half-started."""

    def status(self) -> dict[str, Any]:
        """A small JSON-able picture for `atoll status`; must not block."""
        return {}
