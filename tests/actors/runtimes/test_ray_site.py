"""A site on Ray in a process of its own: what dies comes back, and nothing stays behind.

Few starts (seconds each), so each test tells a whole story.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from tests.actors.processes import SiteProcess, is_running, site_process
from tests.actors.toysite import journal, write
from tests.actors.until import until


def fetch(health: str, page: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(urlsplit(health).netloc, timeout=10)
    try:
        connection.request("GET", page)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def host_status(health: str, host: str) -> dict[str, Any]:
    status: dict[str, Any] = json.loads(fetch(health, "/status")[1])["hosts"][host]
    return status


def ready(health: str) -> bool:
    return fetch(health, "/readyz")[0] == 200


def names(site: SiteProcess) -> list[str]:
    return [process.name() for process in site.below]


def ray_directory(site: SiteProcess) -> Path:
    """The one that Ray's processes name in their arguments."""
    raylet = next(process for process in site.below if process.name() == "raylet")
    arguments = " ".join(raylet.cmdline())
    return Path("/".join(arguments[arguments.index("/tmp/atoll-") :].split("/")[:3]))


async def test_what_dies_comes_back_and_an_orderly_stop_leaves_nothing(tmp_path: Path) -> None:
    with site_process(write(tmp_path, "node-1", "node-2", runtime="ray")) as site:
        health = (await site.up())["health"]
        assert ready(health)
        assert {"gcs_server", "raylet"} <= set(names(site))
        assert not any("dashboard/dashboard.py" in " ".join(p.cmdline()) for p in site.below)
        directory = ray_directory(site)
        assert directory.is_dir()

        # A host's process is killed: a new one is ready soon, the other host goes on.
        before, other = (host_status(health, node)["pid"] for node in ("node-1", "node-2"))
        os.kill(before, signal.SIGKILL)
        await until(lambda: not ready(health), "the death noticed", 2.0)
        assert await until(lambda: ready(health), "a new host ready", 5.0) < 2.0
        status = host_status(health, "node-1")
        assert status["pid"] != before
        assert status["restarts"] == 1
        assert host_status(health, "node-2")["pid"] == other

        # Ray's own heart stops: a new Ray carries both hosts.
        raylet = next(process for process in site.below if process.name() == "raylet")
        raylet.kill()
        await until(lambda: not ready(health), "the death noticed", 5.0)
        await until(lambda: ready(health), "a new Ray ready", 30.0)
        assert host_status(health, "node-2")["pid"] != other
        assert site.left() == []  # of the old Ray
        assert not directory.exists()

        site.below = psutil.Process(site.process.pid).children(recursive=True)
        site.send(signal.SIGINT)
        assert await site.ended() == 0, site.log
        assert site.left() == []
        assert journal(tmp_path, "node-1").lines()[-1] == "a stopped"
        assert "INFO    pool-a/node-1 a: started in" in site.log  # a worker's line came home
        assert not any(line.startswith("Traceback") for line in site.log.splitlines()), site.log
        assert site.process.stdout is not None
        assert site.process.stdout.read() == b""  # stdout is for programs


async def test_nothing_survives_a_killed_site(tmp_path: Path) -> None:
    with site_process(write(tmp_path, "node-1", runtime="ray")) as site:
        await site.up()
        directory = ray_directory(site)
        assert len(site.left()) >= 6  # guard, GCS, raylet, two agents, a worker
        site.send(signal.SIGKILL)
        await site.ended()
        assert await until(lambda: site.left() == [], "Ray's end", 10.0) < 5.0
        await until(lambda: not directory.exists(), "the directory's end", 1.0)


async def test_a_second_ctrl_c_kills_all_at_once(tmp_path: Path) -> None:
    with site_process(write(tmp_path, "stuck", runtime="ray")) as site:
        await site.up()
        directory = ray_directory(site)
        site.send(signal.SIGINT)
        await until(lambda: "stopping host stuck" in site.log, "the orderly stop begun")
        began = time.monotonic()
        site.send(signal.SIGINT)
        assert await site.ended() == 130
        assert site.left() == []
        assert time.monotonic() - began < 2.0
        assert not directory.exists()


async def test_a_signal_during_the_start_leaves_nothing(tmp_path: Path) -> None:
    with site_process(write(tmp_path, "node-1", runtime="ray")) as site:
        process = psutil.Process(site.process.pid)

        def gcs() -> bool:
            site.below = process.children(recursive=True)
            return any(each.name() == "gcs_server" and is_running(each) for each in site.below)

        await until(gcs, "Ray half-started", 20.0)
        site.send(signal.SIGTERM)
        assert await site.ended() == 0, site.log
        assert site.left() == []
