"""`kubernetes.aio`: lists, watches that resume, the dynamic client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from kubernetes import aio
from kubernetes.aio.client.exceptions import ApiException
from kubernetes.aio.dynamic.exceptions import NotFoundError

from tests.interop.samples import GROUP, collection, config_map, endpoint_slice, service, widget
from tests.interop.target import DEADLINE, EXPIRED, Api, Json, Target, bare, version_of

load_kube_config: Any = aio.config.load_kube_config  # untyped
Watch: Any = aio.watch.Watch  # untyped
DynamicClient: Any = aio.dynamic.DynamicClient  # untyped
CoreV1Api: Any = aio.client.CoreV1Api  # its annotations hold for requests, not for answers


@pytest_asyncio.fixture
async def client(target: Target) -> AsyncIterator[aio.client.ApiClient]:
    config = aio.client.Configuration()
    await load_kube_config(str(target.reads.kubeconfig), client_configuration=config)
    async with aio.client.ApiClient(config) as client:
        yield client


async def take(stream: AsyncIterator[Any], count: int) -> list[Any]:
    async with asyncio.timeout(DEADLINE):
        return [await anext(stream) for _ in range(count)]


async def test_typed_lists(client: Any, reads: Api, writes: Api, ns: str) -> None:
    made = [await writes.create(service(name), ns) for name in ("b", "a")]
    await reads.sees(collection("Service", ns), version_of(made[-1]))
    listed = await CoreV1Api(client).list_namespaced_service(ns)
    assert [(s.metadata.name, s.metadata.resource_version) for s in listed.items] == [
        (each["metadata"]["name"], each["metadata"]["resourceVersion"]) for each in reversed(made)
    ]
    assert [s.spec.cluster_ip for s in listed.items] == [m["spec"]["clusterIP"] for m in made[::-1]]
    one = await CoreV1Api(client).read_namespaced_service("a", ns)
    assert one.spec.ports[0].target_port == 8080


async def test_endpoint_slices(client: Any, reads: Api, writes: Api, ns: str) -> None:
    made = await writes.create(endpoint_slice("it", "10.0.0.1", "10.0.0.2"), ns)
    await reads.sees(collection("EndpointSlice", ns), version_of(made))
    api: Any = aio.client.DiscoveryV1Api(client)
    select = "kubernetes.io/service-name=it"
    [found] = (await api.list_namespaced_endpoint_slice(ns, label_selector=select)).items
    assert [each.addresses for each in found.endpoints] == [["10.0.0.1"], ["10.0.0.2"]]
    everywhere = await api.list_endpoint_slice_for_all_namespaces()
    assert (ns, "it") in {(e.metadata.namespace, e.metadata.name) for e in everywhere.items}


async def test_pages(client: Any, reads: Api, writes: Api, ns: str) -> None:
    for number in range(5):
        made = await writes.create(config_map(f"p{number}", mine="1"), ns)
    await reads.sees(collection("ConfigMap", ns), version_of(made))
    api = CoreV1Api(client)
    names: list[str] = []
    token: str | None = None
    while token != "":
        page = await api.list_namespaced_config_map(
            ns, label_selector="mine=1", limit=2, _continue=token
        )
        names += [each.metadata.name for each in page.items]
        token = page.metadata._continue or ""
    assert names == [f"p{number}" for number in range(5)]


async def test_a_watch_resumes_by_itself(client: Any, reads: Api, writes: Api, ns: str) -> None:
    """Our server ends it after a second; `Watch` comes back with the version it has."""
    api = CoreV1Api(client)
    begin = (await api.list_namespaced_service(ns)).metadata.resource_version
    watch = Watch()
    query = {"namespace": ns, "resource_version": begin, "timeout_seconds": 1}
    async with watch.stream(api.list_namespaced_service, **query) as stream:
        await writes.create(service("one"), ns)
        [first] = await take(stream, 1)
        with pytest.raises(StopAsyncIteration):
            await take(stream, 2)
    await writes.patch("Service", ns, "one", {"metadata": {"labels": {"a": "b"}}})
    await writes.delete("Service", ns, "one")
    await writes.create(service("two"), ns)
    query |= {"resource_version": watch.resource_version}
    del query["timeout_seconds"]
    seen = [(first["type"], first["object"].metadata.name)]
    async with Watch().stream(api.list_namespaced_service, **query) as stream:
        while seen[-1] != ("ADDED", "two"):
            [event] = await take(stream, 1)
            seen.append((event["type"], event["object"].metadata.name))
    assert [each for each in seen if each[0] != "MODIFIED"] == [
        ("ADDED", "one"),
        ("DELETED", "one"),
        ("ADDED", "two"),
    ]


async def test_bookmarks_move_a_watch_on(client: Any, reads: Api, writes: Api, ns: str) -> None:
    """An idle watch's own version grows with the bookmark at its end."""
    made = await writes.create(config_map("x"), ns)
    await reads.sees(collection("ConfigMap", ns), version_of(made))
    api = CoreV1Api(client)
    watch = Watch()
    query = {
        "resource_version": str(version_of(made)),
        "timeout_seconds": 4,
        "allow_watch_bookmarks": True,
        "field_selector": "metadata.name=nothing",
    }
    async with watch.stream(api.list_namespaced_config_map, ns, **query) as stream:
        events = [event async for event in stream]
    assert {event["type"] for event in events} == {"BOOKMARK"}
    assert int(str(watch.resource_version)) >= version_of(made)


async def test_too_old_is_an_api_exception(client: Any, ns: str) -> None:
    api = CoreV1Api(client)
    query = {"resource_version": EXPIRED, "timeout_seconds": 5}
    with pytest.raises(ApiException) as caught:
        async with Watch().stream(api.list_namespaced_config_map, ns, **query) as stream:
            await take(stream, 1)
    assert caught.value.status == 410


async def test_the_dynamic_client(client: Any, reads: Api, writes: Api, ns: str) -> None:
    """It finds the custom resource through discovery."""
    made = await writes.create(widget("it", size=3, tier="web"), ns)
    await reads.sees(collection("Widget", ns), version_of(made))
    async with DynamicClient(client) as dynamic:
        widgets = await dynamic.resources.get(api_version=f"{GROUP}/v1", kind="Widget")
        assert (widgets.name, widgets.namespaced) == ("widgets", True)
        listed = await widgets.get(namespace=ns, label_selector="tier=web")
        assert [bare(item.to_dict()) for item in listed.items] == [bare(made)]
        one = await widgets.get(namespace=ns, name="it")
        assert one.spec.size == 3
        with pytest.raises(NotFoundError):
            await widgets.get(namespace=ns, name="nothing")
        begin = listed.metadata.resourceVersion
        await writes.patch("Widget", ns, "it", {"spec": {"size": 4}})
        watch = dynamic.watch(widgets, namespace=ns, resource_version=begin, timeout=1)
        [event] = [each async for each in watch]  # to its end: it leaves a connection otherwise
    changed: Json = event["raw_object"]
    assert (event["type"], changed["spec"]["size"]) == ("MODIFIED", 4)
