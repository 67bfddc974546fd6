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
    store: Path  # JetStream files, config, users include and pid file live below it
    users: tuple[ServerUser, ...]
    host: str = "127.0.0.1"
    port: int = 0  # 0: chosen by the system at first start, kept at restarts of this process
    certificate: Path | None = None
    key: Path | None = None
    storage_bytes: int = 1 << 30
    sync_always: bool = False
    max_payload: int = 8 << 20
