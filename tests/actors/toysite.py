"""A site of toy actors: `python -m tests.actors.toysite FILE` runs it as `atoll up` would.

Each node is a host with the toys "a" and "b"; `hub.stale_after` is their word (a live key, and 13 s
is refused); a node called "stuck" does not stop by itself.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from actors.site import run_site
from actors.sitefile import log_settings
from actors.specs import ActorSpec, HostSpec
from bus.server import ServerSettings
from configs.schema import PoolSiteFile
from tests.actors.samples import Journal, toy


class ToySite:
    def __init__(self, config: PoolSiteFile, node: str = "") -> None:
        self._config = config
        self._nodes = [each.name for each in config.nodes if node in ("", each.name)]

    def servers(self) -> Sequence[ServerSettings]:
        return [ServerSettings("pool", self._config.name, self._config.state / "bus", ())]

    def hosts(self, urls: Mapping[str, str]) -> Sequence[HostSpec]:
        return [self._host(node) for node in self._nodes]

    def _host(self, node: str) -> HostSpec:
        return HostSpec(
            node,
            self._config.name,
            node,
            self._config.state / node,
            tuple(self._toy(node, name) for name in "ab"),
            log=log_settings(self._config),
            stop_deadline=2.0,
        )

    def _toy(self, node: str, name: str) -> ActorSpec:
        journal = self._config.state / f"{node}.journal"
        word = f"{self._config.hub.stale_after:g}"
        factory = "Stubborn" if node == "stuck" else "Toy"
        return toy(name, journal, factory, word=word, refuse="13")


class ToyServer:
    """Stands in for a bus server: has a URL, runs nothing."""

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        self.pid: int | None = None
        self.restarts = 0
        self.url = ""

    async def start(self) -> None:
        self.url, self.pid = f"nats://127.0.0.1:1/{self.settings.name}", 1

    async def stop(self) -> None:
        self.pid = None


def write(directory: Path, *nodes: str, **changes: Any) -> Path:
    """A site file in `directory`, replaced at once if it is there."""
    path = directory / "site.yaml"
    content = {
        "version": 1,
        "kind": "pool",
        "name": "pool-a",
        "state": "state",
        "runtime": "local",
        "cloud": {"url": "nats://127.0.0.1:1"},
        "nodes": [{"name": node, "listen": "127.0.0.1:0"} for node in nodes],
        **changes,
    }
    draft = path.with_suffix(".tmp")
    draft.write_text(yaml.safe_dump(content))
    draft.replace(path)
    return path


def journal(directory: Path, node: str) -> Journal:
    return Journal(directory / "state" / f"{node}.journal")


if __name__ == "__main__":
    sys.exit(run_site(sys.argv[1], make_site=ToySite, make_server=ToyServer))
