"""In-flight limits: a flood of one level never keeps another one out."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress

import pytest

from actors.kube.status_errors import ApiError
from edge.hub.seats import Level, Seats, SeatSettings

KEPT = ((Level.NODE, 0.3), (Level.WORKLOAD, 0.2))
TEN = SeatSettings(total=10, kept=KEPT, queue=2, wait=0.05)


async def take(seats: Seats, level: Level, count: int) -> AsyncExitStack:
    stack = AsyncExitStack()
    for _ in range(count):
        await stack.enter_async_context(seats.of(level))
    return stack


async def test_a_flood_leaves_the_kept_seats_alone() -> None:
    seats = Seats(TEN)
    flood = await take(seats, Level.OTHER, 5)  # 3 are the node's, 2 the workloads'
    with pytest.raises(ApiError) as refused:
        await take(seats, Level.OTHER, 1)
    assert (refused.value.code, refused.value.retry_after) == (429, 1)
    async with await take(seats, Level.NODE, 3), await take(seats, Level.WORKLOAD, 2):
        assert seats.taken == {"kubelet": 0, "node": 3, "workload": 2, "other": 5}
    await flood.aclose()
    assert not any(seats.taken.values())


async def test_whoever_comes_has_the_rest() -> None:
    seats = Seats(TEN)
    async with await take(seats, Level.NODE, 8):
        assert seats.taken["node"] == 8


async def test_who_waits_gets_the_next_free_seat() -> None:
    seats = Seats(SeatSettings(total=10, kept=KEPT, wait=5.0))
    flood = await take(seats, Level.OTHER, 5)
    waiting = asyncio.create_task(take(seats, Level.OTHER, 1), name="waits")
    await asyncio.sleep(0)
    assert not waiting.done()
    await flood.aclose()
    await (await waiting).aclose()
    assert not any(seats.taken.values())


async def test_the_node_s_components_are_called_first() -> None:
    seats = Seats(SeatSettings(total=1, kept=(), wait=5.0))
    first = await take(seats, Level.OTHER, 1)
    called: list[str] = []

    async def one(level: Level) -> None:
        async with seats.of(level):
            called.append(level.value)

    tasks = [
        asyncio.create_task(one(level), name=level.value)
        for level in (Level.OTHER, Level.WORKLOAD, Level.NODE, Level.KUBELET)
    ]
    await asyncio.sleep(0)
    await first.aclose()
    await asyncio.gather(*tasks)
    assert called == ["kubelet", "node", "workload", "other"]


async def test_queues_are_bounded_and_refusals_counted() -> None:
    seats = Seats(SeatSettings(total=1, kept=(), queue=1, wait=5.0))
    async with await take(seats, Level.OTHER, 1):
        waiting = asyncio.create_task(take(seats, Level.OTHER, 1), name="waits")
        await asyncio.sleep(0)
        with pytest.raises(ApiError):
            await take(seats, Level.OTHER, 1)
        assert seats.refused == {"other": 1}
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert not any(seats.taken.values())


async def test_a_client_that_goes_when_it_is_called_leaves_its_seat_to_the_next() -> None:
    seats = Seats(SeatSettings(total=1, kept=(), wait=5.0))
    first = await take(seats, Level.OTHER, 1)
    goes = asyncio.create_task(take(seats, Level.OTHER, 1), name="goes")
    stays = asyncio.create_task(take(seats, Level.OTHER, 1), name="stays")
    await asyncio.sleep(0)
    await first.aclose()  # calls the first in the queue
    goes.cancel()
    with pytest.raises(asyncio.CancelledError):
        await goes
    await (await stays).aclose()
    assert not any(seats.taken.values())


@pytest.mark.parametrize("level", [Level.NODE, Level.WORKLOAD, Level.OTHER])
async def test_no_flood_keeps_the_kubelet_out(level: Level) -> None:
    seats = Seats(SeatSettings(wait=0.01))
    async with AsyncExitStack() as stack:
        with suppress(ApiError):
            for _ in range(seats.settings.total):
                await stack.enter_async_context(seats.of(level))
        assert seats.refused == {level.value: 1}
        for _ in range(80):
            await stack.enter_async_context(seats.of(Level.KUBELET))


async def test_who_sends_many_waits_for_himself() -> None:
    """Events, a thousand of them, and then a lease."""
    seats = Seats(SeatSettings(total=1, kept=(), queue=10, wait=5.0))
    first = await take(seats, Level.KUBELET, 1)
    called: list[str] = []

    async def one(flow: str) -> None:
        async with seats.of(Level.KUBELET, flow):
            called.append(flow)

    events = [asyncio.create_task(one("events"), name="event") for _ in range(50)]
    await asyncio.sleep(0)
    lease = asyncio.create_task(one("leases"), name="lease")
    await asyncio.sleep(0)
    assert seats.waiting["kubelet"] == 10
    await first.aclose()
    await lease
    refused = [r for r in await asyncio.gather(*events, return_exceptions=True) if r]
    assert called.index("leases") == 1
    assert len(refused) == 41  # one gave its place to the lease
    assert all(isinstance(each, ApiError) for each in refused)
    assert seats.refused == {"kubelet": 41}
    assert not any(seats.taken.values())
    assert not any(seats.waiting.values())
