"""What a site's composition root says about what shall run. All of it pickles (Ray carries it)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from bus.connection import BusSettings
from bus.server import ServerSettings


@dataclass(frozen=True)
class ActorSpec:
    """One actor: `factory` is "package.module:Class", imported where it runs."""

    name: str  # unique within its host: "hub", "coordinator"
    factory: str
    settings: Any


@dataclass(frozen=True)
class LogSettings:
    level: str = "INFO"
    json: bool = False


@dataclass(frozen=True)
class HostSpec:
    """One process's worth of actors (a node's, or a share of the cloud's), started in order."""

    name: str  # unique within the site: the node's name, or "cloud"
    site: str
    node: str
    state: Path
    actors: tuple[ActorSpec, ...]
    buses: Mapping[str, BusSettings] = field(default_factory=dict)
    log: LogSettings = field(default_factory=LogSettings)
    stop_deadline: float = 10.0  # seconds for all on_stop together


class Site(Protocol):
    """A composition root: config in, specs out. `edge.site.PoolSite` and `cloud.site.CloudSite`.

    Constructed as `Site(config, node)`; `node` is "" for all that belongs on this machine.
    """

    def servers(self) -> Sequence[ServerSettings]:
        """Embedded bus servers of this machine, to be started first."""

    def hosts(self, urls: Mapping[str, str]) -> Sequence[HostSpec]:
        """Hosts in start order; `urls` maps each started server's name to its client URL."""
