"""Targets: the embedded API server, a hub over it, and the cluster of ATOLL_TEST_KUBECONFIG."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.interop.samples import GROUP, WIDGETS, namespace, node
from tests.interop.target import Access, Api, Target
from tests.interop.world import FIRST_FEEDS, NODES, World

KUBECONFIG = os.environ.get("ATOLL_TEST_KUBECONFIG", "")
OURS = ("embedded", "hub")
TARGETS = (*OURS, "cluster") if KUBECONFIG else OURS
API_SERVERS = tuple(name for name in TARGETS if name != "hub")
NODE = "interop-node"
MORE_FEEDS = (  # what the captured requests ask for, a built-in and a custom resource
    "configmaps",
    f"widgets.{GROUP}",
    "nodes",
    "pods",
    "events",  # `kubectl describe` asks for them
    "namespaces",  # `kubectl get` looks whether it is the namespace that is missing
    "leases.coordination.k8s.io",
    "servicecidrs.networking.k8s.io",
    "csidrivers.storage.k8s.io",
    "csinodes.storage.k8s.io",
    "runtimeclasses.node.k8s.io",
)


@pytest.fixture(scope="session")
def bare_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Both sites up, feeds as at their start."""
    world = World(tmp_path_factory.mktemp("interop"))
    try:
        world.start("cloud")
        world.start("pool")
        yield world
    finally:
        world.stop()


@pytest.fixture(scope="session")
def first_served(bare_world: World) -> frozenset[str]:
    """What a hub served before more feeds were added."""
    bare_world.until(lambda: len(bare_world.served(NODES[0])) >= len(FIRST_FEEDS), "first feeds")
    return bare_world.served(NODES[0])


@pytest.fixture(scope="session")
def world(bare_world: World, first_served: frozenset[str]) -> World:
    """With all feeds, added while everything runs: an edit of the cloud's site file."""
    feeds = (*FIRST_FEEDS, *MORE_FEEDS)
    for each in (WIDGETS, node(NODE)):
        kubectl(bare_world.kubeconfig, "create", "-f", "-", stdin=json.dumps(each))
    bare_world.churn()
    bare_world.write_cloud(feeds)
    bare_world.until(lambda: all(_all_served(bare_world, len(feeds))), "all feeds at all hubs")
    return bare_world


def _all_served(world: World, count: int) -> Iterator[bool]:
    return (len(world.served(node)) == count for node in NODES)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Access]:
    """The cluster of ATOLL_TEST_KUBECONFIG, with our CRD while the tests run."""
    config = Path(KUBECONFIG).expanduser().absolute()
    kubectl(config, "create", "-f", "-", stdin=json.dumps(WIDGETS))
    try:
        kubectl(config, "wait", "--for=condition=Established", f"crd/{WIDGETS['metadata']['name']}")
        yield Access.read(config)
    finally:
        kubectl(config, "delete", "crd", WIDGETS["metadata"]["name"])


def kubectl(kubeconfig: Path, *arguments: str, stdin: str = "") -> str:
    """For what fixtures of a whole session do."""
    command = ["kubectl", "--kubeconfig", str(kubeconfig), *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


@pytest.fixture(params=TARGETS)
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Target:
    return make_target(request, request.param, tmp_path)


@pytest.fixture(params=OURS)
def own_target(request: pytest.FixtureRequest, tmp_path: Path) -> Target:
    """For what nobody should do to a cluster."""
    return make_target(request, request.param, tmp_path)


def make_target(request: pytest.FixtureRequest, name: str, directory: Path) -> Target:
    if name == "cluster":
        access: Access = request.getfixturevalue("cluster")
        return Target(name, access, access)
    world: World = request.getfixturevalue("world")
    access = Access.read(world.kubeconfig)
    if name == "embedded":
        return Target(name, access, access)
    return Target(name, Access.plain(directory / "hub.kubeconfig", world.hub_url(NODES[0])), access)


@pytest_asyncio.fixture
async def reads(target: Target) -> AsyncIterator[Api]:
    async with target.reads.open() as api:
        yield api


@pytest_asyncio.fixture
async def writes(target: Target) -> AsyncIterator[Api]:
    async with target.writes.open() as api:
        yield api


@pytest_asyncio.fixture
async def ns(writes: Api) -> AsyncIterator[str]:
    """A namespace of the test's own."""
    async with own_namespace(writes) as name:
        yield name


@contextlib.asynccontextmanager
async def own_namespace(writes: Api) -> AsyncIterator[str]:
    name = f"interop-{uuid.uuid4().hex[:8]}"
    await writes.create(namespace(name))
    try:
        yield name
    finally:
        await writes.delete("Namespace", "", name)


@pytest.fixture(scope="session")
def kubectl_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """kubectl keeps discovery on disk, by the server's address: not from one run to the next."""
    return tmp_path_factory.mktemp("kubectl")


async def kill_and_start(target: Target, world: World) -> None:
    """The target's process is killed (-9) and started again on the same port."""
    site = "pool" if target.is_hub else "cloud"
    world.kill(site)
    world.launch(site)
    await asyncio.to_thread(world.until_serving, site)
