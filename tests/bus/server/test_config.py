"""The server's configuration, as text; that the server takes it, every other test shows."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bus.server import THIN_SILENCE, ServerSettings, ServerUser
from bus.server.config import config_text, users_text

SETTINGS = ServerSettings("bus", "pool-a", Path("/state/bus"), ())


def values(settings: ServerSettings, port: int = 4222) -> dict[str, Any]:
    *lines, include = config_text(settings, port).strip().splitlines()
    assert include == 'include "./users.conf"'
    return {name: json.loads(value) for name, _, value in (line.partition(": ") for line in lines)}


def test_what_is_promised() -> None:
    found = values(replace(SETTINGS, storage_bytes=123, max_payload=1 << 20), port=-1)
    assert found["host"] == "127.0.0.1"
    assert found["port"] == -1
    assert found["max_payload"] == 1 << 20
    assert found["jetstream"]["domain"] == "pool-a"
    assert found["jetstream"]["max_file_store"] == 123
    assert found["log_size_limit"] * found["log_max_num"] <= 16 << 20
    assert "tls" not in found


def test_paths_need_no_quoting_of_ours() -> None:
    found = values(replace(SETTINGS, store=Path('/odd "name" here')))
    assert found["pid_file"] == '/odd "name" here/nats.pid'


@pytest.mark.parametrize("silence", [0.6, 3.0, THIN_SILENCE])
def test_silence_is_three_ping_intervals(silence: float) -> None:
    found = values(replace(SETTINGS, silence_seconds=silence))
    assert found["ping_max"] == 1
    assert int(found["ping_interval"].removesuffix("ms")) == round(silence * 1000 / 3)
    # "close", NATS's way with clients, hangs up on thin lines in the midst of a backlog.
    assert found["write_timeout"] == "retry"


def test_the_largest_message_fits_behind_others() -> None:
    large = 64 << 20
    assert values(replace(SETTINGS, max_payload=large))["max_pending"] >= 2 * large


def test_tls() -> None:
    found = values(replace(SETTINGS, certificate=Path("/c.pem"), key=Path("/k.pem")))
    assert found["tls"] == {"cert_file": "/c.pem", "key_file": "/k.pem"}


def test_users_may_answer_once_and_share_an_account() -> None:
    text = users_text([ServerUser("UA", ("a.>",), ("b.>",))])
    accounts, system = text.rsplit("\n", 2)[:2]
    assert system == "system_account: SYS"
    found = json.loads(accounts.removeprefix("accounts: "))
    (user,) = found["ATOLL"]["users"]
    assert user["nkey"] == "UA"
    assert user["permissions"]["publish"] == {"allow": ["a.>"]}
    assert user["permissions"]["subscribe"] == {"allow": ["b.>"]}
    assert user["permissions"]["allow_responses"]["max"] == 1
    assert found["SYS"] == {"users": []}
