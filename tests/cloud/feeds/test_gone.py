"""A resource that the API server serves no more, found out in the midst of other work."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from actors.kube import builtin
from actors.kube.reflector import ResourceGone
from actors.kube.resource import Resource
from bus.memory import MemoryBroker, MemoryBus
from cloud.feeds import actor, source
from cloud.feeds.actor import Feeds, FeedsSettings
from tests.actors.until import until
from tests.cloud.rig import running

CM = builtin.CONFIGMAPS


class FakeReflector:
    """Runs until its resource is gone."""

    made: list[FakeReflector]
    uid = ""

    def __init__(self, *_: object, **__: object) -> None:
        self.is_gone = asyncio.Event()
        self.made.append(self)

    def age(self) -> float:
        return 0.0

    async def run(self) -> None:
        await self.is_gone.wait()
        raise ResourceGone("gone")


@pytest.fixture
def reflectors(monkeypatch: pytest.MonkeyPatch) -> list[FakeReflector]:
    async def discover(_: object) -> list[Resource]:
        return [CM]

    async def resolve(_: object, name: str, among: Any) -> Resource:
        return CM

    monkeypatch.setattr(actor, "discover", discover)
    monkeypatch.setattr(actor, "resolve", resolve)
    monkeypatch.setattr(FakeReflector, "made", [], raising=False)
    monkeypatch.setattr(source, "Reflector", FakeReflector)
    monkeypatch.setattr(Feeds, "_watch_definitions", asyncio.Event().wait)
    return FakeReflector.made


async def test_a_feed_whose_reflector_has_ended_is_not_kept_by_an_older_look(
    tmp_path: Path, reflectors: list[FakeReflector]
) -> None:
    """It would never hear of a change again."""
    buses = {"cloud": MemoryBus(MemoryBroker(), "cloud")}
    async with running(Feeds, FeedsSettings(("configmaps",)), tmp_path, buses) as ran:
        feeds = ran.actor
        assert isinstance(feeds, Feeds)
        await until(lambda: len(reflectors) == 1, "it runs")
        async with feeds._applying:  # somebody else is at work
            reflectors[0].is_gone.set()
            await until(lambda: not feeds._found, "its end is seen")
            look = asyncio.create_task(feeds._discover(), name="look")
            await until(lambda: bool(feeds._found), "a look finds it, for a server that lags")
        await look
        await until(lambda: len(reflectors) == 2, "it is followed anew")
        assert not reflectors[1].is_gone.is_set()
