"""The demo's story: steady traffic, the leader's link cut, the whole pool cut, and healed."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import aiohttp

from actors.demo.cluster import SERVICES, SLICES, Cluster, pace
from actors.demo.figures import Figures, Step
from actors.demo.watcher import Watcher
from actors.demo.workload import Workload
from actors.demo.world import NODES, World

CHANGES_PER_SECOND = 25.0
CONVERGE_SECONDS = 20.0  # a node that is not equal by then has failed the step


class StepFailed(Exception):
    """What did not hold, in words for the person who watches."""


@dataclass
class Clients:
    """One kube-proxy's worth of watchers per node: at the hubs, and directly at the API server."""

    at_hubs: dict[str, list[Watcher]] = field(default_factory=dict)
    native: list[Watcher] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def watch(self, session: aiohttp.ClientSession, base: str) -> list[Watcher]:
        watchers = [Watcher(session, base, path) for path in (SERVICES, SLICES)]
        for watcher in watchers:
            self.tasks.append(asyncio.create_task(watcher.run(), name=f"watcher {base}"))
        return watchers

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def native_bytes(self) -> int:
        return sum(watcher.report.bytes for watcher in self.native)

    def all_at_hubs(self) -> list[Watcher]:
        return [watcher for watchers in self.at_hubs.values() for watcher in watchers]


