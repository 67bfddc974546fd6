from __future__ import annotations

import json
from typing import Any

from loguru import logger

from actors.kube.status_errors import service_unavailable
from edge.hub.condition import AGAIN, LOOK, STEADY, Autonomy, condition


class Server:
    def __init__(self) -> None:
        self.status = 200
        self.is_there = True
        self.now = 1000.0
        self.trouble = ""
        self.told: list[dict[str, Any]] = []
        self.autonomy = Autonomy("node-1", lambda: self.trouble, self, lambda: self.now, logger)

    async def request(
        self, method: str, path: str, headers: dict[str, str], body: bytes, identity: str
    ) -> tuple[int, bytes]:
        if not self.is_there:
            raise service_unavailable("no link")
        assert (method, path, identity) == ("PATCH", "/api/v1/nodes/node-1/status", "")
        (said,) = json.loads(body)["status"]["conditions"]
        self.told.append(said)
        return self.status, b"{}"


async def test_it_is_told_once_and_now_and_then() -> None:
    server = Server()
    for _ in range(3):
        await server.autonomy.look()
    assert server.told == [condition("", 1000.0, 1000.0)]
    server.now += AGAIN
    await server.autonomy.look()
    assert server.told[1:] == [condition("", 1000.0 + AGAIN, 1000.0)]


async def test_a_change_that_lasts_is_told_with_its_time() -> None:
    server = Server()
    await server.autonomy.look()
    server.now, server.trouble = 1005.0, "the disk is full"
    await server.autonomy.look()
    server.now += STEADY
    await server.autonomy.look()
    said = server.told[-1]
    assert (said["status"], said["message"]) == ("False", "the disk is full")
    assert said["lastTransitionTime"] == said["lastHeartbeatTime"]
    assert len(server.told) == 2


async def test_a_change_that_does_not_last_is_not_worth_the_bytes() -> None:
    server = Server()
    for number in range(50):
        server.trouble = "the disk is full" if number % 2 else ""
        await server.autonomy.look()
        server.now += LOOK
    assert len(server.told) == 1


async def test_while_nobody_can_be_asked_it_waits() -> None:
    server = Server()
    server.is_there = False
    await server.autonomy.look()
    server.is_there = True
    await server.autonomy.look()
    assert len(server.told) == 1


async def test_a_node_that_is_not_registered_yet_is_told_of_later() -> None:
    server = Server()
    server.status = 404
    await server.autonomy.look()
    server.status, server.now = 200, 1006.0
    await server.autonomy.look()
    await server.autonomy.look()
    assert len(server.told) == 2


async def test_who_does_not_want_to_know_is_asked_seldom() -> None:
    server = Server()
    server.status = 403
    for _ in range(3):
        await server.autonomy.look()
    assert len(server.told) == 1


async def test_a_node_that_nobody_registers_costs_ever_less() -> None:
    server = Server()
    server.status = 404
    for _ in range(int(24 * 3600 / LOOK)):
        await server.autonomy.look()
        server.now += LOOK
    assert len(server.told) < 24 * 6 + 12
