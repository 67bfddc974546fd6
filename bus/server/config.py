"""The configuration file of an embedded nats-server. Pure: settings in, text out.

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
_PING = "2s"  # with ping_max 1 the server notices a dead client within 4 s


def config_text(settings: ServerSettings, port: int) -> str:
    """`port` is settled by now; -1 lets the server choose."""
    values: dict[str, Any] = {
        "server_name": settings.name + "-" + settings.domain,
        "host": settings.host,
        "port": port,
        "pid_file": str(settings.store / PID),
        "log_file": str(settings.store / LOG),
        "log_size_limit": _LOG_BYTES,
        "log_max_num": 2,
        "max_payload": settings.max_payload,
        # A message may be as large as the payload bound, and some must fit behind it.
        "max_pending": max(64 << 20, 4 * settings.max_payload),
        "ping_interval": _PING,
        "ping_max": 1,
        "write_deadline": "5s",
        "jetstream": {
            "store_dir": str(settings.store / "jetstream"),
            "domain": settings.domain,
            "max_file_store": settings.storage_bytes,
            "max_memory_store": 64 << 20,
            # NATS acknowledges before fsync; "always" where a stream is the only copy.
            "sync_interval": "always" if settings.sync_always else "2m",
        },
        "no_auth_user": None,
    }
    if settings.certificate is not None and settings.key is not None:
        values["tls"] = {"cert_file": str(settings.certificate), "key_file": str(settings.key)}
    lines = [f"{name}: {json.dumps(value)}" for name, value in values.items() if value is not None]
    return "\n".join([*lines, f'include "./{USERS}"', ""])


def users_text(users: Iterable[ServerUser]) -> str:
    """One account for all: permissions, not accounts, tell users apart (see bus.permissions)."""
    entries = [
        {
            "nkey": user.public_key,
            "permissions": {
                "publish": {"allow": list(user.publish)},
                "subscribe": {"allow": list(user.subscribe)},
                "allow_responses": {"max": 1, "expires": f"{ANSWER_SECONDS}s"},
            },
        }
        for user in users
    ]
    accounts = {"ATOLL": {"jetstream": "enabled", "users": entries}, "SYS": {"users": []}}
    return f"accounts: {json.dumps(accounts, indent=1)}\nsystem_account: SYS\n"
