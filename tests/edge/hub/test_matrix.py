"""Faults by activities: nothing lost, nothing doubled, in order; nobody lists anew without need.

A kubelet goes on with all that it does while a fault comes and goes: it lists and watches its pods
(as client-go does: resumes by version, lists after a 410), patches their status, creates events,
renews its lease, reads single objects. In the end the API server has what it said last, each event
once and in order, and its store is the API server's.
"""

from __future__ import annotations

import asyncio
import json
import resource
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.actors.until import until
from tests.edge.gateways import NODE, World, world
from tests.edge.hub.test_later import EVENTS, MERGE, MINE, an_event, at_the_server, ready
from tests.edge.hub.test_requests import KUBELET, PODS, Json, a_pod, create

LEASE = f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{NODE}"
PACE = 0.02  # seconds between acts
DEADLINE = 30.0
Fault = Callable[[World], Awaitable[None]]


# -- faults: each asserts that it happened ---------------------------------------------------------


async def hub_restarts(w: World) -> None:
    before = w.hub
    await w.hub._disk.flush()
    await w.restart_hub()
    assert w.hub is not before


async def cut(w: World, seconds: float) -> None:
    await w.server.stop()
    await until(lambda: not w.context.buses["cloud"].is_up, "the link is down")
    await asyncio.sleep(seconds)
    await w.server.start()
    await until(lambda: w.context.buses["cloud"].is_up, "the link is back", DEADLINE)


async def cut_shortly(w: World) -> None:
    await cut(w, 0.2)


async def cut_longer(w: World) -> None:
    await cut(w, 3.0)


async def cut_with_a_restart(w: World) -> None:
    await w.hub._disk.flush()
    await w.server.stop()
    await until(lambda: not w.context.buses["cloud"].is_up, "the link is down")
    await hub_restarts(w)
    await asyncio.sleep(0.5)
    await w.server.start()
    await until(lambda: w.context.buses["cloud"].is_up, "the link is back", DEADLINE)


async def api_server_away(w: World) -> None:
    """With its address and its history: it comes back as it was."""
    before, port = w.api, int(w.api.url.rpartition(":")[2])
    await w.api.stop()
    await asyncio.sleep(1.0)
    await w.restart_api(port)
    assert w.api is not before


async def flapping(w: World) -> None:
    for _ in range(5):
        await cut(w, 0.3)
        await asyncio.sleep(0.3)


FAULTS: dict[str, Fault] = {
    "hub restarts": hub_restarts,
    "cut, 0.2 s": cut_shortly,
    "cut, 3 s": cut_longer,
    "cut, hub restarts in it": cut_with_a_restart,
    "API server away": api_server_away,
    "link flaps": flapping,
}


# -- a kubelet -------------------------------------------------------------------------------------


class Kubelet:
    def __init__(self, w: World) -> None:
        self.w = w
        self.lists = 0
        self.store: dict[str, Json] = {}
        self.counter = 0  # of the status that was last taken
        self.events: list[str] = []  # that were taken
        self.renewed = 0
        self.refused: Counter[str] = Counter()
        self._stop = asyncio.Event()
        self._lease: Json = {}

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        await self._register()
        async with asyncio.TaskGroup() as group:
            for act in (self._watch, self._patch, self._create, self._renew, self._read):
                group.create_task(act(), name=act.__name__)
            try:
                await until(lambda: bool(self.store and self.counter), "it is at work", DEADLINE)
                yield
            finally:
                self._stop.set()

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[aiohttp.ClientSession]:
        async with aiohttp.ClientSession(headers=KUBELET) as session:
            yield session

    async def _register(self) -> None:
        body = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": NODE, "namespace": "kube-node-lease"},
            "spec": {"holderIdentity": NODE, "leaseDurationSeconds": 40},
        }
        async with self._session() as session:
            url = self.w.hub.url + LEASE.rpartition("/")[0]
            async with session.post(url, json=body) as answer:
                self._lease = await answer.json()
            async with session.get(self.w.hub.url + LEASE) as answer:
                assert answer.status == 200

    async def _again(
        self, what: str, act: Callable[[aiohttp.ClientSession], Awaitable[int]]
    ) -> int:
        """As often as it takes: a refusal, or a hub that is away, is no answer."""
        async with self._session() as session:
            while True:
                try:
                    status = await act(session)
                except (aiohttp.ClientError, ConnectionError):
                    status = 0
                if status and status < 500 and status != 429:
                    return status
                self.refused[what] += 1
                await asyncio.sleep(0.05)

    async def _patch(self) -> None:
        while not self._stop.is_set():
            number = self.counter + 1

            async def act(session: aiohttp.ClientSession, number: int = number) -> int:
                body = json.dumps(ready(str(number)))
                url = f"{self.w.hub.url}{MINE}/status"
                async with session.patch(url, data=body, headers=MERGE) as answer:
                    return answer.status

            assert await self._again("patch", act) == 200
            self.counter = number
            await asyncio.sleep(PACE)

    async def _create(self) -> None:
        while not self._stop.is_set():
            name = f"mine.{len(self.events):05}"

            async def act(session: aiohttp.ClientSession, name: str = name) -> int:
                url = self.w.hub.url + EVENTS
                async with session.post(url, json=an_event(name)) as answer:
                    return answer.status

            # 409: it was taken, and the answer got lost.
            assert await self._again("event", act) in (201, 409)
            self.events.append(name)
            await asyncio.sleep(PACE)

    async def _renew(self) -> None:
        while not self._stop.is_set():
            number = self.renewed + 1
            self._lease["spec"]["renewTime"] = _moment(number)

            async def act(session: aiohttp.ClientSession) -> int:
                async with session.put(self.w.hub.url + LEASE, json=self._lease) as answer:
                    if answer.status == 200:
                        self._lease = await answer.json()
                    return answer.status

            status = await self._again("lease", act)
            if status == 409:  # as client-go: read it, and try again
                await self._again("lease", self._read_lease)
                continue
            assert status == 200
            self.renewed = number
            await asyncio.sleep(PACE)

    async def _read_lease(self, session: aiohttp.ClientSession) -> int:
        async with session.get(self.w.hub.url + LEASE) as answer:
            if answer.status == 200:
                self._lease = await answer.json()
            return answer.status

    async def _read(self) -> None:
        """Never behind what was written before the read, and never an empty list."""
        while not self._stop.is_set():
            known = self.counter

            async def act(session: aiohttp.ClientSession, known: int = known) -> int:
                async with session.get(self.w.hub.url + MINE) as answer:
                    found = await answer.json()
                    if answer.status == 200:
                        assert _counter(found) >= known
                async with session.get(f"{self.w.hub.url}{PODS}&resourceVersion=0") as listed:
                    if listed.status == 200:
                        assert (await listed.json())["items"]
                    return answer.status

            assert await self._again("read", act) == 200
            await asyncio.sleep(PACE)

    async def _watch(self) -> None:
        version = ""
        while not self._stop.is_set():
            try:
                async with self._session() as session:
                    if not version:
                        version = await self._list(session)
                    version = await self._follow(session, version)
            except (aiohttp.ClientError, ConnectionError, TimeoutError):
                await asyncio.sleep(0.05)

    async def _list(self, session: aiohttp.ClientSession) -> str:
        async with session.get(self.w.hub.url + PODS) as answer:
            if answer.status != 200:
                await asyncio.sleep(0.05)
                return ""
            found = await answer.json()
        self.lists += 1
        self.store = {each["metadata"]["name"]: each for each in found["items"]}
        return str(found["metadata"]["resourceVersion"])

    async def _follow(self, session: aiohttp.ClientSession, version: str) -> str:
        query = f"&watch=true&allowWatchBookmarks=true&resourceVersion={version}"
        async with session.get(f"{self.w.hub.url}{PODS}{query}&timeoutSeconds=1") as watch:
            if watch.status != 200:
                await asyncio.sleep(0.05)
                return "" if watch.status == 410 else version
            while line := await watch.content.readline():
                event = json.loads(line)
                if event["type"] == "ERROR":
                    return "" if event["object"]["code"] == 410 else version
                version = event["object"]["metadata"]["resourceVersion"]
                self._note(event)
        return version

    def _note(self, event: Json) -> None:
        if event["type"] == "BOOKMARK":
            return
        name = event["object"]["metadata"]["name"]
        if event["type"] == "DELETED":
            self.store.pop(name, None)
        else:
            self.store[name] = event["object"]


