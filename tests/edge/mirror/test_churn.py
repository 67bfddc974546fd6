"""Writes and faults in any order: at the end a mirror, and who watches it, know what there is."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import msgspec
import pytest

from actors.kube.filters import EVERYTHING
from actors.kube.resource import path_of
from actors.kube.watchcache import TooOld, see
from edge.mirror import Mirror
from tests.actors.until import until
from tests.edge.mirror.worlds import MINE, PODS, World, world

STEPS = 80


class Client:
    """A reflector: lists, then applies events; lists anew when it is told to."""

    def __init__(self, mirror: Mirror) -> None:
        self._cache = mirror.cache
        self.held: dict[str, bytes] = {}
        self.lists = 0
        self._list()

    def _list(self) -> None:
        snapshot = self._cache.snapshot()
        self.held = {entry.key: entry.raw for entry in snapshot.entries}
        self._watcher = self._cache.watch(snapshot.version)
        self.lists += 1

    def take(self) -> dict[str, bytes]:
        try:
            while (taken := self._watcher.take()) is not None:
                for event in taken.events:
                    seen = see(event, EVERYTHING, self._cache.reader)
                    assert seen is not None
                    is_known = event.key in self.held
                    assert is_known is (seen.type != "ADDED")
                    self.held[event.key] = seen.raw
                    if seen.type == "DELETED":
                        del self.held[event.key]
        except TooOld:
            self._list()
        return self.held


async def write(w: World, rng: random.Random, step: int) -> None:
    pods = {entry.key for entry in w.api.registry.storages["pods"].cache.snapshot().entries}
    name = f"pod-{rng.randrange(30):04}"
    if f"default/{name}" not in pods:
        w.put_pods(1, size=rng.choice([0, 2000]), start=int(name[-4:]))
    elif rng.random() < 0.3:
        await w.delete(name)
    else:
        await w.touch(name, f"step {step}")


async def fault(w: World, rng: random.Random, mirror: Mirror) -> None:
    kind = rng.choice(["link", "history", "restart", "pause", "memory"])
    if kind == "link":
        await w.gateways.server.stop()
        await write(w, rng, 0)
        await w.gateways.server.start()
    elif kind == "history":
        w.api.forget_history()
    elif kind == "restart":
        await w.api.stop()
        await w.api.start()
    elif kind == "pause":
        await mirror.pause()
        await write(w, rng, 0)
        mirror.start()
    else:
        w.asked.clear()


@pytest.mark.parametrize("seed", range(2))
async def test_all_is_well_in_the_end(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(seed)
    async with world(tmp_path, monkeypatch) as w, w.gateways.gate(), w.hub():
        w.put_pods(10)
        mirror = await w.mirror(MINE)
        client = Client(mirror)
        for step in range(STEPS):
            await (fault(w, rng, mirror) if rng.random() < 0.1 else write(w, rng, step))
            if rng.random() < 0.3:
                client.take()
        await until(lambda: mirror.is_live, "live again", 20.0)
        version = w.api.store.version
        await w.touch(*await newest(w))
        await until(lambda: mirror.cache.version > version, "the last change")
        there = await contents(w)
        assert decoded(client.take()) == there
        assert decoded({e.key: e.raw for e in mirror.cache.snapshot().entries}) == there
        assert decoded({key: item.data for key, item in mirror._follow.items.items()}) == there
        await w.disk.flush()
        view = await w.disk.list("hub", MINE.query)
        assert view is not None
        assert decoded({key: item.data for key, item in view.items.items()}) == there
        assert client.lists == 1  # nothing that happened made it list anew


async def newest(w: World) -> tuple[str, str]:
    w.put_pods(1, start=99)
    return "pod-0099", "last"


async def contents(w: World) -> dict[str, Any]:
    found = msgspec.json.decode(await w.client.get(path_of(PODS)))["items"]
    for each in found:
        each["metadata"].pop("managedFields", None)
    return {
        f"default/{each['metadata']['name']}": {"kind": "Pod", "apiVersion": "v1"} | each
        for each in found
    }


def decoded(objects: dict[str, bytes]) -> dict[str, Any]:
    return {key: msgspec.json.decode(raw) for key, raw in objects.items()}
