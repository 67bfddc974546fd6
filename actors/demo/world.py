"""The demo's world: a cloud site, a pool of three nodes, WAN links that can be cut."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from actors.demo.wan import Wan
from actors.runtimes import Runtime
from actors.site import SiteRunner
from configs.show import as_yaml

NODES = ("node-1", "node-2", "node-3")


@dataclass
class World:
    """Started in order, stopped in reverse; bears being stopped half-started."""

    directory: Path
    runtime: Runtime
    runtime_name: str
    cloud: SiteRunner | None = None
    pool: SiteRunner | None = None
    links: dict[str, Wan] = field(default_factory=dict)

    async def start_cloud(self) -> str:
        """The API server's URL."""
        config = self._write("cloud.yaml", self._cloud_config())
        self.cloud = SiteRunner(config, runtime=self.runtime)
        await self.cloud.start()
        status = await self.cloud.status()
        actors = status["hosts"]["cloud"]["actors"]
        return str(actors["apiserver"]["status"]["url"])

    async def start_pool(self) -> None:
        assert self.cloud is not None
        url = urlsplit(self.cloud.server_urls["cloud"])
        for node in NODES:
            link = self.links[node] = Wan(url.port or 4222, url.hostname or "127.0.0.1")
            await link.start()
        config = self._write("pool.yaml", self._pool_config())
        self.pool = SiteRunner(config, runtime=self.runtime)
        await self.pool.start()

    async def stop(self) -> None:
        for site in (self.pool, self.cloud):
            if site is not None:
                await site.stop()
        for link in self.links.values():
            await link.stop()

    def kill(self) -> None:
        """What has processes of its own; the rest dies with ours."""
        for site in (self.pool, self.cloud):
            if site is not None:
                site.kill()

    async def hub_urls(self) -> dict[str, str]:
        return {node: str((await self._actor(node, "hub"))["listen"]) for node in NODES}

    async def leader(self) -> str | None:
        """The node that says it leads; None while there is none, or more than one claims to."""
        leading = [node for node in NODES if (await self._actor(node, "leader")).get("is_leader")]
        return leading[0] if len(leading) == 1 else None

    def wan_bytes(self) -> int:
        return sum(link.up_bytes + link.down_bytes for link in self.links.values())

    async def _actor(self, node: str, actor: str) -> dict[str, Any]:
        assert self.pool is not None
        status = await self.pool.status()
        found = status["hosts"].get(node, {}).get("actors", {}).get(actor, {})
        return dict(found.get("status") or {})

    def _write(self, name: str, config: dict[str, Any]) -> Path:
        path = self.directory / name
        path.write_text(as_yaml(config))
        return path

    def _cloud_config(self) -> dict[str, Any]:
        return {
            "version": 1,
            "kind": "cloud",
            "name": "cloud",
            "state": "cloud",
            "runtime": self.runtime_name,
            "api": {"embedded": {}},
            "enrolment": "enrolment",
            "log": {"level": "warning"},
        }

    def _pool_config(self) -> dict[str, Any]:
        nodes = [
            {"name": node, "listen": "127.0.0.1:0", "cloud_url": _url(link)}
            for node, link in self.links.items()
        ]
        return {
            "version": 1,
            "kind": "pool",
            "name": "pool-a",
            "state": "pool-a",
            "runtime": self.runtime_name,
            "cloud": {"url": _url(self.links[NODES[0]]), "enrolment": "enrolment"},
            "nodes": nodes,
            "log": {"level": "error"},
        }


def _url(link: Wan) -> str:
    """Where a node dials in."""
    return f"nats://127.0.0.1:{link.port}"
