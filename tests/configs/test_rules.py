"""Contradictions: each rule with what breaks it and what keeps it, by the keys it names."""

from __future__ import annotations

from pathlib import Path

import pytest

from configs import ConfigError, load
from tests.configs.files import CLOUD, POOL, write

TLS = "tls: {certificate: a, key: b}"


def reasons(directory: Path, text: str) -> str:
    """All problems as one text; "" for a valid file."""
    try:
        load(write(directory, text))
    except ConfigError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("added", "expected"),
    [
        ("bus: {url: 'nats://a:1', storage: 1GiB}", "contradicts bus.storage"),
        (f"bus: {{url: 'nats://a:1', listen: '127.0.0.1:1', {TLS}}}", "bus.listen, bus.tls"),
        ("bus: {url: 'nats://a:1', sync: always}", "contradicts bus.sync"),
        ("bus: {listen: '0.0.0.0:1'}", "bus.listen: 0.0.0.0:1 is reachable by others, so bus.tls"),
        ("bus: {listen: 'cloud.example:1'}", "so bus.tls is needed"),
        ("bus: {max_payload: 1MiB}", "feeds.max_object: must be smaller than bus.max_payload"),
    ],
)
def test_bus_contradictions(tmp_path: Path, added: str, expected: str) -> None:
    assert expected in reasons(tmp_path, CLOUD + added)


@pytest.mark.parametrize(
    "added",
    [
        "bus: {url: 'nats://a:1'}",
        "bus: {url: 'nats://a:1', tls: null, max_payload: 16MiB}",
        "bus: {listen: '[::1]:0'}",
        f"bus: {{listen: '0.0.0.0:1', {TLS}}}",
    ],
)
def test_bus_settings_that_agree(tmp_path: Path, added: str) -> None:
    assert reasons(tmp_path, CLOUD + added) == ""


@pytest.mark.parametrize(
    ("api", "expected"),
    [
        ("{}", "needs exactly one of api.embedded, api.kubeconfig, api.in_cluster"),
        ("{embedded: null}", "needs exactly one"),
        ("{embedded: {}, kubeconfig: k}", "api.embedded and api.kubeconfig contradict"),
        ("{kubeconfig: k, in_cluster: true}", "api.kubeconfig and api.in_cluster contradict"),
        ("{in_cluster: true, context: c}", "api.context: is of use only with api.kubeconfig"),
        ("{embedded: {listen: '0.0.0.0:1'}}", "set api.embedded.tokens"),
    ],
)
def test_api_contradictions(tmp_path: Path, api: str, expected: str) -> None:
    text = CLOUD.replace("api:\n  embedded: {}\n", f"api: {api}\n")
    assert expected in reasons(tmp_path, text)


@pytest.mark.parametrize(
    "api",
    [
        "{kubeconfig: k, context: c}",
        "{in_cluster: true}",
        "{embedded: {}, in_cluster: false}",
        "{embedded: {listen: '0.0.0.0:1', tokens: {t: admin}}}",
    ],
)
def test_api_settings_that_agree(tmp_path: Path, api: str) -> None:
    assert reasons(tmp_path, CLOUD.replace("api:\n  embedded: {}\n", f"api: {api}\n")) == ""


@pytest.mark.parametrize(
    ("leases", "expected"),
    [
        ("{ttl: 2s, renew: 1s}", "leases.renew: must be at most 0.4 of leases.ttl, so 800ms"),
        ("{renew: 5s}", "so 800ms"),
        ("{ttl: 500ms, renew: 100ms}", "leases.ttl: must be at least 1s"),
        ("{ttl: 2s, renew: 801ms}", "so 800ms"),  # what an Elector would not take
        ("{ttl: 2s, renew: 800ms}", ""),
    ],
)
def test_leases(tmp_path: Path, leases: str, expected: str) -> None:
    found = reasons(tmp_path, f"{POOL}leases: {leases}\n")
    assert expected in found if expected else found == ""


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        (["name: a", "name: a"], "nodes[1].name: a is already nodes[0]"),
        (["name: a", "name: b"], "127.0.0.1:10261 is already taken by nodes[0] (a)"),
        (["name: a, listen: '0.0.0.0:1'", "name: b, listen: '127.0.0.1:1'"], "already taken"),
        (["name: a, listen: '127.0.0.2:1'", "name: b, listen: '127.0.0.1:1'"], ""),
        (["name: a, listen: '127.0.0.1:0'", "name: b, listen: '127.0.0.1:0'"], ""),
        (["name: a, listen: '0.0.0.0:1', secure: '10.0.0.1:1'"], "taken by nodes[0].listen"),
        (["name: a, listen: '127.0.0.1:1', secure: '10.0.0.1:1'"], ""),
        (
            ["name: a, listen: 'a:1', secure: 'a:2'", "name: b, listen: 'a:3', secure: 'a:2'"],
            "a:2 is already taken by nodes[0].secure",
        ),
        (
            ["name: a, secure_tls: {certificate: c, key: k}"],
            "secure_tls: is of use only with nodes[0].secure",
        ),
        (["name: a, secure: 'a:2', secure_tls: {certificate: c, key: k}"], ""),
    ],
)
def test_nodes_do_not_share_names_or_ports(tmp_path: Path, nodes: list[str], expected: str) -> None:
    listed = "".join(f"  - {{{node}}}\n" for node in nodes)
    found = reasons(tmp_path, POOL[: POOL.index("nodes:")] + "nodes:\n" + listed)
    assert expected in found if expected else found == ""


ELSEWHERE = POOL + "  - {name: node-3, host: 10.0.0.3}\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (POOL + "bus: {server: node-9}", "bus.server: node-9 is none of nodes: node-1, node-2"),
        (POOL + "bus: {server: node-2}", ""),
        (POOL + "bus: {server: node-2, url: 'nats://a:1'}", "contradicts bus.server"),
        (POOL + "bus: {listen: '127.0.0.1:10361'}", "nodes[1].listen: 127.0.0.1:10361 is already"),
        (ELSEWHERE, "node-3 on another host cannot reach it: 127.0.0.1:0 is loopback"),
        (ELSEWHERE + f"bus: {{listen: '10.0.0.1:4223', {TLS}}}", ""),
        (ELSEWHERE + "bus: {url: 'nats://a:1'}", ""),
    ],
)
def test_the_pools_bus_fits_its_nodes(tmp_path: Path, text: str, expected: str) -> None:
    found = reasons(tmp_path, text)
    assert expected in found if expected else found == ""


def test_a_ca_needs_tls(tmp_path: Path) -> None:
    text = POOL.replace("14222\n", "14222\n  ca: ca.pem\n")
    assert 'cloud.ca: is of use only with a "tls://" cloud.url' in reasons(tmp_path, text)
    assert reasons(tmp_path, text.replace("nats://", "tls://")) == ""


def test_rules_see_past_unknown_keys_but_not_into_invalid_sections(tmp_path: Path) -> None:
    text = POOL + "leases: {ttl: 2s, renew: 2s, extra: 1}\nbus: {server: node-9, storage: 5}\n"
    found = reasons(tmp_path, text)
    assert "leases.extra: unknown key" in found
    assert "leases.renew: must be at most" in found
    assert "bus.storage: 5 lacks a unit" in found
    assert "node-9" not in found
