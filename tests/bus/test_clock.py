"""A machine that was suspended knows how long: nothing it held before is as fresh as it was."""

from __future__ import annotations

import time

import pytest

from actors.actor import SystemClock
from bus import subjects
from bus.errors import LeaseLost
from bus.feed import Batch, Change, FeedFollower, FeedPublisher, Position
from bus.lease import Elector, MemoryLeases
from bus.memory import MemoryBroker, MemoryBus
from tests.actors.until import until


class Suspended:
    """Time that only CLOCK_BOOTTIME has counted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 0.0
        real = time.clock_gettime
        monkeypatch.setattr(
            time,
            "clock_gettime",
            lambda which: real(which) + self.seconds * (which == time.CLOCK_BOOTTIME),
        )


@pytest.fixture
def suspended(monkeypatch: pytest.MonkeyPatch) -> Suspended:
    return Suspended(monkeypatch)


async def test_what_is_held_has_aged(suspended: Suspended) -> None:
    async def ignore(_: Batch) -> None:
        return

    bus = MemoryBus(MemoryBroker(), "cloud")
    publisher = FeedPublisher(bus, subjects.CLOUD_FEEDS, "things")
    follower = FeedFollower(bus, subjects.CLOUD_FEEDS, "things", None, ignore)
    publisher.start()
    follower.start()
    await publisher.publish([Change("a", 1, b"one")], Position(1, 1))
    await until(follower.synced.is_set, "it has synced")
    suspended.seconds = 3600
    assert 3600 <= follower.age() < 3660
    await follower.stop()
    await publisher.stop()


async def test_leases_as_actors_hold_them_are_over(suspended: Suspended) -> None:
    clock = SystemClock().monotonic
    elector = Elector(MemoryLeases(), "boss", "me", ttl=60.0, renew=20.0, clock=clock)
    # One step takes the lease, without a task that would notice by its timer.
    while elector.status()["token"] is None:
        await elector._step()
    suspended.seconds = 3600
    assert elector.status()["is_leader"] is False
    with pytest.raises(LeaseLost):
        _ = elector.token
