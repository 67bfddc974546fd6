"""A pool's composition root: which servers and hosts its site file asks for on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from actors.kube.serve.api import ServeSettings
from actors.kube.watchcache import CacheSettings
from actors.places import node_state, public_file_name, seed_file
from actors.sitefile import bus_server, log_settings
from actors.specs import ActorSpec, HostSpec
from bus import permissions
from bus.connection import BusSettings
from bus.keys import NodeKey
from bus.server import ServerSettings, ServerUser
from configs.schema import Node, PoolSiteFile
from configs.units import split_address
from edge.cache import CacheSettings as DiskSettings
from edge.coordinator.actor import CoordinatorSettings
from edge.hub.actor import HubActorSettings
from edge.hub.seats import SeatSettings
from edge.hub.secure.port import SecureSettings
from edge.leader.actor import LeaderSettings
from edge.local import is_this_machine

POOL_BUS = "pool"


class SiteError(ValueError):
    """The site file is well-formed but cannot be started here; the text says what to change."""


class PoolSite:
    """Implements `actors.specs.Site`. `node` picks one node; "" means all of this machine."""

    def __init__(self, config: PoolSiteFile, node: str = "") -> None:
        self._config = config
        self._nodes = _chosen(config, node)
        self._keys = {each.name: self._key(each) for each in self._nodes}

    def servers(self) -> Sequence[ServerSettings]:
        if self._config.bus.url is not None or not self._runs_the_bus:
            return ()
        return (self._server(),)

    def hosts(self, urls: Mapping[str, str]) -> Sequence[HostSpec]:
        url = urls.get(POOL_BUS) or self._remote_bus()
        self._offer_keys()
        return [self._host(node, url) for node in self._nodes]

    @property
    def _runs_the_bus(self) -> bool:
        return self._bus_node in {node.name for node in self._nodes}

    @property
    def _bus_node(self) -> str:
        return self._config.bus.server or self._config.nodes[0].name

    def _key(self, node: Node) -> NodeKey:
        return NodeKey.load_or_create(seed_file(self._config.state, node.name))

    def _offer_keys(self) -> None:
        """Public keys to where the cloud site looks for them, if the two share a directory."""
        directory = self._config.cloud.enrolment
        if directory is None:
            return
        directory.mkdir(parents=True, exist_ok=True)
        for name, key in self._keys.items():
            path = directory / public_file_name(self._config.name, name)
            if not path.exists() or path.read_text().strip() != key.public:
                path.write_text(key.public + "\n")

    def _server(self) -> ServerSettings:
        return bus_server(self._config, POOL_BUS, map(self._user, self._config.nodes))

    def _user(self, node: Node) -> ServerUser:
        public = node.public_key or self._key(node).public
        allowed = permissions.pool_node(self._config.name, node.name)
        return ServerUser(public, allowed.publish, allowed.subscribe)

    def _remote_bus(self) -> str:
        """The URL of a bus that this process does not run."""
        bus = self._config.bus
        if bus.url is not None:
            return bus.url
        host, port = split_address(bus.listen)
        if port == 0:
            raise SiteError(
                f"bus.listen: needs a port of its own (not 0), because node {self._bus_node!r}, "
                "which runs the pool's bus, is started apart from this one"
            )
        return f"{'tls' if bus.tls else 'nats'}://{host}:{port}"

    def _host(self, node: Node, pool_url: str) -> HostSpec:
        return HostSpec(
            name=node.name,
            site=self._config.name,
            node=node.name,
            state=node_state(self._config.state, node.name),
            actors=self._actors(node),
            buses={"pool": self._pool_bus(node, pool_url), "cloud": self._cloud_bus(node)},
            log=log_settings(self._config),
        )

    def _actors(self, node: Node) -> tuple[ActorSpec, ...]:
        """In start order; stopped in reverse, so that clients see the hub go first."""
        leases = self._config.leases
        return (
            ActorSpec(
                "coordinator",
                "edge.coordinator.actor:Coordinator",
                CoordinatorSettings(leases.ttl, leases.renew),
            ),
            ActorSpec(
                "leader", "edge.leader.actor:Leader", LeaderSettings(leases.ttl, leases.renew)
            ),
            ActorSpec("hub", "edge.hub.actor:Hub", self._hub(node)),
        )

    def _hub(self, node: Node) -> HubActorSettings:
        hub = self._config.hub
        host, port = split_address(node.listen)
        return HubActorSettings(
            host=host,
            port=port,
            stale_after=hub.stale_after,
            fallback_after=hub.fallback_after,
            cache=CacheSettings(window_bytes=hub.window, watcher_bytes=hub.watcher_queue),
            serve=ServeSettings(bookmark=hub.bookmark),
            identities=hub.identities,
            disk=DiskSettings(limit=hub.cache.size),
            components=hub.cache.components,
            filters=hub.filters,
            secure=_secure(node),
            seats=SeatSettings(total=hub.requests),
            members=tuple(each.name for each in self._config.nodes),
            seed_file=self._keys[node.name].seed_file,
        )

    def _pool_bus(self, node: Node, url: str) -> BusSettings:
        bus = self._config.bus
        settings = self._bus("pool", url, node, bus.ca)
        if bus.tls is None or not self._runs_the_bus:
            return settings
        # Our own server, reached over loopback; its certificate may name the LAN's address only.
        return replace(settings, ca=bus.tls.certificate, pinned=True)

    def _cloud_bus(self, node: Node) -> BusSettings:
        return self._bus(
            "cloud", node.cloud_url or self._config.cloud.url, node, self._config.cloud.ca
        )

    def _bus(self, name: str, url: str, node: Node, ca: Path | None) -> BusSettings:
        key = self._keys[node.name]
        return BusSettings(
            name=name,
            urls=(url,),
            seed_file=key.seed_file,
            client=f"{self._config.name}/{node.name}",
            inbox_prefix=permissions.inbox_prefix(self._config.name, node.name),
            ca=ca,
            ping_seconds=self._config.cloud.ping,
            max_payload=self._config.bus.max_payload,
        )


def _secure(node: Node) -> SecureSettings | None:
    if node.secure is None:
        return None
    files = (node.secure_tls.certificate, node.secure_tls.key) if node.secure_tls else (None, None)
    return SecureSettings(*split_address(node.secure), *files)


def _chosen(config: PoolSiteFile, node: str) -> tuple[Node, ...]:
    if node:
        chosen = tuple(each for each in config.nodes if each.name == node)
        known = ", ".join(each.name for each in config.nodes)
        if not chosen:
            raise SiteError(f"--node {node}: no such node in {config.name}; there are: {known}")
        return chosen
    chosen = tuple(each for each in config.nodes if is_this_machine(each.host))
    if not chosen:
        raise SiteError(
            f"nodes: none of {config.name}'s nodes has this machine as its `host`; "
            "set `host` to an address of this machine, or choose one with --node"
        )
    return chosen