def _counter(pod: Json) -> int:
    conditions = (pod.get("status") or {}).get("conditions") or [{"reason": "0"}]
    return max(int(each["reason"]) for each in conditions if each.get("type", "Ready") == "Ready")


def _moment(number: int) -> str:
    return f"2026-11-25T00:{number // 60 % 60:02}:{number % 60:02}.{number:06}Z"


# -- the matrix ------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_kubelet_goes_on(tmp_path: Path, fault: str) -> None:
    async with world(tmp_path) as w, w.gate():
        await create(w, a_pod("mine"))
        kubelet = Kubelet(w)
        async with asyncio.timeout(120), kubelet.at_work():
            await asyncio.sleep(0.3)
            await FAULTS[fault](w)
            await asyncio.sleep(0.3)
        await replayed(w)
        await is_all_there(w, kubelet)
        # A restarted hub has no window of events: who is behind the version on its disk lists.
        most = 2 if "restarts" in fault else 1
        assert kubelet.lists <= most, "nobody lists anew"


async def replayed(w: World) -> None:
    def is_empty() -> bool:
        waiting = w.hub._queue.pending
        return not (waiting["objects"] or waiting["events"])

    await until(is_empty, "all is replayed", DEADLINE)
    assert w.hub._queue.reports() == []


async def is_all_there(w: World, kubelet: Kubelet) -> None:
    pod = await at_the_server(w, MINE)
    assert _counter(pod) == kubelet.counter
    found = (await at_the_server(w, EVENTS))["items"]
    found.sort(key=lambda each: int(each["metadata"]["resourceVersion"]))
    assert [each["metadata"]["name"] for each in found] == kubelet.events
    lease = await at_the_server(w, LEASE)
    assert lease["spec"]["renewTime"] <= _moment(kubelet.renewed)
    mirror = next(m for m in w.hub._mirrors.all.values() if m.scope.resource.plural == "pods")

    def is_equal() -> bool:
        entry = mirror.cache.get("default/mine")
        return entry is not None and _counter(json.loads(entry.raw)) == kubelet.counter

    await until(is_equal, "the mirror is the API server's", DEADLINE)


@pytest.mark.nightly
@pytest.mark.timeout(900)
async def test_flapping_for_minutes_costs_no_memory(tmp_path: Path) -> None:
    """Every two seconds, five minutes long."""
    async with world(tmp_path) as w, w.gate():
        await create(w, a_pod("mine"))
        kubelet = Kubelet(w)
        async with asyncio.timeout(900), kubelet.at_work():
            await flapping(w)
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            for _ in range(75):
                await cut(w, 2.0)
                await asyncio.sleep(2.0)
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        await replayed(w)
        await is_all_there(w, kubelet)
        assert kubelet.lists == 1
        assert grown < 64 * 1024  # KB, for a client, a server, a gate and a hub in one process
