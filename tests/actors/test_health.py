"""The health port: what each page says, and that a bad probe costs only its own answer."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from actors import health
from actors.health import HealthServer, Probes


class World:
    """What the probes say, to be changed by a test."""

    def __init__(self) -> None:
        self.reasons: list[str] = []
        self.status: dict[str, Any] = {"site": "pool-a"}
        self.failure: Exception | None = None
        self.hang: asyncio.Event | None = None

    async def ready(self) -> list[str]:
        if self.hang:
            await self.hang.wait()
        return self.reasons

    def metrics(self) -> str:
        if self.failure:
            raise self.failure
        return "# TYPE atoll_up gauge\natoll_up 1\n"

    async def tell(self) -> dict[str, Any]:
        return self.status


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def server(world: World) -> AsyncIterator[HealthServer]:
    server = HealthServer(Probes(world.ready, world.metrics, world.tell))
    yield server
    await server.stop()


async def get(address: tuple[str, int], page: str) -> tuple[int, str, str]:
    url = f"http://{address[0]}:{address[1]}{page}"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status, await response.text(), response.headers["Content-Type"]


async def test_a_port_is_chosen_and_told(server: HealthServer) -> None:
    host, port = await server.start()
    assert (host, port > 0) == ("127.0.0.1", True)
    assert (await get((host, port), "/healthz"))[:2] == (200, "ok\n")


async def test_readiness_gives_its_reasons(server: HealthServer, world: World) -> None:
    address = await server.start()
    assert (await get(address, "/readyz"))[:2] == (200, "ok\n")
    world.reasons = ["host node-1: starting", "bus: down"]
    assert (await get(address, "/readyz"))[:2] == (503, "host node-1: starting\nbus: down\n")


async def test_metrics_are_prometheus_text(server: HealthServer) -> None:
    status, text, kind = await get(await server.start(), "/metrics")
    assert (status, text) == (200, "# TYPE atoll_up gauge\natoll_up 1\n")
    assert kind == "text/plain; version=0.0.4; charset=utf-8"


async def test_status_is_json_even_of_odd_values(server: HealthServer, world: World) -> None:
    world.status["odd"] = asyncio.Event
    status, text, kind = await get(await server.start(), "/status")
    assert (status, kind) == (200, "application/json; charset=utf-8")
    assert '"site": "pool-a"' in text


async def test_a_failing_probe_costs_its_own_page(server: HealthServer, world: World) -> None:
    address = await server.start()
    world.failure = RuntimeError("no figures")
    status, text, _ = await get(address, "/metrics")
    assert (status, text) == (503, "failed: RuntimeError('no figures')\n")
    assert (await get(address, "/readyz"))[0] == 200


async def test_a_hanging_probe_is_given_up(
    server: HealthServer, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "ANSWER_SECONDS", 0.05)
    world.hang = asyncio.Event()
    status, text, _ = await get(await server.start(), "/readyz")
    assert (status, text) == (503, "no answer within 0.05 s\n")


async def test_other_pages_and_methods_are_refused(server: HealthServer) -> None:
    host, port = await server.start()
    assert (await get((host, port), "/"))[0] == 404
    url = f"http://{host}:{port}/status"
    async with aiohttp.ClientSession() as session, session.post(url) as response:
        assert response.status == 405


async def test_a_taken_port_is_an_error_that_leaves_nothing_open(
    server: HealthServer, world: World
) -> None:
    host, port = await server.start()
    other = HealthServer(Probes(world.ready, world.metrics, world.tell), host, port)
    with pytest.raises(OSError, match=r".*") as caught:
        await other.start()
    assert caught.value.errno == errno.EADDRINUSE
    await other.stop()


async def test_stopping_frees_the_port_and_ends_open_requests(
    server: HealthServer, world: World
) -> None:
    host, port = await server.start()
    world.hang = asyncio.Event()
    open_request = asyncio.ensure_future(get((host, port), "/readyz"))
    assert (await get((host, port), "/healthz"))[0] == 200  # so it has taken the other one, too
    async with asyncio.timeout(3):
        await server.stop()
    with pytest.raises(aiohttp.ClientError):
        await open_request
    await server.stop()
    again = HealthServer(Probes(world.ready, world.metrics, world.tell), host, port)
    assert await again.start() == (host, port)
    await again.stop()
