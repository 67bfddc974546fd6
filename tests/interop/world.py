"""A cloud site and a pool, each an `atoll up` of its own, as a user would start them."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

PR_SET_PDEATHSIG = 1
POOL = "pool-a"
NODES = ("node-1", "node-2")
FIRST_FEEDS = ("services", "endpointslices.discovery.k8s.io")
HISTORY = 200  # changes that the API server remembers per resource; few, so that 410 is near
STALE_AFTER = 3  # seconds; hubs tell the age of older data
UP_SECONDS = 30.0
_LOOK = 0.02
_ATOLL = Path(sys.executable).with_name("atoll")
_LIBC = ctypes.CDLL(None, use_errno=True)

Json = dict[str, Any]


class World:
    """Started once for all tests; each site can be killed and started again."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._sites: dict[str, subprocess.Popen[bytes]] = {}
        self._bus = free_port()
        self._hubs = {node: free_port() for node in NODES}
        self.write_cloud(FIRST_FEEDS)
        self._write("pool", self._pool_file())

    # -- files ------------------------------------------------------------------------------------

    def write_cloud(self, feeds: tuple[str, ...]) -> None:
        """The cloud's site file; an edit takes effect while it runs."""
        content = {
            "version": 1,
            "kind": "cloud",
            "name": "cloud",
            "state": "cloud",
            "runtime": "local",
            "api": {"embedded": {"history": HISTORY}},
            "enrolment": "enrolment",
            "bus": {"listen": f"127.0.0.1:{self._bus}"},
            "feeds": {"resources": list(feeds)},
        }
        self._write("cloud", content)

    def _pool_file(self) -> Json:
        nodes = [{"name": n, "listen": f"127.0.0.1:{port}"} for n, port in self._hubs.items()]
        return {
            "version": 1,
            "kind": "pool",
            "name": POOL,
            "state": POOL,
            "runtime": "local",
            "cloud": {"url": f"nats://127.0.0.1:{self._bus}", "enrolment": "enrolment"},
            "nodes": nodes,
            "hub": {"window": "1MiB", "stale_after": f"{STALE_AFTER}s"},
        }

    def _write(self, site: str, content: Json) -> None:
        draft = self._file(site).with_suffix(".tmp")
        draft.write_text(yaml.safe_dump(content, sort_keys=False))
        draft.replace(self._file(site))

    def _file(self, site: str) -> Path:
        return self.directory / f"{site}.yaml"

    # -- processes --------------------------------------------------------------------------------

    def start(self, site: str) -> None:
        """Starts "cloud" or "pool" and waits until it serves."""
        self.launch(site)
        self.until_serving(site)

    def launch(self, site: str) -> None:
        """From the main thread only: the process ends with the thread that started it."""
        assert threading.current_thread() is threading.main_thread()
        with (self.directory / f"{site}.log").open("ab") as log:
            self._sites[site] = subprocess.Popen(
                [_ATOLL, "up", self._file(site)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=_die_with_us,
            )

    def until_serving(self, site: str) -> None:
        serves = self._cloud_serves if site == "cloud" else self._pool_serves
        self.until(serves, f"{site} serves")

    def kill(self, site: str) -> None:
        """-9, and the proof that it is gone."""
        process = self._sites.pop(site)
        process.kill()
        assert process.wait(10) == -signal.SIGKILL

    def end(self, site: str) -> None:
        """In order, as Ctrl-C does. Fails if it does not stop as it should."""
        process = self._sites.pop(site)
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        assert code == 0, f"{site}: exit code {code}\n{self.tails()}"

    def stop(self) -> None:
        """All of it."""
        try:
            if "pool" in self._sites:
                self.end("pool")
        finally:
            if "cloud" in self._sites:
                self.end("cloud")

    def _cloud_serves(self) -> bool:
        return self.kubeconfig.exists() and _is_ok(f"{self.api_url}/readyz")

    def _pool_serves(self) -> bool:
        return all(_is_ok(f"{self.hub_url(node)}/readyz") for node in NODES)

    def churn(self) -> None:
        """More changes of a configmap than the API server remembers: its early history is gone."""
        path = f"{self.api_url}/api/v1/namespaces/default/configmaps"
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "churn"}}
        _send("POST", path, "application/json", body)
        for number in range(HISTORY + HISTORY // 4):
            change = {"data": {"number": str(number)}}
            _send("PATCH", f"{path}/churn", "application/merge-patch+json", change)

    # -- where it is ------------------------------------------------------------------------------

    @property
    def kubeconfig(self) -> Path:
        return self.directory / "cloud" / "apiserver" / "kubeconfig"

    @property
    def api_url(self) -> str:
        config = yaml.safe_load(self.kubeconfig.read_text())
        return str(config["clusters"][0]["cluster"]["server"])

    def hub_url(self, node: str) -> str:
        return f"http://127.0.0.1:{self._hubs[node]}"

    def served(self, node: str) -> frozenset[str]:
        """What the node's hub serves itself and is ready to serve, as "plural.version.group"."""
        if not _is_ok(f"{self.hub_url(node)}/readyz"):
            return frozenset()
        at = json.loads((self.directory / POOL / "run" / f"{POOL}.json").read_text())["health"]
        status = _get(f"{at}/status", "application/json")
        feeds = status["hosts"][node]["actors"]["hub"]["status"]["feeds"]
        return frozenset(".".join(_named(feed)) for feed in feeds)

    def until(self, reached: Callable[[], Any], what: str, timeout: float = UP_SECONDS) -> None:
        """Other processes send no event, so it is asked."""
        end = time.monotonic() + timeout
        while not reached():
            if time.monotonic() > end:
                raise AssertionError(f"not within {timeout} s: {what}\n{self.tails()}")
            for site, process in self._sites.items():
                assert process.poll() is None, f"{site} ended\n{self.tails()}"
            time.sleep(_LOOK)

    def tails(self) -> str:
        logs = sorted(self.directory.glob("*.log"))
        return "\n".join(f"-- {log.name}\n{log.read_text()[-3000:]}" for log in logs)


def _named(feed: str) -> list[str]:
    """Plural, version and group (the core one has no name)."""
    plural, version, *group = feed.split("_", 2)
    return [plural, version, *(part.replace("_", ".") for part in group)]


def free_port() -> int:
    """One that a restarted site can have again: so it cannot be 0."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _die_with_us() -> None:
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    os.setpgid(0, 0)  # a Ctrl-C is for us to pass on


def _is_ok(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return int(response.status) == 200
    except (urllib.error.URLError, OSError):
        return False


def _get(url: str, accept: str) -> Json:
    request = urllib.request.Request(url, headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=5) as response:
        return dict(json.load(response))


def _send(method: str, url: str, kind: str, body: Json) -> None:
    headers = {"Content-Type": kind}
    data = json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers, method=method)
    urllib.request.urlopen(request, timeout=5).close()
