from __future__ import annotations

import time
from pathlib import Path

from bus.feed.types import Batch, Change, Item, Position
from tests.edge.cache.worlds import QUICK, change, item, opened, state


async def test_a_feed_comes_back_with_its_position(tmp_path: Path) -> None:
    async with opened(tmp_path / "db") as cache:
        assert await cache.load_feed("services_v1") is None
        cache.replace_feed("services_v1", state(10), Position(3, 10))
        for version in range(11, 80):
            assert cache.save_feed("services_v1", Batch((change(version),), Position(3, version)))
    async with opened(tmp_path / "db") as cache:
        held = await cache.load_feed("services_v1")
        assert held is not None
        assert held.whole
        assert held.position == Position(3, 79)
        assert held.items == state(79)


async def test_a_reset_takes_versions_back(tmp_path: Path) -> None:
    async with opened(tmp_path / "db") as cache:
        cache.replace_feed("f", {"x": item(50), "y": item(60)}, Position(1, 60))
        changes = (Change("x", 5, item(5).data), Change("y", 6, None))
        cache.save_feed("f", Batch(changes, Position(2, 6), reset=True))
        await cache.flush()
        held = await cache.load_feed("f")
        assert held is not None
        assert (held.items, held.position, held.whole) == ({"x": item(5)}, Position(2, 6), True)


async def test_feeds_are_neither_components_nor_each_others(tmp_path: Path) -> None:
    async with opened(tmp_path / "db") as cache:
        cache.replace_feed("a", state(20), Position(1, 20))
        cache.replace_feed("b", state(30), Position(1, 30))
        cache.drop_feed("a")
        await cache.flush()
        assert await cache.load_feed("a") is None
        held = await cache.load_feed("b")
        assert held is not None
        assert held.items == state(30)


async def test_a_feed_never_begun_does_not_go_on(tmp_path: Path) -> None:
    async with opened(tmp_path / "db") as cache:
        cache.save_feed("a", Batch((change(1),), Position(1, 1)))
        await cache.flush()
        assert not cache.save_feed("a", Batch((change(2),), Position(1, 2)))
        assert await cache.load_feed("a") is None


async def test_ten_thousand_objects_within_a_second(tmp_path: Path) -> None:
    """A node restarts with cloud and pool gone."""
    slices = {
        f"n/{n}": Item(n, f'{{"address":"10.0.0.{n}"}},'.encode() * 90) for n in range(10_000)
    }
    async with opened(tmp_path / "db") as cache:
        cache.replace_feed("endpointslices", slices, Position(1, 10_000))
    start = time.perf_counter()
    async with opened(tmp_path / "db", QUICK) as cache:
        held = await cache.load_feed("endpointslices")
        taken = time.perf_counter() - start
    assert held is not None
    assert held.whole
    assert held.items == slices
    assert taken < 1.0
