"""The configuration of an embedded nats-server. Pure: settings in, text out.

JSON is valid nats-server configuration, but for the include, which must be a bare statement.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from bus.permissions import ANSWER_SECONDS
from bus.server.settings import ServerSettings, ServerUser

USERS = "users.conf"  # included, so that it can be replaced while the server runs
CONFIG = "nats.conf"
PID = "nats.pid"
LOG = "nats.log"
_LOG_BYTES = 4 << 20  # then the log file is rotated; two are kept
_MEMORY_STORE = 64 << 20  # bytes; for short-lived consumers
_LEAST_PENDING = 64 << 20  # bytes that may wait for one client; beyond it he is hung up on


def config_text(settings: ServerSettings, port: int) -> str:
    """`port` -1: the server chooses, and says which in its ports file (in the store)."""
    store = settings.store
    values: dict[str, Any] = {
        "server_name": f"{settings.domain}-{settings.name}",
        "host": settings.host,
        "port": port,
        "ports_file_dir": str(store),
        "pid_file": str(store / PID),
        "log_file": str(store / LOG),
        "log_size_limit": _LOG_BYTES,
        "log_max_num": 2,
        "max_payload": settings.max_payload,
        # Some messages of the largest size must fit, or nobody could be sent two in a row.
        "max_pending": max(_LEAST_PENDING, 4 * settings.max_payload),
        **_liveness(settings.silence_seconds),
        "jetstream": _jetstream(settings),
    }
    if settings.certificate is not None and settings.key is not None:
        values["tls"] = {"cert_file": str(settings.certificate), "key_file": str(settings.key)}
    lines = [f"{name}: {json.dumps(value)}" for name, value in values.items()]
    return "\n".join([*lines, f'include "./{USERS}"', ""])


def _liveness(silence: float) -> dict[str, Any]:
    """Pings decide who is dead, not slow writes.

    Silence is seen at one tick of `ping_interval`, asked about at the next, and judged at a third.
    A write that got some bytes out is tried again: a thin line is not a dead one.
    """
    interval = f"{round(silence * 1000 / 3)}ms"
    return {
        "ping_interval": interval,
        "ping_max": 1,
        "write_deadline": "5s",
        "write_timeout": "retry",
    }


def _jetstream(settings: ServerSettings) -> dict[str, Any]:
    return {
        "store_dir": str(settings.store / "jetstream"),
        "domain": settings.domain,
        "max_file_store": settings.storage_bytes,
        "max_memory_store": _MEMORY_STORE,
        # NATS acknowledges before fsync; "always" where a stream is the only copy.
        "sync_interval": "always" if settings.sync_always else "2m",
    }


def users_text(users: Iterable[ServerUser]) -> str:
    """One account for all: permissions, not accounts, tell users apart (see bus.permissions)."""
    accounts = {
        "ATOLL": {"jetstream": "enabled", "users": [_user(user) for user in users]},
        "SYS": {"users": []},  # nobody: what the server tells of itself is in its log
    }
    return f"accounts: {json.dumps(accounts, indent=1)}\nsystem_account: SYS\n"


def _user(user: ServerUser) -> dict[str, Any]:
    return {
        "nkey": user.public_key,
        "permissions": {
            "publish": {"allow": list(user.publish)},
            "subscribe": {"allow": list(user.subscribe)},
            "allow_responses": {"max": 1, "expires": f"{ANSWER_SECONDS}s"},
        },
    }
