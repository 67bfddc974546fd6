"""Operators, informers and candidates of a node whose link is cut and comes back.

Unlike the other suites the hub runs here, in the test's process: the link alone is cut (the API
server goes on, and what changes there is to be caught up with), and what the hub asked is counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.actors.until import until
from tests.edge.gateways import KEPT, World, world
from tests.interop.elector import LEASE, LOCK, RENEW
from tests.interop.samples import WIDGETS, collection, namespace, service, widget
from tests.interop.target import Access, Api
from tests.interop.test_client_node import informing_by, modules

__all__ = ["modules"]

NS = "cuts"
HERE = Path(__file__).parent
LONG = 60.0  # a client's own backoff grows to half a minute and more
SOON = 20.0
SKIPPABLE = {'{"event": "update", "name": "a", "size": 2}'}  # 3 came at once after it
Json = dict[str, Any]
pytestmark = pytest.mark.timeout(120)


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[World]:
    """Whose hub keeps what all components read, and comes back where it was."""
    async with world(tmp_path) as made, made.gate():
        port = int(made.hub.url.rpartition(":")[2])
        made.more = {"port": port, "components": KEPT | {"*": ("*",)}}
        await made.restart_hub()
        yield made


@pytest.fixture
async def api(w: World) -> AsyncIterator[Api]:
    """The API server itself."""
    async with Access(w.api.kubeconfig, w.api.url).open() as direct:
        await direct.create(WIDGETS)
        await direct.create(namespace(NS))
        yield direct


@pytest.fixture
def through_hub(w: World, tmp_path: Path) -> Path:
    return Access.plain(tmp_path / "hub.kubeconfig", w.hub.url).kubeconfig


@contextlib.asynccontextmanager
async def cut(w: World) -> AsyncIterator[None]:
    await w.server.stop()
    await until(lambda: not w.context.buses["cloud"].is_up, "the link is down")
    yield
    await w.server.start()
    await until(lambda: w.context.buses["cloud"].is_up, "the link is back", SOON)


class Told:
    """What a script tells, a line of JSON each."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.lines: list[Json] = []
        self._process = process
        self._more = asyncio.Condition()

    async def listen(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            async with self._more:
                self.lines.append(json.loads(line))
                self._more.notify_all()

    async def until(self, timeout: float = SOON, count: int = 1, **line: Any) -> None:
        """It has told this, so often."""

        def is_told() -> bool:
            return sum(line.items() <= each.items() for each in self.lines) >= count

        try:
            async with asyncio.timeout(timeout), self._more:
                await self._more.wait_for(is_told)
        except TimeoutError:
            raise AssertionError(f"not {line} but {self.lines}") from None

    @property
    def events(self) -> list[str]:
        return [each["event"] for each in self.lines]


@contextlib.asynccontextmanager
async def script(name: str, *arguments: object) -> AsyncIterator[Told]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(HERE / name),
        *map(str, arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    told = Told(process)
    listening = asyncio.create_task(told.listen(), name=name)
    try:
        await told.until(event="ready")
        yield told
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await listening


# -- an operator ----------------------------------------------------------------------------------


async def status_is(api: Api, name: str, size: int) -> None:
    query: Json = {"fieldSelector": f"metadata.name={name}", "resourceVersion": 0}
    async with asyncio.timeout(SOON), api.watch(collection("Widget", NS), **query) as watching:
        while True:
            event = await watching.next()
            assert event is not None
            if event.object.get("status", {}).get("size") == size:
                return


async def reconciles(w: World, api: Api, through_hub: Path, seconds: float) -> None:
    """Changes before, in and after the cut are handled once each, by what they have come to."""
    async with script("operator.py", through_hub, NS) as operator:
        await api.create(widget("a"), NS)
        await api.create(widget("gone"), NS)
        await status_is(api, "a", 1)
        await status_is(api, "gone", 1)
        asked = Counter(mirror.counts["lists"] for mirror in widgets(w))
        async with cut(w):
            await api.create(widget("b", size=2), NS)
            for size in (2, 3):
                await api.patch("Widget", NS, "a", {"spec": {"size": size}})
            await api.delete("Widget", NS, "gone")  # waits for the operator's finalizer
            await asyncio.sleep(seconds)
            assert len(operator.lines) == 3, operator.lines  # ready, and two of before
        await operator.until(LONG, event="create", name="b")
        await operator.until(LONG, event="update", name="a", size=3)
        await operator.until(LONG, event="delete", name="gone")
        await status_is(api, "a", 3)
        await api.patch("Widget", NS, "a", {"spec": {"size": 4}})
        await operator.until(event="update", name="a", size=4)
        await status_is(api, "b", 2)
        await status_is(api, "a", 4)
        assert Counter(mirror.counts["lists"] for mirror in widgets(w)) == asked
    told = Counter(json.dumps(each) for each in operator.lines)
    assert set(told.values()) == {1}, operator.lines
    assert len(told) - len(SKIPPABLE & told.keys()) == 7
    assert await names(api) == ["a", "b"]


def widgets(w: World) -> list[Any]:
    held = w.hub._mirrors.all.values()
    return [mirror for mirror in held if mirror.scope.resource.plural == "widgets"]


async def names(api: Api) -> list[str]:
    return [each["metadata"]["name"] for each in await api.list(collection("Widget", NS))]


async def test_an_operator_goes_on_after_a_cut(w: World, api: Api, through_hub: Path) -> None:
    await reconciles(w, api, through_hub, 4.0)


@pytest.mark.nightly
@pytest.mark.timeout(900)
async def test_an_operator_goes_on_after_ten_minutes(w: World, api: Api, through_hub: Path) -> None:
    await reconciles(w, api, through_hub, 600.0)


# -- informers ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("modules")
async def test_informers_live_through_a_cut(w: World, api: Api, through_hub: Path) -> None:
    """Told what changed meanwhile, each once; their watches do not even break."""
    await api.create(service("a"), NS)
    await api.create(service("b"), NS)
    async with informing_by(through_hub, NS, 300) as informers:
        await informers.event("services", "add", "a")
        await informers.event("services", "add", "b")
        async with cut(w):
            await api.create(service("c"), NS)
            await api.delete("Service", NS, "a")
            await asyncio.sleep(2.0)
        await informers.until(seen({("add", "c"), ("delete", "a")}), LONG)
        await api.delete("Service", NS, "b")
        await informers.event("services", "delete", "b")
    told = [(each["event"], each["name"]) for each in informers.told if "name" in each]
    assert sorted(told) == sorted(
        [("add", "a"), ("add", "b"), ("add", "c"), ("delete", "a"), ("delete", "b")]
    )
    assert informers.count("services", "error") == 0
    assert informers.count("services", "connect") == 1


def seen(wanted: set[tuple[str, str]]) -> Callable[[Json], bool]:
    left = set(wanted)

    def look(told: Json) -> bool:
        left.discard((told["event"], told.get("name", "")))
        return not left

    return look


# -- leader election ------------------------------------------------------------------------------


async def holder(api: Api) -> str:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{NS}/leases/{LOCK}"
    return str((await api.get(path))["spec"]["holderIdentity"])


async def test_a_leader_holds_while_its_hub_restarts(w: World, api: Api, through_hub: Path) -> None:
    async with script("elector.py", through_hub, NS, "first") as first:
        await first.until(event="leads")
        async with script("elector.py", through_hub, NS, "second") as second:
            await w.restart_hub()
            await asyncio.sleep(LEASE + 2.0)  # only time shows that nobody takes it
            assert (first.events, second.events) == (["ready", "leads"], ["ready"])
            assert await holder(api) == "first"


async def test_a_leader_that_is_cut_off_leads_no_more_when_another_does(
    w: World, api: Api, through_hub: Path
) -> None:
    """Though its hub keeps all that it reads, and would queue its node's own lease."""
    async with script("elector.py", through_hub, NS, "first") as first:
        await first.until(event="leads")
        async with script("elector.py", w.api.kubeconfig, NS, "elsewhere") as elsewhere, cut(w):
            await first.until(RENEW + SOON, event="stopped")
            await elsewhere.until(LEASE + SOON, event="leads")
        stopped, leads = first.lines[-1], elsewhere.lines[-1]
        assert stopped["at"] < leads["at"]
        await asyncio.sleep(1.0)  # nothing is replayed that takes it back
        assert await holder(api) == "elsewhere"
