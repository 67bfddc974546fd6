"""Cluster IPs and node ports: who has which, and which is free. Pure."""

from __future__ import annotations

import ipaddress
import random
from typing import Any, NamedTuple

Object = dict[str, Any]


class Held(NamedTuple):
    """What one service holds."""

    ips: tuple[str, ...] = ()
    ports: tuple[tuple[str, int], ...] = ()  # (protocol, node port)


class Exhausted(Exception):
    """No free address or port is left."""


def held_by(service: Object) -> Held:
    spec = service.get("spec", {})
    ips = spec.get("clusterIPs") or [spec.get("clusterIP", "")]
    ports = [
        (port.get("protocol", "TCP"), port["nodePort"])
        for port in spec.get("ports", ())
        if port.get("nodePort")
    ]
    return Held(tuple(ip for ip in ips if ip and ip != "None"), tuple(ports))


class Addresses:
    """Told of every service as it is kept; offers what none of them holds."""

    def __init__(
        self,
        cidr: str = "10.96.0.0/16",
        node_ports: tuple[int, int] = (30000, 32767),
        chance: random.Random | None = None,
    ) -> None:
        self.network = ipaddress.ip_network(cidr)
        self.node_ports = node_ports
        self._chance = chance or random.Random()
        self._held: dict[str, Held] = {}
        self._ip_owner: dict[str, str] = {}
        self._port_owner: dict[tuple[str, int], str] = {}

    @property
    def first(self) -> str:
        """That of the service `kubernetes`."""
        return str(self.network[1])

    def note(self, key: str, service: Object | None) -> None:
        """The service as it is now; None: it is gone."""
        old = self._held.pop(key, Held())
        for ip in old.ips:
            self._ip_owner.pop(ip, None)
        for port in old.ports:
            self._port_owner.pop(port, None)
        if service is None:
            return
        held = self._held[key] = held_by(service)
        self._ip_owner.update(dict.fromkeys(held.ips, key))
        self._port_owner.update(dict.fromkeys(held.ports, key))

    def owner_of_ip(self, ip: str) -> str | None:
        return self._ip_owner.get(ip)

    def owner_of_port(self, protocol: str, port: int) -> str | None:
        return self._port_owner.get((protocol, port))

    def contains(self, ip: str) -> bool:
        try:
            return ipaddress.ip_address(ip) in self.network
        except ValueError:
            return False

    def free_ip(self) -> str:
        """Raises Exhausted. The network's own, broadcast and first address are never given."""
        size = self.network.num_addresses
        start = self._chance.randrange(size)
        for step in range(size):
            offset = (start + step) % size
            ip = str(self.network[offset])
            if 1 < offset < size - 1 and ip not in self._ip_owner:
                return ip
        raise Exhausted(f"range {self.network} is full")

    def free_port(self, protocol: str, taken: set[int]) -> int:
        """Raises Exhausted. `taken` are those that this service already has."""
        low, high = self.node_ports
        size = high - low + 1
        start = self._chance.randrange(size)
        for step in range(size):
            port = low + (start + step) % size
            if (protocol, port) not in self._port_owner and port not in taken:
                return port
        raise Exhausted(f"node ports {low}-{high} are all taken")
