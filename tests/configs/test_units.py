"""Quantities, addresses, URLs: what is read, what is refused and in which words."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from configs import units
from configs.schema import BusServer, Leases, Node


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("2s", 2.0), ("1.5s", 1.5), ("5m", 300.0), ("1h", 3600.0), ("1 d", 86400.0)],
)
def test_durations_are_read_with_their_unit(text: str, seconds: float) -> None:
    assert units.parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("2", "lacks a unit: one of ms, s, m, h, d"),
        ("2 min", "unknown unit"),
        ("2S", "unknown unit"),
        ("0s", "more than 0"),
        ("-2s", "must be a duration"),
        ("", "must be a duration"),
        ("1e3s", "must be a duration"),
    ],
)
def test_other_durations_are_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        units.parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [("512B", 512), ("64KiB", 65536), ("8MiB", 8 << 20), ("1.5GiB", 3 << 29), ("1TiB", 1 << 40)],
)
def test_sizes_are_read_with_their_unit(text: str, size: int) -> None:
    assert units.parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "reason"),
    [("8", "lacks a unit"), ("8MB", "use one of B, KiB"), ("0.3B", "whole number of bytes")],
)
def test_other_sizes_are_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        units.parse_size(text)


@given(st.integers(1, 10_000_000))
def test_milliseconds_survive_writing_and_reading(milliseconds: int) -> None:
    seconds = milliseconds / 1000
    assert units.parse_duration(units.format_duration(seconds)) == pytest.approx(seconds, rel=1e-9)


@given(st.integers(1, 1 << 45))
def test_sizes_survive_writing_and_reading(size: int) -> None:
    assert units.parse_size(units.format_size(size)) == size


def test_formats_are_the_shortest() -> None:
    assert [units.format_duration(s) for s in (0.5, 2, 90, 300, 86400)] == [
        "500ms",
        "2s",
        "90s",
        "5m",
        "1d",
    ]
    assert [units.format_size(s) for s in (1, 1000, 1 << 10, 8 << 20)] == [
        "1B",
        "1000B",
        "1KiB",
        "8MiB",
    ]


def test_code_gives_plain_numbers_or_text() -> None:
    assert Leases(ttl=3, renew=0.5).ttl == 3.0
    assert BusServer(storage=1 << 20).storage == 1 << 20
    assert Leases.model_validate({"ttl": "3s"}).ttl == 3.0


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.1:", ":80", "a:70000", "::1:80", "a:b"])
def test_addresses_need_host_and_port(address: str) -> None:
    with pytest.raises(ValidationError):
        Node(name="n", listen=address)


def test_addresses_split() -> None:
    assert units.split_address("[::1]:80") == ("::1", 80)
    assert units.split_address("localhost:0") == ("localhost", 0)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("edge.example", False),
    ],
)
def test_loopback_is_what_only_this_machine_reaches(host: str, loopback: bool) -> None:
    assert units.is_loopback(host) is loopback


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("127.0.0.1:4222", "must be"),
        ("http://a:1", "must be"),
        ("nats://a", 'lacks a port, as "nats://a:4222"'),
        ("nats://user:secret@a:1", "must not hold credentials"),
    ],
)
def test_bus_urls_name_scheme_host_and_port(url: str, reason: str) -> None:
    with pytest.raises(ValidationError, match=reason) as caught:
        BusServer(url=url)
    if "secret" in url:
        assert "secret" not in str(caught.value.errors()[0]["msg"])


def test_names_are_dns_labels() -> None:
    assert Node(name="node-1").name == "node-1"
    for bad in ("Node", "a.b", "-a", "a-", "", "a" * 64, "a b"):
        with pytest.raises(ValidationError, match="DNS label"):
            Node(name=bad)


def test_paths_made_in_code_stay_as_they_are() -> None:
    from configs.schema import Tls

    assert Tls(certificate=Path("a"), key=Path("b")).certificate == Path("a")
