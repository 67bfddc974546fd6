"""The feeds on the node's disk."""

from __future__ import annotations

from collections.abc import Mapping

from loguru import logger

from bus.feed import Batch, Change, Item, Position
from edge.cache import FeedState
from edge.hub.keeping import FeedKeeper

A, B = Item(5, b"a"), Item(6, b"b")


class Disk:
    """Keeps what it is told, and can be full."""

    def __init__(self) -> None:
        self.held: dict[str, FeedState] = {}
        self.is_full = False
        self.saved: list[Batch] = []

    async def load_feed(self, feed: str) -> FeedState | None:
        return self.held.get(feed)

    def save_feed(self, feed: str, batch: Batch) -> bool:
        self.saved.append(batch)
        return not self.is_full

    def replace_feed(self, feed: str, items: Mapping[str, Item], position: Position) -> None:
        self.held[feed] = FeedState(dict(items), position, 0.0, True)

    def drop_feed(self, feed: str) -> None:
        self.held.pop(feed, None)


def batch(version: int) -> Batch:
    return Batch((Change("k", version, b"x"),), Position(1, version))


def keeper_of(disk: Disk, items: dict[str, Item], age: float = 0.0) -> FeedKeeper:
    keeper = FeedKeeper(disk, logger)
    keeper.follow("f", disk.held.get("f"), lambda: items, lambda: age)
    return keeper


async def test_the_first_batch_is_kept_with_all_that_was_there() -> None:
    disk = Disk()
    keeper_of(disk, {"a": A}).note("f", batch(7))
    assert disk.held["f"].items == {"a": A}
    assert disk.held["f"].position == Position(1, 7)


async def test_what_was_loaded_goes_on_and_is_not_written_again() -> None:
    disk = Disk()
    disk.replace_feed("f", {"a": A}, Position(1, 5))
    keeper = keeper_of(disk, {"b": B})
    keeper.note("f", batch(7))
    assert disk.held["f"].items == {"a": A}
    assert disk.saved == [batch(7)]


async def test_what_the_disk_missed_is_written_anew_later_on() -> None:
    disk = Disk()
    items = {"a": A}
    keeper = keeper_of(disk, items)
    keeper.note("f", batch(7))
    disk.is_full = True
    keeper.note("f", batch(8))
    items["b"] = B
    assert disk.held["f"].items == {"a": A}
    disk.is_full = False
    keeper.care()
    assert disk.held["f"].items == {"a": A, "b": B}
    assert disk.held["f"].position == Position(1, 8)


async def test_a_quiet_feed_is_said_to_be_current_only_while_it_is() -> None:
    for age, said in ((0.0, 1), (60.0, 0)):
        disk = Disk()
        keeper = keeper_of(disk, {}, age)
        keeper.note("f", batch(7))
        keeper.care()
        assert len(disk.saved) == said


async def test_a_damaged_feed_is_unknown() -> None:
    disk = Disk()
    disk.held["f"] = FeedState({"a": A}, Position(1, 5), 0.0, whole=False)
    assert await FeedKeeper(disk, logger).load("f") is None


async def test_a_feed_that_is_served_no_more_goes() -> None:
    disk = Disk()
    keeper = keeper_of(disk, {})
    keeper.note("f", batch(7))
    keeper.drop("f")
    keeper.care()
    assert "f" not in disk.held
