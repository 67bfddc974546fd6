"""Cluster IPs and node ports."""

from __future__ import annotations

import random
from typing import Any

import pytest

from cloud.apiserver.addresses import Addresses, Exhausted


def holding(*ips: str, ports: tuple[int, ...] = ()) -> dict[str, Any]:
    return {
        "spec": {
            "clusterIP": ips[0] if ips else "None",
            "clusterIPs": list(ips),
            "ports": [{"port": 1, "protocol": "TCP", "nodePort": port} for port in ports],
        }
    }


def test_every_address_is_given_once() -> None:
    addresses = Addresses("10.0.0.0/29", chance=random.Random(1))
    given = set()
    for n in range(5):  # 8, without the network's own, the first and broadcast
        ip = addresses.free_ip()
        addresses.note(str(n), holding(ip))
        given.add(ip)
    assert given == {f"10.0.0.{n}" for n in range(2, 7)}
    with pytest.raises(Exhausted):
        addresses.free_ip()
    addresses.note("3", None)
    assert addresses.free_ip() in given


def test_changes_free_what_was_held() -> None:
    addresses = Addresses()
    addresses.note("a", holding("10.96.0.5", ports=(30001,)))
    assert addresses.owner_of_ip("10.96.0.5") == "a"
    assert addresses.owner_of_port("TCP", 30001) == "a"
    addresses.note("a", holding("10.96.0.6"))
    assert addresses.owner_of_ip("10.96.0.5") is None
    assert addresses.owner_of_port("TCP", 30001) is None
    assert addresses.owner_of_ip("10.96.0.6") == "a"


def test_node_ports_run_out() -> None:
    addresses = Addresses(node_ports=(30000, 30002), chance=random.Random(1))
    addresses.note("a", holding(ports=(30001,)))
    ports = {addresses.free_port("TCP", set()) for _ in range(50)}
    assert ports == {30000, 30002}
    assert addresses.free_port("TCP", {30000}) == 30002
    assert addresses.free_port("UDP", {30000, 30002}) == 30001
    with pytest.raises(Exhausted):
        addresses.free_port("TCP", {30000, 30002})


def test_headless_services_hold_nothing() -> None:
    addresses = Addresses()
    addresses.note("a", {"spec": {"clusterIP": "None", "clusterIPs": ["None"]}})
    assert addresses.owner_of_ip("None") is None


def test_range() -> None:
    addresses = Addresses()
    assert addresses.first == "10.96.0.1"
    assert addresses.contains("10.96.255.1")
    assert not addresses.contains("10.97.0.1")
    assert not addresses.contains("text")
