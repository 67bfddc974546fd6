"""The real connection: nats-py, kept up through restarts and black holes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class BusSettings:
    """How to reach one bus. Pickles; the seed is read from its file where it is used."""

    name: str  # "cloud" or "pool"
    urls: tuple[str, ...]
    seed_file: Path  # the node's nkeys seed (mode 0600)
    client: str  # shown in the server's connection list: "pool-a/node-1"
    inbox_prefix: str  # from bus.permissions; nobody else may listen there
    ca: Path | None = None  # for tls://
    ping_seconds: float = 1.0  # link check; a black hole is noticed within two periods
    reconnect_seconds: float = 0.25
    max_payload: int = 8 << 20  # bytes; larger publishes are refused here
    pending_bytes: int = 64 << 20  # a slow handler's backlog; beyond it messages drop, counted
