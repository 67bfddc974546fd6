"""Durations, sizes, addresses, URLs and paths of a site file: text there, plain values in code.

In files a quantity has its unit ("2s", "8MiB"): a bare `ttl: 2` could be seconds or milliseconds.
In code (settings made by hand, tests) plain numbers are taken as seconds and bytes.
"""

from __future__ import annotations

import ipaddress
import os
import re
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, WithJsonSchema
from pydantic_core.core_schema import ValidationInfo

FROM_FILE = "from_file"
"""Key of the validation context that says a value was written by a person."""
DIRECTORY = "directory"
"""Key of the validation context: the directory that relative paths start from."""

_DURATIONS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_QUANTITY = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-zµ]*)\s*")
_LOOPBACK_NAMES = {"localhost", "localhost.localdomain"}


def parse_duration(value: str) -> float:
    """Seconds of "500ms", "1.5s", "5m", "1h" or "1d"; ValueError says what is wrong."""
    return _positive(_quantity(value, _DURATIONS, 'a duration with its unit, as "500ms" or "2s"'))


def parse_size(value: str) -> int:
    """Bytes of "512B", "64KiB", "8MiB", "1.5GiB" or "1TiB"; ValueError says what is wrong."""
    size = _positive(_quantity(value, _SIZES, 'a size with its unit, as "64KiB" or "8MiB"'))
    if size != int(size):
        raise ValueError(f"{value} is not a whole number of bytes")
    return int(size)


def format_duration(seconds: float) -> str:
    """The shortest exact text that `parse_duration` reads back: 90.0 -> "90s", 0.5 -> "500ms"."""
    if seconds < 1:
        return f"{seconds * 1000:.6g}ms"
    unit = next(
        unit for unit in ("d", "h", "m", "s") if seconds % _DURATIONS[unit] == 0 or unit == "s"
    )
    return f"{seconds / _DURATIONS[unit]:.12g}{unit}"


def format_size(size: int) -> str:
    """The shortest exact text that `parse_size` reads back: 8388608 -> "8MiB"."""
    unit = next(unit for unit in ("TiB", "GiB", "MiB", "KiB", "B") if size % _SIZES[unit] == 0)
    return f"{size // _SIZES[unit]}{unit}"


def _quantity(value: str, units: dict[str, Any], expected: str) -> float:
    match = _QUANTITY.fullmatch(value)
    if not match:
        raise ValueError(f"must be {expected}; not {value!r}")
    number, unit = match.groups()
    if not unit:
        raise ValueError(f"{value} lacks a unit: one of {', '.join(units)}")
    if unit not in units:
        raise ValueError(f"{value} has an unknown unit; use one of {', '.join(units)}")
    return float(number) * float(units[unit])


def _positive(value: float) -> float:
    if value <= 0:
        raise ValueError("must be more than 0")
    return value


def _duration(value: Any, info: ValidationInfo) -> Any:
    return parse_duration(_text(value, info)) if _is_written(value, info) else value


def _size(value: Any, info: ValidationInfo) -> Any:
    return parse_size(_text(value, info)) if _is_written(value, info) else value


def _is_written(value: Any, info: ValidationInfo) -> bool:
    from_file = bool(info.context and info.context.get(FROM_FILE))
    return isinstance(value, str) or (from_file and isinstance(value, int | float))


def _text(value: Any, info: ValidationInfo) -> str:
    return value if isinstance(value, str) else str(value)


def split_address(address: str) -> tuple[str, int]:
    """Host and port of "host:port" ("[::1]:80" for IPv6); ValueError says what is wrong."""
    host, _, port = address.rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(f'must be "host:port" with a port up to 65535; not "{address}"')
    if ":" in host and not address.startswith("["):
        raise ValueError(f'needs brackets around an IPv6 address, as "[::1]:80"; not "{address}"')
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches `host`; a name other than localhost counts as reachable."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in _LOOPBACK_NAMES


def _address(value: str) -> str:
    split_address(value)
    return value


def _bus_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("nats", "tls") or not parts.hostname:
        raise ValueError(f'must be "nats://host:port" or "tls://host:port"; not "{value}"')
    if parts.username or parts.password:
        raise ValueError("must not hold credentials: nodes use their own keys")
    if parts.port is None:
        raise ValueError(f'lacks a port, as "{value}:4222"')
    return value


def _path(value: Path, info: ValidationInfo) -> Path:
    directory = info.context.get(DIRECTORY) if info.context else None
    if not directory:
        return value
    return Path(os.path.normpath(directory / value.expanduser()))


def _dns_label(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", value):
        raise ValueError("must be a DNS label: lower-case letters, digits and '-', 63 at most")
    return value


def _pointer(value: str) -> str:
    if not re.fullmatch(r"(/([^~/]|~[01])*)+", value):
        raise ValueError(f'must be a JSON pointer, as "/metadata/labels/a~1b"; not "{value}"')
    return value


def _schema(pattern: str, example: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern, "examples": [example]})


Seconds = Annotated[
    float,
    BeforeValidator(_duration),
    PlainSerializer(format_duration, when_used="json"),
    _schema(r"^\d+(\.\d+)?\s*(ms|s|m|h|d)$", "2s"),
]
"""A duration: seconds in code, "500ms", "2s", "5m", "1h", "1d" in files."""

Bytes = Annotated[
    int,
    BeforeValidator(_size),
    PlainSerializer(format_size, when_used="json"),
    _schema(r"^\d+(\.\d+)?\s*([KMGT]i)?B$", "8MiB"),
]
"""A size: bytes in code, "64KiB", "8MiB", "1GiB" in files."""

Address = Annotated[str, AfterValidator(_address), _schema(r"^.+:\d{1,5}$", "127.0.0.1:0")]
"""host:port to listen on; port 0 lets the system choose."""

BusUrl = Annotated[
    str, AfterValidator(_bus_url), _schema(r"^(nats|tls)://[^/@]+:\d+/?$", "nats://127.0.0.1:4222")
]
"""nats://host:port, or tls://host:port."""

FilePath = Annotated[Path, AfterValidator(_path)]
"""A path; a relative one starts at the site file's directory."""

Name = Annotated[
    str,
    AfterValidator(_dns_label),
    _schema(r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", "pool-a"),
]
"""A site's or node's name: it becomes a NATS subject token and a Kubernetes name."""

JsonPointer = Annotated[
    str, AfterValidator(_pointer), _schema(r"^(/([^~/]|~[01])*)+$", "/metadata/labels/app")
]
"""A place within an object (RFC 6901), not the whole of it."""
