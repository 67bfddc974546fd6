"""The synchronous `kubernetes` client, in a thread: `Watch` and the shared informer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import kubernetes
import pytest
from kubernetes.client.exceptions import ApiException

from tests.interop.samples import collection, config_map, endpoint_slice, service
from tests.interop.target import DEADLINE, EXPIRED, Api, Target, version_of

kube: Any = kubernetes  # untyped


@pytest.fixture
def client(target: Target) -> Iterator[Any]:
    config = kube.client.Configuration()
    kube.config.load_kube_config(str(target.reads.kubeconfig), client_configuration=config)
    with kube.client.ApiClient(config) as client:
        yield client
        client.rest_client.pool_manager.clear()


async def test_a_watch_goes_on_over_its_ends(client: Any, reads: Api, writes: Api, ns: str) -> None:
    """The server ends it each second; `Watch` resumes it with the version that it has."""
    made = await writes.create(service("a"), ns)
    await reads.sees(collection("Service", ns), version_of(made))

    def follow(seen: Callable[[str, str], bool]) -> int:
        """Rounds of watching until `seen` has seen enough."""
        api = kube.client.CoreV1Api(client)
        version = api.list_namespaced_service(ns).metadata.resource_version
        started.set()
        watch = kube.watch.Watch()
        for rounds in range(1, 20):
            query = {"resource_version": version, "timeout_seconds": 1}
            for event in watch.stream(api.list_namespaced_service, ns, **query):
                if seen(event["type"], event["object"].metadata.name):
                    return rounds
            version = watch.resource_version
        raise AssertionError("never enough")

    started = threading.Event()
    events: list[tuple[str, str]] = []

    def seen(kind: str, name: str) -> bool:
        events.append((kind, name))
        return (kind, name) == ("DELETED", "b")

    following = asyncio.create_task(asyncio.to_thread(follow, seen))
    assert await asyncio.to_thread(started.wait, DEADLINE)
    await writes.create(service("b"), ns)
    await asyncio.sleep(1.2)  # over the end of a round: only time ends one
    await writes.create(service("c"), ns)
    await writes.delete("Service", ns, "b")
    rounds = await asyncio.wait_for(following, DEADLINE)
    assert rounds > 1
    assert events == [("ADDED", "b"), ("ADDED", "c"), ("DELETED", "b")]


async def test_too_old_is_an_api_exception(client: Any, ns: str) -> None:
    def follow() -> None:
        api = kube.client.CoreV1Api(client)
        query = {"resource_version": EXPIRED, "timeout_seconds": 5}
        for _ in kube.watch.Watch().stream(api.list_namespaced_config_map, ns, **query):
            raise AssertionError("an event of a forgotten past")

    with pytest.raises(ApiException) as caught:
        await asyncio.to_thread(follow)
    assert caught.value.status == 410


class Told:
    """What an informer's handlers were told, from its thread."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []
        self._loop = asyncio.get_running_loop()
        self._more = asyncio.Event()

    def handler(self, kind: str) -> Callable[[Any], None]:
        def take(obj: Any) -> None:
            name = obj.metadata.name if hasattr(obj, "metadata") else str(obj)
            self._loop.call_soon_threadsafe(self._add, (kind, name))

        return take

    def _add(self, event: tuple[str, str]) -> None:
        self.events.append(event)
        self._more.set()

    async def until(self, event: tuple[str, str]) -> None:
        async with asyncio.timeout(DEADLINE):
            while event not in self.events:
                self._more.clear()
                await self._more.wait()


async def test_the_informer(client: Any, reads: Api, writes: Api, ns: str) -> None:
    """Its cache is the server's state; it resyncs each second, so it watches again and again."""
    made = await writes.create(endpoint_slice("a"), ns)
    await reads.sees(collection("EndpointSlice", ns), version_of(made))
    api = kube.client.DiscoveryV1Api(client)
    informer = kube.informer.SharedInformer(
        api.list_namespaced_endpoint_slice, namespace=ns, resync_period=1
    )
    told = Told()
    for kind in ("ADDED", "MODIFIED", "DELETED", "ERROR"):
        informer.add_event_handler(kind, told.handler(kind))
    informer.start()
    try:
        await told.until(("ADDED", "a"))
        await told.until(("MODIFIED", "a"))  # its resync tells all anew
        await writes.create(endpoint_slice("b"), ns)
        await told.until(("ADDED", "b"))
        last = await writes.patch("EndpointSlice", ns, "b", {"metadata": {"labels": {"x": "y"}}})
        await told.until(("MODIFIED", "b"))
        await writes.delete("EndpointSlice", ns, "a")
        await told.until(("DELETED", "a"))
        assert not [event for event in told.events if event[0] == "ERROR"]
    finally:
        await asyncio.to_thread(informer.stop)  # breaks its connection off, which is an ERROR
    assert informer.cache.list_keys() == [f"{ns}/b"]
    held = informer.cache.get_by_key(f"{ns}/b")
    assert held.metadata.resource_version == str(version_of(last))


async def test_the_informer_lists_anew_after_410(
    client: Any, reads: Api, writes: Api, ns: str
) -> None:
    made = await writes.create(config_map("a", mine="1"), ns)
    await reads.sees(collection("ConfigMap", ns), version_of(made))
    api = kube.client.CoreV1Api(client)
    informer = kube.informer.SharedInformer(
        api.list_namespaced_config_map, namespace=ns, resync_period=2, label_selector="mine=1"
    )
    informer._resource_version = EXPIRED  # as if it had been away for long
    told = Told()
    for kind in ("ADDED", "ERROR"):
        informer.add_event_handler(kind, told.handler(kind))
    informer.start()
    try:
        await told.until(("ADDED", "a"))
    finally:
        await asyncio.to_thread(informer.stop)
    [(kind, text), *_] = told.events
    assert kind == "ERROR"
    assert "410" in text
    assert informer.cache.list_keys() == [f"{ns}/a"]
