"""Where a hub differs from the API server behind it: each line of the table in `__init__.py`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.interop.conftest import MORE_FEEDS, make_target, own_namespace
from tests.interop.kubectl import Kubectl
from tests.interop.samples import collection, config_map, sample
from tests.interop.target import Api, Target, Watching, stripped, version_of
from tests.interop.world import FIRST_FEEDS, NODES, STALE_AFTER, World


@pytest.fixture
def hub(request: pytest.FixtureRequest, tmp_path: Path) -> Target:
    return make_target(request, "hub", tmp_path)


@pytest_asyncio.fixture
async def reads(hub: Target) -> AsyncIterator[Api]:
    async with hub.reads.open() as api:
        yield api


@pytest_asyncio.fixture
async def writes(hub: Target) -> AsyncIterator[Api]:
    async with hub.writes.open() as api:
        yield api


@pytest.fixture
def kubectl(hub: Target, kubectl_home: Path) -> Kubectl:
    return Kubectl(hub.reads.kubeconfig, "default", kubectl_home / "hub")


async def test_resources_are_those_of_the_feeds(
    first_served: frozenset[str], world: World, reads: Api, writes: Api
) -> None:
    """And more of them come while everything runs."""
    assert first_served == {"services.v1", "endpointslices.v1.discovery.k8s.io"}
    for node in NODES:
        served = {_in_file(name) for name in world.served(node)}
        assert served == {*FIRST_FEEDS, *MORE_FEEDS}
    path = collection("Secret", "default")  # the others come from the API server
    assert (await reads.ask(path)).json["kind"] == (await writes.ask(path)).json["kind"]


def _in_file(name: str) -> str:
    """plural.version.group as a site file has it."""
    plural, _, group = name.split(".", 2) if name.count(".") > 1 else (*name.split("."), "")
    return f"{plural}.{group}".rstrip(".")


async def test_managed_fields_stay_behind(reads: Api, writes: Api) -> None:
    async with own_namespace(writes) as ns:
        made = await writes.create(config_map("it"), ns)
        assert made["metadata"]["managedFields"]
        path = collection("ConfigMap", ns)
        await reads.sees(path, version_of(made))
        [at_hub] = await reads.list(path)
    assert "managedFields" not in at_hub["metadata"]
    assert at_hub == stripped(made)


async def test_a_list_has_the_newest_version_of_its_resource(reads: Api, writes: Api) -> None:
    """Of the whole cluster at the API server; both are versions to watch from, at either."""
    async with own_namespace(writes) as ns:
        made = await writes.create(config_map("it"), ns)
        path = collection("EndpointSlice")
        truth = await writes.get(path)
        at_hub = await reads.get(path)
        assert version_of(truth) >= version_of(made)
        assert version_of(at_hub) <= version_of(truth)
        async with (
            reads.watch(path, resourceVersion=version_of(truth)) as here,
            writes.watch(path, resourceVersion=version_of(at_hub)) as there,
        ):
            late = await writes.create(sample("EndpointSlice", "late"), ns)
            events = [(await watching.take(1))[0] for watching in (here, there)]
    assert [event.version for event in events] == [version_of(late)] * 2


async def test_a_burst_may_be_told_in_fewer_events(reads: Api, writes: Api) -> None:
    """What the hub tells is part of what the API server tells, and the end is the same."""
    async with own_namespace(writes) as ns:
        made = await writes.create(config_map("it"), ns)
        path = collection("ConfigMap", ns)
        await reads.sees(path, version_of(made))
        begin = version_of(made)
        async with (
            reads.watch(path, resourceVersion=begin) as here,
            writes.watch(path, resourceVersion=begin) as there,
        ):
            for number in range(50):
                last = await writes.patch("ConfigMap", ns, "it", {"data": {"n": str(number)}})
            told, truth = [await _up_to(watching, version_of(last)) for watching in (here, there)]
    assert len(truth) == 50
    assert set(told) <= set(truth)
    assert told == sorted(told)
    assert told[-1] == truth[-1]


async def _up_to(watching: Watching, version: int) -> list[int]:
    found: list[int] = []
    while not found or found[-1] < version:
        found += [event.version for event in await watching.take(1)]
    return found


async def test_old_data_says_so(world: World, reads: Api, kubectl: Kubectl) -> None:
    """Cut off from the cloud, it serves on and tells how old that is."""
    path = collection("Service")
    await _warned(reads, path, False)  # a world that has just started may not know yet
    world.kill("cloud")
    try:
        text = await _warned(reads, path, True)
        assert text.startswith('299 - "served from the edge cache, last known current ')
        shown = await kubectl("get services")
        assert "Warning: served from the edge cache" in shown.err
        assert "kubernetes" in shown.names
    finally:
        world.launch("cloud")
        await asyncio.to_thread(world.until_serving, "cloud")
    await _warned(reads, path, False)


async def _warned(reads: Api, path: str, wanted: bool) -> str:
    """The Warning, once there is one, or none; only time brings it about."""
    for _ in range(100):
        answer = await reads.ask(path)
        assert answer.status == 200
        assert answer.json["items"]
        text = answer.headers.get("Warning", "")
        if bool(text) is wanted:
            return text
        await asyncio.sleep(STALE_AFTER / 20)
    raise AssertionError(f"still: {text!r}")
