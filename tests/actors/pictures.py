"""Made-up /status answers, as a cloud site and a pool of three nodes give them."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from typing import Any

SERVICES, SLICES = "services_v1", "endpointslices_v1_discovery_k8s_io"


def ago(seconds: float) -> str:
    return datetime.fromtimestamp(time.time() - seconds, UTC).isoformat(timespec="seconds")


def actor(
    state: str = "running", restarts: int = 0, error: str = "", **status: Any
) -> dict[str, Any]:
    return {"state": state, "restarts": restarts, "error": error, "status": status}


def bus(up: bool = True, received: int = 0, sent: int = 0) -> dict[str, Any]:
    return {"up": up, "in_bytes": received, "out_bytes": sent, "reconnects": 0}


def node(
    name: str,
    port: int,
    leads: bool = False,
    keeps: bool = False,
    cloud_up: bool = True,
    source: str = "pool",
    age: float | None = 0.42,
) -> dict[str, Any]:
    lease: dict[str, Any] = {"holder": "node-2", "token": 41}
    feeds = {
        SERVICES: {"source": source, "age": age, "objects": 1000, "version": 81234, "watchers": 3},
        SLICES: {"source": source, "age": age, "objects": 50000, "version": 81240, "watchers": 2},
    }
    return {
        "node": name,
        "state": "running",
        "pid": 4712,
        "restarts": 0,
        "actors": {
            "coordinator": actor(
                active=keeps, holder="node-1", feeds={SERVICES: {"objects": 1000}}
            ),
            "leader": actor(**lease, is_leader=leads, link=cloud_up),
            "hub": actor(listen=f"http://127.0.0.1:{port}", source=source, feeds=feeds),
        },
        "buses": {
            "pool": bus(received=123456, sent=654321),
            "cloud": bus(cloud_up, *((1234567, 30123) if leads else (2048, 999))),
        },
    }


def pool() -> dict[str, Any]:
    return {
        "site": "pool-a",
        "kind": "pool",
        "pid": os.getpid(),
        "started": ago(200),
        "config": {"path": "/etc/atoll/pool.yaml", "loaded": ago(75), "error": ""},
        "servers": {"pool": {"url": "nats://127.0.0.1:40123", "pid": 4713, "up": True}},
        "hosts": {
            "node-1": node("node-1", 10261, keeps=True),
            "node-2": node("node-2", 10361, leads=True),
            "node-3": node("node-3", 10461),
        },
    }


def troubled_pool() -> dict[str, Any]:
    """A node cut off, a hub that crashes, an edit refused, the bus just down."""
    status = pool()
    status["config"]["error"] = (
        '/etc/atoll/pool.yaml:12: leases.rnew: unknown key; did you mean "renew"?\n'
        "/etc/atoll/pool.yaml:20: hub.window: 5 lacks a unit: one of B, KiB, MiB, GiB, TiB"
    )
    status["hosts"]["node-1"] = node(
        "node-1", 10261, keeps=True, cloud_up=False, source="none", age=93.0
    )
    crashed = status["hosts"]["node-3"]
    crashed["restarts"] = 2
    crashed["actors"]["hub"] = actor("crash-looping", 7, "OSError(98, '[address] in use')")
    status["servers"]["pool"]["up"] = False
    return status


def sent(objects: int, version: int, age: float, frames: int, size: int) -> dict[str, Any]:
    feed = {"objects": objects, "version": version, "age": age}
    return {**feed, "frames": frames, "bytes": size}


def cloud() -> dict[str, Any]:
    return {
        "site": "cloud",
        "kind": "cloud",
        "pid": os.getpid(),
        "started": ago(2 * 86400 + 3700),
        "config": {"path": "/etc/atoll/cloud.yaml", "loaded": ago(2 * 86400), "error": ""},
        "servers": {"cloud": {"url": "nats://127.0.0.1:14222", "pid": 9, "up": True}},
        "hosts": {
            "cloud": {
                "node": "",
                "state": "running",
                "pid": 10,
                "restarts": 0,
                "actors": {
                    "apiserver": actor(url="http://127.0.0.1:16443"),
                    "feeds": actor(
                        feeds={
                            SERVICES: sent(1000, 81234, 0.1, 12, 5120),
                            SLICES: sent(50000, 81240, 0.2, 70123, 5712345),
                        }
                    ),
                },
                "buses": {"cloud": bus(received=1, sent=2)},
            }
        },
    }
