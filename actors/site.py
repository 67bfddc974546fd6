"""Starts all of a site that belongs on this machine, keeps it going, and stops it in order.

Order of a start: locks, health port, runtime and bus servers (side by side), hosts, config watch.
A stop goes the other way round, within a deadline. `run_site` is what `atoll up` calls;
`SiteRunner` is the same without signals, for the demo and for tests.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from loguru import logger

import configs
from actors import log, program
from actors.health import HealthServer, Probes
from actors.metrics import exposition, gauges, merge
from actors.reload import Reloader
from actors.runfile import AlreadyRunning, Locks, RunFile
from actors.runner import State
from actors.runtimes.api import HostGone, Runtime, create
from actors.sitefile import log_settings
from actors.specs import LogSettings, Site
from actors.supervisor import HostSupervisor
from actors.tasks import OwnedTasks, bounded
from bus.errors import BusError
from bus.server import ServerSettings
from configs.schema import AnySiteFile
from configs.units import split_address

if TYPE_CHECKING:
    from loguru import Logger

HOSTS_STOP_SECONDS = 15.0  # for all hosts; each actor's share is part of it
SERVER_STOP_SECONDS = 5.0
GROUP = "atoll.sites"

MakeSite = Callable[[Any, str], Site]


class Server(Protocol):
    """What a site needs of `bus.server.EmbeddedServer`."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    @property
    def url(self) -> str: ...

    @property
    def pid(self) -> int | None: ...


MakeServer = Callable[[ServerSettings], Server]


def make_server(settings: ServerSettings) -> Server:
    from bus.server import EmbeddedServer

    return EmbeddedServer(settings)


def make_site(config: AnySiteFile, node: str) -> Site:
    """The composition root that the distribution's entry points name for the config's kind."""
    found = importlib.metadata.entry_points(group=GROUP, name=config.kind)
    if not found:
        raise LookupError(f"no {GROUP} entry point for kind {config.kind!r}: is atoll installed?")
    site: Site = next(iter(found)).load()(config, node)
    return site


def manifests(config: AnySiteFile) -> Mapping[str, str]:
    """What the site's cluster has to be given, as YAML by name: nothing for most kinds of sites."""
    found = importlib.metadata.entry_points(group=GROUP, name=config.kind)
    make = getattr(next(iter(found)).load(), "manifests", None) if found else None
    made: Mapping[str, str] = make(config) if make is not None else {}
    return made


def run_site(
    path: Path | str,
    node: str = "",
    *,
    runtime: Runtime | None = None,
    runtime_name: str = "",
    make_site: MakeSite = make_site,
    make_server: MakeServer = make_server,
) -> int:
    """What `atoll up` does: runs a site until a signal; returns the exit code.

    0: stopped in order; 1: it cannot run, the log says why; 2: the site file is not valid;
    3: it runs already. A second signal ends all at once, with 130 (SIGINT) or 143 (SIGTERM).
    """
    log.setup(LogSettings())
    runner = SiteRunner(
        path,
        node,
        runtime=runtime,
        runtime_name=runtime_name,
        make_site=make_site,
        make_server=make_server,
        on_log=log.apply,
    )
    try:
        return program.run(_serve(runner), runner.kill)
    except configs.ConfigError as error:
        log.to_stderr(f"{error}\n")
        return 2
    except AlreadyRunning as error:
        log.to_stderr(f"{error}\n")
        return 3
    except (HostGone, BusError, OSError, ValueError, LookupError) as error:
        log.to_stderr(f"{path}: cannot run: {error}\n")
        return 1


async def _serve(runner: SiteRunner) -> int:
    try:
        await runner.start()
        await runner.failed.wait()
        return 1
    finally:
        await runner.stop()


