"""Finds running sites and asks them how they are.

Each `atoll up` process leaves a small file below `<state>/run` and serves
/status (`actors.health`). The shape of /status:

    {"site", "kind", "pid", "started", "config": {"path", "loaded", "error"},
     "hosts": {<host>: {"node", "state", "pid", "restarts",
               "actors": {<actor>: {"state", "restarts", "error", "status": {...}}},
               "buses": {<bus>: {"up", "in_bytes", "out_bytes", "reconnects"}}}},
     "servers": {<name>: {"url", "pid", "up", "restarts"}}}

Readers take any part as possibly missing: they may be newer or older than the site.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from actors.runfile import run_directory

FETCH_SECONDS = 6.0  # a little more than a site takes to give up on a hanging host
_MAX_STATUS = 64 << 20  # bytes


@dataclass(frozen=True)
class RunFile:
    """One running process of a site. A reader takes what is missing as empty."""

    site: str
    kind: str = ""
    pid: int = 0
    health: str = ""  # base URL of /healthz, /readyz, /metrics, /status
    node: str = ""  # with `atoll up --node`: that node alone
    config: str = ""  # path of the site file
    started: str = ""  # ISO 8601
    servers: Mapping[str, str] = field(default_factory=dict)  # name -> URL of our own servers
    hubs: Mapping[str, str] = field(default_factory=dict)  # node -> URL of its Kubernetes API

    @property
    def name(self) -> str:
        return f"{self.site}.{self.node}" if self.node else self.site


@dataclass(frozen=True)
class Report:
    """What was learnt of one process: its status, or why there is none."""

    name: str
    run: RunFile | None = None
    status: Mapping[str, Any] | None = None
    error: str = ""

    @property
    def is_up(self) -> bool:
        return self.status is not None


def run_files(state: Path) -> Iterator[RunFile | Report]:
    """The processes that a state directory tells of; a Report for a file that cannot be read."""
    for path in sorted(run_directory(state).glob("*.json")):
        try:
            yield _parse(path.stem, json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            continue  # stopped just now
        except (OSError, ValueError) as error:
            yield Report(path.stem, error=f"{path} cannot be read: {error}")


def _parse(name: str, data: Any) -> RunFile:
    if not isinstance(data, dict):
        raise ValueError("it holds no object")
    return RunFile(
        site=_text(data, "site") or name,
        kind=_text(data, "kind"),
        pid=int(data.get("pid") or 0),
        health=_text(data, "health"),
        node=_text(data, "node"),
        config=_text(data, "config"),
        started=_text(data, "started"),
        servers=data.get("servers") or {},
        hubs=data.get("hubs") or {},
    )


def _text(data: Mapping[str, Any], key: str) -> str:
    return str(data.get(key) or "")


def state_directories(places: Iterable[Path]) -> list[Path]:
    """State directories among `places` and right below them."""
    found: dict[Path, None] = {}
    for place in places:
        for candidate in (place, *sorted(place.glob("*"))):
            if run_directory(candidate).is_dir():
                found[candidate] = None
    return list(found)


def ask_all(states: Iterable[Path]) -> list[Report]:
    """Asks every process that these state directories tell of, all at once."""
    runs = [run for state in states for run in run_files(state)]
    if not runs:
        return []
    with ThreadPoolExecutor(min(len(runs), 16)) as pool:
        return list(pool.map(lambda run: run if isinstance(run, Report) else ask(run), runs))


def ask(run: RunFile, timeout: float = FETCH_SECONDS) -> Report:
    """The status of one process; never raises."""
    try:
        return Report(run.name, run, _fetch(f"{run.health}/status", timeout))
    except (OSError, ValueError, http.client.HTTPException) as error:
        return Report(run.name, run, error=_why_silent(run, error))


def _fetch(url: str, timeout: float) -> Mapping[str, Any]:
    # Not urllib: it would ask a proxy, and not aiohttp: importing it takes as long as the rest.
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)
    with contextlib.closing(connection):
        connection.request("GET", parts.path)
        response = connection.getresponse()
        body = response.read(_MAX_STATUS)
    if response.status != 200:
        raise ValueError(f"HTTP {response.status}: {body.decode(errors='replace').strip()}")
    status = json.loads(body)
    if not isinstance(status, dict):
        raise ValueError("the answer is no status")
    return status


def finite(value: Any) -> Any:
    """The same without infinities (an age that is "never"), which JSON does not have: null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    return value


def _why_silent(run: RunFile, error: Exception) -> str:
    if not _is_alive(run.pid):
        return f"process {run.pid} is gone; it was not stopped in order"
    if isinstance(error, ConnectionRefusedError):
        return f"process {run.pid} is there, but nothing answers at {run.health}"
    return f"process {run.pid} does not answer: {error}"


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True  # somebody else's
    return True
