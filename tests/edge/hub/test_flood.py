"""A hub that is asked for more than it can do: whom it serves, whom it sends away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from prometheus_client import generate_latest

from edge.hub.seats import SeatSettings
from tests.actors.until import until
from tests.edge.gateways import World, world

MAPS = "/api/v1/namespaces/default/configmaps"
KUBELET = {"User-Agent": "kubelet/v1.36"}


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[World]:
    """No replica of ApiGate is there, so that writes stay where they are for a while."""
    async with world(tmp_path) as made:
        made.more["seats"] = SeatSettings(total=20, queue=3, wait=0.05)
        await made.restart_hub()
        await until(made.hub.knows_its_resources, "it knows what it serves itself")
        yield made


async def test_a_flood_of_one_component_leaves_room_for_kubelet(w: World) -> None:
    async with w.gate(), aiohttp.ClientSession(w.hub.url) as client:
        hold = asyncio.Event()
        real = w.hub._uplink._reached

        async def slow(stack, asked, body):  # type: ignore[no-untyped-def]
            if dict(asked.headers).get("User-Agent") == "flood/1":
                await hold.wait()
            return await real(stack, asked, body)

        w.hub._uplink._reached = slow  # type: ignore[method-assign]

        async def one(headers: dict[str, str]) -> tuple[int, str]:
            async with client.get(MAPS, headers=headers) as answer:
                await answer.read()
                return answer.status, answer.headers.get("Retry-After", "")

        flood = [asyncio.create_task(one({"User-Agent": "flood/1"}), name="one") for _ in range(60)]
        await until(lambda: sum(each.done() for each in flood) == 50, "most are sent away")
        for _ in range(10):
            assert await one(KUBELET) == (200, "")
            assert await one({"User-Agent": "kube-proxy/v1"}) == (200, "")
        hold.set()
        answers = [await each for each in flood]
        assert answers.count((200, "")) == 10  # as many are kept for others
        assert answers.count((429, "1")) == 50
    told = generate_latest(w.hub.context.metrics).decode()
    assert 'atoll_hub_refused_total{level="other"} 50.0' in told
    assert (
        'atoll_hub_requests_total{code="429",component="flood",resource="configmaps",verb="list"}'
        " 50.0" in told
    )
    assert 'atoll_hub_in_flight{level="other"} 0.0' in told


async def test_watches_hold_no_seats(w: World) -> None:
    """OpenYurt's limit of 250 counted them, and kubelet got 429s."""
    async with w.gate(), aiohttp.ClientSession(w.hub.url, headers=KUBELET) as client:
        watches = [await client.get(f"{MAPS}?watch=true") for _ in range(30)]
        assert {watch.status for watch in watches} == {200}
        assert not any(w.hub._seats.taken.values())
        told = generate_latest(w.hub.context.metrics).decode()
        labels = 'component="kubelet",resource="configmaps",verb="watch"'
        assert f"atoll_hub_watches{{{labels}}} 30.0" in told
        for watch in watches:
            watch.close()