class SiteRunner:
    """One site (or one node of it) in this process. Start once, stop once.

    With a `runtime` given, that one is shared: it is neither started first nor stopped last here.
    `runtime_name` is one of our own instead of the one the file names.
    `on_log` hears of log settings, at the start and at edits, if this process's log follows them.
    """

    def __init__(
        self,
        path: Path | str,
        node: str = "",
        *,
        runtime: Runtime | None = None,
        runtime_name: str = "",
        make_site: MakeSite = make_site,
        make_server: MakeServer = make_server,
        on_log: Callable[[LogSettings], None] = lambda settings: None,
    ) -> None:
        self.path = Path(path)
        self.node = node
        self.state = State.WAITING
        self.config: AnySiteFile | None = None
        self.health_url = ""
        self.failed = asyncio.Event()  # a task of our own broke: the process should end
        self._runtime = runtime
        self._owns_runtime = runtime is None
        self._runtime_name = runtime_name
        self._make_site = make_site
        self._make_server = make_server
        self._on_log = on_log
        self._started = 0.0
        self._starting: asyncio.Task[None] | None = None
        self._servers: dict[str, Server] = {}
        self._hosts: dict[str, HostSupervisor] = {}
        self._locks: Locks | None = None
        self._health: HealthServer | None = None
        self._reloader: Reloader | None = None
        self._run_file: RunFile | None = None
        self._log: Logger = logger.bind(site=self.path.stem, node=node, actor="site")
        self._tasks = OwnedTasks("site", self._log, lambda *_: self.failed.set())

    def __repr__(self) -> str:
        return f"<SiteRunner {self.path.name} {self.state} hosts={list(self._hosts)}>"

    # -- start

    async def start(self) -> None:
        """Returns when all hosts have had their turn to start (see `is_ready`).

        Raises configs.ConfigError, AlreadyRunning, HostGone (no runtime), ServerFailed, or what the
        site's composition root raises; nothing is left running then, nor if it is cancelled.
        """
        self.state = State.STARTING
        began = time.monotonic()
        self._starting = asyncio.create_task(self._start(), name=f"start {self.path.name}")
        try:
            await self._starting
        except BaseException:
            await asyncio.shield(self.stop())
            raise
        self._log.info("all is started after {:.1f} s", time.monotonic() - began)

    async def _start(self) -> None:
        config = self.config = configs.load(self.path)
        self._started = time.time()
        self._log = logger.bind(site=config.name, node=self.node, actor="site")
        self._on_log(log_settings(config))
        self._locks = Locks(config.state)
        self._locks.take(self._name)
        await self._start_health(config)
        if self._runtime is None:
            self._runtime = create(self._runtime_name or config.runtime)
        site = self._make_site(config, self.node)
        await _all(self._runtime.start(), self._start_servers(site.servers()))
        await self._start_hosts(site)
        self._reloader = Reloader(self.path, config, self._apply)
        self._tasks.spawn("reload", self._reloader.run())
        self.state = State.RUNNING
        await self._tell()

    @property
    def _name(self) -> str:
        assert self.config is not None
        return f"{self.config.name}.{self.node}" if self.node else self.config.name

    async def _start_health(self, config: AnySiteFile) -> None:
        host, port = split_address(config.health.listen)
        probes = Probes(self.why_not_ready, self.metrics, self.status)
        self._health = HealthServer(probes, host, port, self._log.bind(actor="health"))
        bound, port = await self._health.start()
        self.health_url = f"http://{f'[{bound}]' if ':' in bound else bound}:{port}"

    async def _start_servers(self, settings: Sequence[ServerSettings]) -> None:
        for each in settings:
            self._lock(f"server.{each.name}")
            self._servers[each.name] = server = self._make_server(each)
            await server.start()
            self._log.info("bus {} serves at {}", each.name, server.url)

    async def _start_hosts(self, site: Site) -> None:
        assert self._runtime is not None
        for spec in site.hosts(self.server_urls):
            self._lock(f"host.{spec.name}")
            self._hosts[spec.name] = host = HostSupervisor(self._runtime, spec)
            await host.start()

    def _lock(self, name: str) -> None:
        assert self._locks is not None
        self._locks.take(name)

    @property
    def server_urls(self) -> dict[str, str]:
        return {name: server.url for name, server in self._servers.items()}

    # -- stop

    async def stop(self) -> None:
        """In order, within deadlines; never raises. Idempotent. Breaks off a start under way."""
        if self.state in (State.STOPPING, State.STOPPED, State.WAITING):
            return
        self.state = State.STOPPING
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait({self._starting})
        await self._tasks.close(1.0)
        await self._stop_hosts()
        if self._owns_runtime and self._runtime is not None:
            await self._step("stop the runtime", self._runtime.stop(1.0), 15.0)
        for name, server in reversed(self._servers.items()):
            await self._step(f"stop bus {name}", server.stop(), SERVER_STOP_SECONDS)
        if self._health is not None:
            await self._step("stop health", self._health.stop(), 2.0)
        self._forget()
        self.state = State.STOPPED

    async def _stop_hosts(self) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + HOSTS_STOP_SECONDS
        for left, host in zip(
            range(len(self._hosts), 0, -1), reversed(self._hosts.values()), strict=True
        ):
            share = min(max(end - loop.time(), 0.0) / left, host.spec.stop_deadline)
            self._log.info("stopping host {}", host.spec.name)
            # Beyond its share a host is ended by force, which takes its runtime a few seconds.
            await self._step(f"stop host {host.spec.name}", host.stop(share), share + 10.0)

    async def _step(self, name: str, work: Coroutine[Any, Any, None], seconds: float) -> None:
        await bounded(name, work, seconds, self._log)

    def _forget(self) -> None:
        if self._run_file is not None:
            self._run_file.remove()
        if self._locks is not None:
            self._locks.release()

    def kill(self) -> None:
        """Everything at once, without goodbye: what Ctrl-C does the second time."""
        if self._runtime is not None:
            self._runtime.kill()
        self._forget()

    # -- reload

    async def _apply(self, config: AnySiteFile) -> dict[str, str]:
        """Hands out what a live edit changed; returns "host/actor" -> why it was refused."""
        site = self._make_site(config, self.node)
        self._on_log(log_settings(config))
        refused = {}
        for spec in site.hosts(self.server_urls):
            if host := self._hosts.get(spec.name):
                answers = await host.configure(spec)
                refused.update({f"{spec.name}/{name}": why for name, why in answers.items()})
        self.config = config
        return refused

    # -- picture

    async def why_not_ready(self) -> list[str]:
        """Empty when every host and actor runs."""
        if self.state is not State.RUNNING:
            return [f"the site is {self.state}"]
        reasons = []
        for name, host in (await self._host_statuses()).items():
            actors = host.get("actors", {})
            down = [f"{name}/{a}: {s['state']}" for a, s in actors.items() if not _runs(s)]
            if not host["ready"]:
                reasons += down or [f"host {name}: {host['state']}"]
        return reasons

    async def status(self) -> dict[str, Any]:
        """The shape is told in `actors.status`."""
        assert self.config is not None
        return {
            "site": self.config.name,
            "kind": self.config.kind,
            "node": self.node,
            "pid": os.getpid(),
            "started": _iso(self._started),
            "state": str(self.state),
            "runtime": self._runtime.name if self._runtime is not None else "",
            "health": self.health_url,
            "config": self._config_status(),
            "servers": {name: _server_status(server) for name, server in self._servers.items()},
            "hosts": await self._host_statuses(),
        }

    def _config_status(self) -> dict[str, Any]:
        if self._reloader is None:
            return {"path": str(self.path), "loaded": _iso(self._started), "error": ""}
        return self._reloader.status()

    async def _host_statuses(self) -> dict[str, dict[str, Any]]:
        found = await asyncio.gather(*(host.status() for host in self._hosts.values()))
        return dict(zip(self._hosts, found, strict=True))

    async def metrics(self) -> str:
        """Prometheus text of the site's hosts and of this process's own gauges."""
        texts = await asyncio.gather(*(host.metrics() for host in self._hosts.values()))
        return merge([*texts, self._own_metrics()])

    def _own_metrics(self) -> str:
        assert self.config is not None
        error = self._config_status()["error"]
        registry = gauges(
            {
                "atoll_config_ok": (
                    "Whether the site file is what runs",
                    {str(self.path): float(not error)},
                )
            },
            label="path",
        )
        hosts = gauges(
            {
                "atoll_host_up": (
                    "Whether the host's process runs",
                    {n: float(h.state is State.RUNNING) for n, h in self._hosts.items()},
                ),
                "atoll_host_restarts": (
                    "Restarts after deaths",
                    {n: float(h.restarts) for n, h in self._hosts.items()},
                ),
            },
            label="host",
        )
        place = {"site": self.config.name}
        return exposition([(place, registry), (place, hosts)])

    async def _tell(self) -> None:
        """Writes where the site is, for `atoll status`."""
        assert self.config is not None
        self._run_file = RunFile(self.config.state, self._name)
        self._run_file.write(
            {
                "site": self.config.name,
                "kind": self.config.kind,
                "node": self.node,
                "pid": os.getpid(),
                "started": _iso(self._started),
                "config": str(self.path.absolute()),
                "health": self.health_url,
                "servers": self.server_urls,
                "hubs": _hub_urls(await self._host_statuses()),
            }
        )


def _runs(actor: Mapping[str, Any]) -> bool:
    return bool(actor.get("state") == State.RUNNING)


def _hub_urls(hosts: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Where the nodes' Kubernetes APIs are, as their hub actors say."""
    urls = {}
    for name, host in hosts.items():
        hub = host.get("actors", {}).get("hub", {}).get("status", {})
        if url := hub.get("url") or hub.get("listen"):
            urls[str(host.get("node") or name)] = str(url)
    return urls


def _server_status(server: Server) -> dict[str, Any]:
    return {
        "url": server.url,
        "pid": server.pid,
        "up": server.pid is not None,
        "restarts": getattr(server, "restarts", 0),
        "error": getattr(server, "trouble", ""),
    }


def _iso(stamp: float) -> str:
    return datetime.fromtimestamp(stamp, UTC).isoformat(timespec="seconds")


async def _all(*work: Coroutine[Any, Any, None]) -> None:
    """Both at once; the first failure cancels the rest, which is awaited."""
    try:
        async with asyncio.TaskGroup() as group:
            for each in work:
                group.create_task(each)
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
