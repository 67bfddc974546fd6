"""kr8s: list, get by name and label, watch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import kr8s
import pytest
import pytest_asyncio

from tests.interop.samples import GROUP, collection, config_map, endpoint_slice, service, widget
from tests.interop.target import DEADLINE, Api, Target, bare, version_of

# It knows Kubernetes up to 1.35 and warns of the 1.36 that our servers say they are.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Kubernetes version v1.* is not supported:UserWarning"
)


@pytest_asyncio.fixture
async def client(target: Target) -> AsyncIterator[Any]:
    api = await kr8s.asyncio.api(kubeconfig=str(target.reads.kubeconfig))
    yield api
    session: Any = api._session  # there is no public way
    await session.aclose()


async def test_it_knows_the_server(client: Any) -> None:
    assert (await client.version())["gitVersion"].startswith("v1.")
    resources = await client.api_resources()
    kinds = {(each["version"], each["kind"]) for each in resources}
    assert kinds >= {("v1", "Service"), ("discovery.k8s.io/v1", "EndpointSlice")}
    assert (f"{GROUP}/v1", "Widget") in kinds


async def test_lists(client: Any, reads: Api, writes: Api, ns: str) -> None:
    made = [await writes.create(service(name), ns) for name in ("b", "a")]
    await reads.sees(collection("Service", ns), version_of(made[-1]))
    found = [each async for each in client.get("services", namespace=ns)]
    assert [(each.name, each.metadata.resourceVersion) for each in found] == [
        (each["metadata"]["name"], each["metadata"]["resourceVersion"]) for each in made[::-1]
    ]
    assert [bare(each.to_dict()) for each in found] == [bare(each) for each in made[::-1]]
    everywhere = [each async for each in client.get("services", namespace=kr8s.ALL)]
    assert {(each.namespace, each.name) for each in everywhere} >= {(ns, "a"), (ns, "b")}


async def test_get_by_label_field_and_name(client: Any, reads: Api, writes: Api, ns: str) -> None:
    for name, tier in (("a", "web"), ("b", "db"), ("c", "web")):
        made = await writes.create(endpoint_slice(name, tier=tier), ns)
    await reads.sees(collection("EndpointSlice", ns), version_of(made))
    kind = "endpointslices.discovery.k8s.io"

    async def names(*only: str, **select: Any) -> list[str]:
        return [each.name async for each in client.get(kind, *only, namespace=ns, **select)]

    assert await names(label_selector={"tier": "web"}) == ["a", "c"]
    assert await names(label_selector="tier in (db)") == ["b"]
    assert await names(field_selector="metadata.name!=a") == ["b", "c"]
    assert await names("b") == ["b"]
    assert await names("nothing") == []
    with pytest.raises(kr8s.NotFoundError):
        await kr8s.asyncio.objects.Service.get("nothing", namespace=ns, api=client)


async def test_more_than_a_page(client: Any, reads: Api, writes: Api, ns: str) -> None:
    """It asks for a hundred at a time."""
    for number in range(105):
        made = await writes.create(config_map(f"c{number:03}", mine="1"), ns)
    await reads.sees(collection("ConfigMap", ns), version_of(made))
    found = client.get("configmaps", namespace=ns, label_selector="mine=1")
    assert [each.name async for each in found] == [f"c{number:03}" for number in range(105)]


async def test_a_custom_resource(client: Any, reads: Api, writes: Api, ns: str) -> None:
    made = await writes.create(widget("it", size=5), ns)
    await reads.sees(collection("Widget", ns), version_of(made))
    [found] = [each async for each in client.get(f"widgets.{GROUP}", namespace=ns)]
    assert found.raw.spec.size == 5


async def test_watch(client: Any, reads: Api, writes: Api, ns: str) -> None:
    made = await writes.create(service("a"), ns)
    await reads.sees(collection("Service", ns), version_of(made))
    watch = client.watch("services", namespace=ns)

    async def event() -> tuple[str, str]:
        async with asyncio.timeout(DEADLINE):
            kind, obj = await anext(watch)
        return kind, obj.name

    assert await event() == ("ADDED", "a")
    await writes.create(service("b"), ns)
    assert await event() == ("ADDED", "b")
    await writes.patch("Service", ns, "b", {"metadata": {"labels": {"x": "y"}}})
    assert await event() == ("MODIFIED", "b")
    await writes.delete("Service", ns, "a")
    assert await event() == ("DELETED", "a")
    await watch.aclose()


async def test_watch_since_a_version(client: Any, reads: Api, writes: Api, ns: str) -> None:
    begin = (await reads.get(collection("Service", ns)))["metadata"]["resourceVersion"]
    await writes.create(service("a", tier="web"), ns)
    await writes.create(service("b", tier="db"), ns)
    watch = client.watch("services", namespace=ns, label_selector="tier=db", since=begin)
    async with asyncio.timeout(DEADLINE):
        kind, obj = await anext(watch)
    assert (kind, obj.name) == ("ADDED", "b")
    await watch.aclose()
