"""What kube-proxy, kubelet and kubectl were seen to send, replayed; an outage as they live it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import aiohttp
import pytest

from tests.actors.kube.captured import captured, replay
from tests.interop.conftest import NODE, own_namespace
from tests.interop.samples import collection, endpoint_slice
from tests.interop.target import (
    DEADLINE,
    Api,
    Json,
    Refused,
    Seen,
    Target,
    Watching,
    name_of,
    version_of,
)
from tests.interop.world import World

PROXY = "application/vnd.kubernetes.protobuf, */*"
SELECT = {"labelSelector": "!service.kubernetes.io/headless"}
WATCH = {"allowWatchBookmarks": "true", "timeoutSeconds": 400, "timeout": "6m40s"}
WATCH_LIST = {**WATCH, "resourceVersionMatch": "NotOlderThan", "sendInitialEvents": "true"}
SLICES = collection("EndpointSlice")
BACKOFF = 0.2  # seconds; client-go's 1 to 12 would only take longer


async def test_captured_requests(own_target: Target) -> None:
    """A cluster may not serve all that is asked for, and answers some of it in protobuf."""
    async with own_target.reads.open() as api:
        assert await replay(api.base, NODE, api.session) == []


async def test_captured_requests_of_a_wrong_node(own_target: Target) -> None:
    """So that the replay is known to notice."""
    async with own_target.reads.open() as api:
        faults = await replay(api.base, "another-node", api.session)
    assert 0 < len(faults) < len(captured())


@dataclass
class Reflector:
    """client-go's way with endpoint slices, as captured: what it asks, and what it then holds."""

    api: Api
    held: dict[str, int] = field(default_factory=dict)
    version: int | None = None
    asked: list[str] = field(default_factory=list)
    failed: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    moved: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Watch-list, then on; at a clean end a plain watch, at any other watch-list and list."""
        resume = False
        while True:
            try:
                await (self._resume() if resume else self._watch_list())
                resume = True
            except (aiohttp.ClientError, Refused) as error:
                _check_is_passing(error)
                resume = False
                await self._list()
                await asyncio.sleep(BACKOFF)

    async def _watch_list(self) -> None:
        self.asked.append("watch-list")
        params: Json = {**WATCH_LIST, **SELECT}
        if self.version is not None:
            params["resourceVersion"] = self.version
        async with self.api.watch(SLICES, accept=PROXY, **params) as watching:
            *initial, mark = await watching.initial()
            assert {event.type for event in initial} <= {"ADDED"}
            self.held = {_key(event): event.version for event in initial}
            assert self.version is None or mark.version >= self.version
            self.version = mark.version
            self.moved.set()
            await self._follow(watching.response)

    async def _resume(self) -> None:
        self.asked.append("watch")
        params: Json = {**WATCH, **SELECT, "resourceVersion": self.version}
        async with self.api.watch(SLICES, accept=PROXY, **params) as watching:
            await self._follow(watching.response)

    async def _list(self) -> None:
        """The plain one that client-go tries beside each watch-list that failed."""
        self.asked.append("list")
        params: Json = {**SELECT}
        params |= {"resourceVersion": self.version} if self.version else {"limit": 500}
        try:
            answer = await self.api.get(SLICES, accept=PROXY, **params)
        except (aiohttp.ClientError, Refused) as error:
            _check_is_passing(error)
            self.failed.release()
            return
        self.held = {_name(item): version_of(item) for item in answer["items"]}
        self.version = version_of(answer)
        self.moved.set()

    async def _follow(self, response: aiohttp.ClientResponse) -> None:
        watching = Watching(response)
        while (event := await watching.next(timeout=None)) is not None:
            assert event.type != "ERROR", event.object
            assert self.version is not None
            assert event.version >= self.version
            self.version = event.version
            if event.type == "DELETED":
                del self.held[_key(event)]
            elif event.type != "BOOKMARK":
                assert event.version > self.held.get(_key(event), 0)
                self.held[_key(event)] = event.version
            self.moved.set()

    async def until(self, key: str, version: int | None) -> None:
        try:
            async with asyncio.timeout(DEADLINE):
                while self.held.get(key) != version:
                    self.moved.clear()
                    await self.moved.wait()
        except TimeoutError:
            raise AssertionError(f"{key} is not {version} in {self}") from None


def _check_is_passing(error: Exception) -> None:
    """A server that has just started may ask for patience, no more: a 404 would be believed."""
    assert not isinstance(error, Refused) or error.status in (503, 504), error


def _name(obj: Json) -> str:
    return f"{obj['metadata']['namespace']}/{name_of(obj)}"


def _key(event: Seen) -> str:
    return _name(event.object)


@pytest.mark.parametrize("end", ["crash", "clean"])
async def test_an_outage(own_target: Target, world: World, end: str) -> None:
    """The server goes, in order or not, clients try on, changes happen, it comes back."""
    async with (
        own_target.reads.open() as reads,
        own_target.writes.open() as writes,
        own_namespace(writes) as ns,
    ):
        before = await writes.create(endpoint_slice("before"), ns)
        reflector = Reflector(reads)
        running = asyncio.create_task(reflector.run(), name="reflector")
        try:
            await reflector.until(f"{ns}/before", version_of(before))
            known = reflector.version
            asked = await _outage(own_target, world, reflector, end, lambda: _change(writes, ns))
            after = await writes.get(f"{collection('EndpointSlice', ns)}/after")
            if running.done():
                await running
            await reflector.until(f"{ns}/after", version_of(after))
            await reflector.until(f"{ns}/before", None)
            truth = await writes.list(SLICES, **SELECT)
            assert reflector.held == {_name(each): version_of(each) for each in truth}
            assert not running.done()
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    assert reflector.version is not None
    assert known is not None
    assert reflector.version > known
    first = ["watch", "list"] if end == "clean" else ["list"]
    assert asked[: len(first)] == first
    assert asked[-2:] == ["watch-list", "list"]


async def _outage(
    target: Target,
    world: World,
    reflector: Reflector,
    end: str,
    change: Callable[[], Awaitable[None]],
) -> list[str]:
    """What the reflector asked of the dead server. Changes are made while the hub is gone; of the
    API server itself they can only be asked once it is back."""
    site = "pool" if target.is_hub else "cloud"
    reflector.asked.clear()
    if end == "crash":
        world.kill(site)
    else:
        await asyncio.to_thread(world.end, site)
    async with asyncio.timeout(10):
        for _ in range(2):
            await reflector.failed.acquire()
    asked = list(reflector.asked)
    if target.is_hub:
        await change()
    world.launch(site)
    await asyncio.to_thread(world.until_serving, site)
    if not target.is_hub:
        await change()
    return asked


async def _change(writes: Api, ns: str) -> None:
    await writes.delete("EndpointSlice", ns, "before")
    await writes.create(endpoint_slice("after"), ns)
