"""A node whose link is cut works through its leader's, under its own name. All is real."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import yaml

from bus.stream import Request
from edge.hub.actor import Hub
from tests.actors.until import until
from tests.cloud.apiserver.test_kubectl import Kubectl
from tests.edge.gateways import DEADLINE, POOL
from tests.edge.hub.test_uplink import create, named, newest, pod
from tests.edge.pools import Pool, PoolNode, pool


@pytest.fixture
async def p(tmp_path: Path) -> AsyncIterator[Pool]:
    async with pool(tmp_path, "lender", "borrower") as made:
        yield made


@pytest.fixture
def borrower(p: Pool) -> PoolNode:
    return p.nodes["borrower"]


def way(node: PoolNode) -> str:
    return str(node.hub.status()["way"])


async def borrows(node: PoolNode, of: str = "") -> None:
    def does() -> bool:
        status = node.hub.status()
        return status["way"] == "borrowed" and of in ("", status["lender"])

    await until(does, f"{node.name} borrows a link {of}")


def kubectl(hub: Hub, path: Path) -> Kubectl:
    config = {
        "clusters": [{"name": "hub", "cluster": {"server": hub.url}}],
        "contexts": [{"name": "hub", "context": {"cluster": "hub", "user": ""}}],
        "current-context": "hub",
    }
    file = path / "hub.kubeconfig"
    file.write_text(yaml.safe_dump(config))
    return Kubectl(file, path)


@pytest.mark.parametrize("fault", ["cut", "black_hole"])
async def test_kubectl_reads_and_writes(p: Pool, borrower: PoolNode, fault: str) -> None:
    getattr(borrower.line, fault)()
    await borrows(borrower)
    run = kubectl(borrower.hub, p.path)
    assert "created" in await run("apply", "-f", "-", stdin=pod())
    assert "p " in await run("get", "pods")
    await run("patch", "pod/p", "--type=merge", "-p", '{"metadata":{"labels":{"a":"b"}}}')
    assert "a=b" in await run("describe", "pod", "p")
    assert "deleted" in await run("delete", "pod", "p", "--now")
    assert p.nodes["lender"].leader.status()["lent_requests"] > 4
    borrower.line.heal()
    told = [json.loads(line) for line in await p.audit() if "/pods" in line]
    writes = [each for each in told if each["verb"] != "get"]  # of what was not there
    assert [each["verb"] for each in writes] == ["create", "patch", "delete"]
    assert {each["as"] for each in writes} == {"system:node:borrower"}


async def test_a_request_under_way_is_asked_again(p: Pool, borrower: PoolNode) -> None:
    """It went into a black hole; the client waits, and sees nothing of it."""
    async with aiohttp.ClientSession(borrower.hub.url) as client:
        borrower.line.black_hole()
        assert way(borrower) == "own"
        async with asyncio.timeout(DEADLINE), client.get("/api/v1/configmaps") as answer:
            assert answer.status == 200
        assert way(borrower) == "borrowed"
        borrower.line.heal()


async def test_a_large_object_both_ways(p: Pool, borrower: PoolNode) -> None:
    borrower.line.cut()
    await borrows(borrower)
    text = "".join(map(str, range(150_000)))
    path = f"{borrower.hub.url}/api/v1/namespaces/default/configmaps"
    body = named("ConfigMap", "big") | {"data": {"text": text}}
    async with aiohttp.ClientSession() as client:
        async with client.post(path, json=body) as made:
            assert made.status == 201, await made.text()
        async with client.get(f"{path}/big") as got:
            assert (await got.json())["data"]["text"] == text


async def test_a_watch_goes_on_by_whichever_way(p: Pool, borrower: PoolNode) -> None:
    """Own, borrowed, own again: every event comes once, the client sees one answer."""
    async with aiohttp.ClientSession() as direct, aiohttp.ClientSession(borrower.hub.url) as client:
        query = f"?watch=true&resourceVersion={await newest(client)}"
        async with client.get(f"/api/v1/configmaps{query}") as watch, asyncio.timeout(DEADLINE):
            await create(direct, p.api.url, "first")
            borrower.line.cut()
            await borrows(borrower)
            await create(direct, p.api.url, "second")
            names = [await name_of(watch) for _ in range(2)]
            borrower.line.heal()
            await until(lambda: way(borrower) == "own", "its own way again")
            lender = p.nodes["lender"].leader
            await until(lambda: lender.status()["lent_streams"] == 0, "nothing is lent any more")
            await create(direct, p.api.url, "third")
            assert [*names, await name_of(watch)] == ["first", "second", "third"]


async def test_a_watch_goes_on_when_the_lender_dies(tmp_path: Path) -> None:
    async with (
        pool(tmp_path, "lender", "heir", "borrower") as p,
        aiohttp.ClientSession() as direct,
        aiohttp.ClientSession(p.nodes["borrower"].hub.url) as client,
    ):
        borrower = p.nodes["borrower"]
        borrower.line.cut()
        await borrows(borrower, "lender")
        query = f"?watch=true&resourceVersion={await newest(client)}"
        async with client.get(f"/api/v1/configmaps{query}") as watch, asyncio.timeout(2 * DEADLINE):
            await create(direct, p.api.url, "before")
            assert await name_of(watch) == "before"
            await p.nodes["lender"].die()
            await create(direct, p.api.url, "meanwhile")
            assert await name_of(watch) == "meanwhile"
            await borrows(borrower, "heir")
            await create(direct, p.api.url, "after")
            assert await name_of(watch) == "after"


async def test_a_lender_that_loses_its_link_lends_no_more(p: Pool, borrower: PoolNode) -> None:
    borrower.line.cut()
    await borrows(borrower)
    p.nodes["lender"].line.cut()
    await until(lambda: way(borrower) == "none", "there is no way")
    async with aiohttp.ClientSession(borrower.hub.url) as client:
        async with client.get("/api/v1/pods") as answer:
            assert answer.status == 503
        p.nodes["lender"].line.heal()
        await borrows(borrower, "lender")
        async with client.get("/api/v1/pods") as answer:
            assert answer.status == 200


async def test_a_node_that_is_revoked_borrows_no_more(p: Pool, borrower: PoolNode) -> None:
    borrower.line.cut()
    await borrows(borrower)
    file = p.enrolment / f"{POOL}.borrower.pub"
    key = file.read_text()
    file.unlink()
    await until(lambda: way(borrower) == "none", "its session is over")
    file.write_text(key)
    await borrows(borrower)


async def test_nobody_acts_as_the_lender(p: Pool, borrower: PoolNode) -> None:
    """A plain request over the pool's bus would be the lender's own to ApiGate."""
    borrower.line.cut()
    await borrows(borrower)
    before = p.nodes["lender"].leader.status()["lent_requests"]
    lent = borrower.hub._ways._borrowed
    assert lent is not None
    with pytest.raises(Exception, match="only sealed requests"):
        async with lent._client.open(Request("GET", "/api/v1/pods"), b"", "lender"):
            pass
    assert p.nodes["lender"].leader.status()["lent_requests"] == before + 1


async def name_of(watch: aiohttp.ClientResponse) -> str:
    return str(json.loads(await watch.content.readline())["object"]["metadata"]["name"])
