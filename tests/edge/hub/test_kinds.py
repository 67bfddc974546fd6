from __future__ import annotations

import asyncio

import msgspec
from loguru import logger

from actors.kube import builtin
from actors.kube.resource import Resource
from actors.kube.serve import discovery
from edge.hub.kinds import ASK_AGAIN, Kinds

WIDGETS = Resource(
    group="example.com", version="v1", plural="widgets", kind="Widget", namespaced=True
)


class Server:
    def __init__(self) -> None:
        self.asked = 0
        self.now = 0.0
        self.resources: tuple[Resource, ...] = (WIDGETS,)
        self.answer: bytes | None = None

    async def ask(self, path: str, accept: str) -> bytes | None:
        self.asked += 1
        assert path == "/apis"
        assert "APIGroupDiscoveryList" in accept
        await asyncio.sleep(0)
        if self.answer is not None:
            return self.answer
        groups = discovery.grouped(self.resources)
        return msgspec.json.encode(discovery.aggregated(groups, False, "v2", True))

    def kinds(self) -> Kinds:
        return Kinds(self.ask, lambda: self.now, logger)


async def test_built_in_ones_are_known() -> None:
    server = Server()
    assert await server.kinds().find("", "v1", "pods") == builtin.PODS
    assert await server.kinds().find("", "v1", "nonsense") is None
    assert server.asked == 0


async def test_others_are_asked_for_once() -> None:
    server = Server()
    kinds = server.kinds()
    found = await asyncio.gather(*(kinds.find("example.com", "v1", "widgets") for _ in range(9)))
    assert {each.kind for each in found if each} == {"Widget"}
    assert server.asked == 1


async def test_who_insists_on_what_there_is_not_asks_now_and_then() -> None:
    server = Server()
    server.resources = ()
    kinds = server.kinds()
    for _ in range(9):
        assert await kinds.find("example.com", "v1", "widgets") is None
    assert server.asked == 1
    server.now, server.resources = ASK_AGAIN, (WIDGETS,)
    assert await kinds.find("example.com", "v1", "widgets") is not None


async def test_an_answer_that_cannot_be_read_is_none() -> None:
    for answer in (b"{", b'{"items":[{"metadata":{},"versions":[{}]}]}'):
        server = Server()
        server.answer = answer
        assert await server.kinds().find("example.com", "v1", "widgets") is None
