"""What an embedded nats-server is started with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ServerUser:
    """One nkeys user: what it may publish and subscribe to (see bus.permissions)."""

    public_key: str  # "U..."
    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


@dataclass(frozen=True)
class ServerSettings:
    """Promises of the server: loopback by default, JetStream in the site's own domain."""

    name: str  # unique in the site; also the key under which its URL is handed to the hosts
    domain: str  # JetStream domain: the site's name
    store: Path  # JetStream files, config, users include, logs and pid file live below it
    users: tuple[ServerUser, ...]
    host: str = "127.0.0.1"
    port: int = 0  # 0: chosen by the system at the first start, kept from then on if it is free
    certificate: Path | None = None
    key: Path | None = None
    storage_bytes: int = 1 << 30
    sync_always: bool = False
    max_payload: int = 8 << 20
    silence_seconds: float = 3.0
    """A client is dropped after this long (at most) without a whole message or an answer to a ping.
    On thin lines a large message takes its time: longer there, see `THIN_SILENCE`."""


THIN_SILENCE = 15.0
"""For clients behind thin lines: 1.5 MB (the largest Kubernetes object) at 1.2 Mbit/s."""
