"""What a mirror tells the disk, and what becomes of what the disk missed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from loguru import logger

from bus.feed.types import Change, Item
from edge.cache import ListQuery, View, list_query
from edge.mirror.follow import Step
from edge.mirror.keeping import Keeper
from tests.edge.cache.worlds import opened
from tests.edge.mirror.worlds import MINE

ITEMS = {"a/x": Item(3, b"{}")}


class Disk:
    """One that may miss what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int]] = []
        self.is_frozen = False

    async def list(self, component: str, query: ListQuery) -> View | None:
        return None

    def replace(
        self, component: str, query: ListQuery, version: int, items: Mapping[str, Item],
        *, went_back: bool = False,
    ) -> None:  # fmt: skip
        self.is_frozen = False
        self.told.append(("back" if went_back else "all", version))

    def apply(
        self, component: str, query: ListQuery, changes: Sequence[Change], version: int
    ) -> bool:
        if not self.is_frozen:
            self.told.append((f"{len(changes)}", version))
        return not self.is_frozen


def test_what_the_disk_missed_it_gets_anew_but_not_at_once() -> None:
    disk = Disk()
    keeper = Keeper(disk, MINE, logger)
    change = Change("a/x", 4, b"{}")
    keeper.note(Step((change,), is_whole=True), ITEMS, 3)
    keeper.note(Step((change,)), ITEMS, 4)
    disk.is_frozen = True
    for version in range(5, 10):
        keeper.note(Step((change,)), ITEMS, version)
    keeper.care(ITEMS, 9)
    keeper.care(ITEMS, 9)
    keeper.note(Step((change,), is_whole=True, went_back=True), ITEMS, 2)
    assert disk.told == [("all", 3), ("1", 4), ("all", 9), ("0", 9), ("back", 2)]


async def test_only_what_was_this_scopes_own_is_loaded(tmp_path: Path) -> None:
    """A wider list holds its objects as well, but not at a version that this one may go on from."""
    async with opened(tmp_path / "cache.db") as disk:
        keeper = Keeper(disk, MINE, logger)
        assert await keeper.load() is None
        disk.replace("hub", list_query(MINE.resource.name), 9, ITEMS)
        disk.replace("hub:other", MINE.query, 9, ITEMS)
        await disk.flush()
        assert await keeper.load() is None
        keeper.note(Step((), is_whole=True), ITEMS, 5)
        await disk.flush()
        view = await keeper.load()
        assert view is not None
        assert (view.version, view.items) == (5, ITEMS)