class Story:
    """Runs the steps in order; after a failed one the rest is not reached."""

    def __init__(
        self,
        world: World,
        workload: Workload,
        figures: Figures,
        seconds: float,
        tell: Callable[[], None] = lambda: None,
    ) -> None:
        self._world = world
        self._workload = workload
        self.figures = figures
        self._seconds = seconds
        self._tell = tell  # something changed: repaint
        self.clients = Clients()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=30)
        )
        self._cluster: Cluster | None = None
        self._churn = workload.churn()
        self._steps: list[tuple[Step, Callable[[Step], Awaitable[None]]]] = []
        for name, title, act in (
            ("start", "Start a cloud site and a pool of three nodes", self._start),
            ("steady", "Changes flow: over the WAN once, as deltas", self._steady),
            (
                "leader-cut",
                "The leader's cloud link goes dark: another takes over",
                self._cut_leader,
            ),
            ("pool-cut", "The whole pool is cut off: nodes go on serving", self._cut_pool),
            ("heal", "The links come back: every node catches up", self._heal),
        ):
            step = Step(name, title)
            figures.steps.append(step)
            self._steps.append((step, act))

    @property
    def cluster(self) -> Cluster:
        assert self._cluster is not None, "the start step comes first"
        return self._cluster

    async def run(self) -> None:
        try:
            for step, act in self._steps:
                if not await self._run(step, act):
                    return
        finally:
            await self.clients.stop()
            await self._session.close()

    async def _run(self, step: Step, act: Callable[[Step], Awaitable[None]]) -> bool:
        begun = time.monotonic()
        step.state = "running"
        self._tell()
        try:
            await act(step)
            step.state = "passed"
        except (StepFailed, TimeoutError) as error:
            step.state, step.detail = "failed", str(error) or f"timed out: {step.detail}"
        step.seconds = round(time.monotonic() - begun, 2)
        self._tell()
        return step.state == "passed"

    # --- the steps ---

    async def _start(self, step: Step) -> None:
        begun = time.monotonic()
        step.detail = "cloud site"
        self._cluster = Cluster(self._session, await self._world.start_cloud())
        step.detail = "services and endpoint slices"
        await self.cluster.create_all(self._workload.service_objects())
        await self.cluster.create_all(self._workload.slice_objects())
        for _ in NODES:
            self.clients.native += self.clients.watch(self._session, self.cluster.base)
        step.detail = "pool site"
        await self._world.start_pool()
        for node, url in (await self._world.hub_urls()).items():
            self.clients.at_hubs[node] = self.clients.watch(self._session, url)
        step.detail = "first sync of every node"
        await self._converge()
        self.figures.start_seconds = round(time.monotonic() - begun, 2)
        step.detail = f"ready in {self.figures.start_seconds} s"

    async def _steady(self, step: Step) -> None:
        step.detail = "pods come and go; every node's client hears of it"
        figures = self.figures
        figures.changes = await self._change_for(self._seconds * 0.4)
        await self._converge()
        figures.wan_steady_bytes = self._world.wan_bytes()
        figures.native_steady_bytes = self.clients.native_bytes()
        share = 100 * figures.wan_steady_bytes / max(figures.native_steady_bytes, 1)
        figures.wan_share_percent = round(share, 2)
        figures.latency_p50_ms, figures.latency_p99_ms = self._latencies()
        step.detail = (
            f"{figures.changes} changes; WAN {share:.1f} % of native; "
            f"p50 {figures.latency_p50_ms:.1f} ms, p99 {figures.latency_p99_ms:.1f} ms"
        )

    async def _cut_leader(self, step: Step) -> None:
        leader = await self._leader()
        self._world.links[leader].cut()
        begun = time.monotonic()
        step.detail = f"{leader}, which leads, sees the cloud no more"
        key, version = await self.cluster.replace(next(self._churn))
        await self._until_everywhere(key, version, CONVERGE_SECONDS)
        self.figures.takeover_seconds = round(time.monotonic() - begun, 2)
        successor = await self._leader()
        if successor == leader:
            raise StepFailed(f"{leader} still leads though its link is dark")
        step.detail = f"{leader} → {successor}, data flows {self.figures.takeover_seconds} s later"
        await self._change_for(self._seconds * 0.15)
        await self._converge()

    async def _cut_pool(self, step: Step) -> None:
        for link in self._world.links.values():
            link.cut()
        begun = time.monotonic()
        before = dict(self.clients.at_hubs[NODES[0]][1].versions)
        step.detail = "the cluster goes on changing, unseen by the pool"
        self.figures.cut_changes = await self._change_for(max(self._seconds * 0.2, 7.0))
        warned = await self._ask_nodes_offline(len(before))
        self.figures.cut_seconds = round(time.monotonic() - begun, 2)
        step.detail = (
            f"all nodes serve {len(before)} slices after {self.figures.cut_seconds} s; {warned}"
        )

    async def _heal(self, step: Step) -> None:
        wan_before = self._world.wan_bytes()
        for link in self._world.links.values():
            link.drop()  # no connection outlives so long a cut: what was under way is lost
            link.heal()
        begun = time.monotonic()
        await self._converge()
        figures = self.figures
        figures.catchup_seconds = round(time.monotonic() - begun, 2)
        figures.catchup_bytes = self._world.wan_bytes() - wan_before
        self._check_clients()
        step.detail = (
            f"equal after {figures.catchup_seconds} s and {figures.catchup_bytes:,} bytes; "
            "no client listed anew, no version went back"
        )

    # --- what the steps are made of ---

    async def _change_for(self, seconds: float) -> int:
        changes = 0
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            await self.cluster.replace(next(self._churn))
            changes += 1
            self._tell()
            await pace(CHANGES_PER_SECOND)
        return changes

    async def _converge(self) -> None:
        """Until every node's clients hold exactly what the API server holds."""
        for position, path in enumerate((SERVICES, SLICES)):
            truth = await self.cluster.versions(path)
            for node, watchers in self.clients.at_hubs.items():
                await self._until_equal(node, watchers[position], truth)

    async def _until_equal(self, node: str, watcher: Watcher, truth: dict[str, int]) -> None:
        try:
            await watcher.until_equal(truth, CONVERGE_SECONDS)
        except TimeoutError:
            wrong = len(dict(watcher.versions.items() ^ truth.items()))
            raise StepFailed(f"{node}: {wrong} objects differ from the API server") from None

    async def _until_everywhere(self, key: str, version: int, timeout: float) -> None:
        watchers = [watchers[1] for watchers in self.clients.at_hubs.values()]
        await asyncio.gather(*(watcher.until(key, version, timeout) for watcher in watchers))

    async def _leader(self) -> str:
        async with asyncio.timeout(10):
            while (leader := await self._world.leader()) is None:  # noqa: ASYNC110 (asked, not told)
                await asyncio.sleep(0.05)
        return leader

    async def _ask_nodes_offline(self, slices: int) -> str:
        """A fresh list from each node: complete, and honest about its age."""
        warnings = set()
        for node, url in (await self._world.hub_urls()).items():
            watcher = Watcher(self._session, url, SLICES)
            await watcher.list()
            if len(watcher.versions) != slices:
                raise StepFailed(f"{node} serves {len(watcher.versions)} of {slices} slices")
            if watcher.report.warning is None:
                raise StepFailed(f"{node} serves old data without a Warning")
            warnings.add(watcher.report.warning.removeprefix("299 - ").strip('"'))
        return sorted(warnings)[0]

    def _check_clients(self) -> None:
        watchers = self.clients.all_at_hubs()
        back = [key for watcher in watchers for key in watcher.report.went_back]
        if back:
            raise StepFailed(f"versions went back for {back[:3]} ({len(back)} in all)")
        self.figures.client_lists = max(watcher.report.lists for watcher in watchers)
        if self.figures.client_lists != 1:
            raise StepFailed(f"a client had to list {self.figures.client_lists} times")

    def _latencies(self) -> tuple[float, float]:
        """p50 and p99 in ms over all nodes and all changes that came as single events."""
        written = self.cluster.written
        samples = [
            1000 * (seen - written[at])
            for watchers in self.clients.at_hubs.values()
            for at, seen in watchers[1].seen.items()
            if at in written
        ]
        if len(samples) < 2:
            raise StepFailed("no change reached a node as an event")
        quantiles = statistics.quantiles(samples, n=100)
        return round(quantiles[49], 2), round(quantiles[98], 2)
