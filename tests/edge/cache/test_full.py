"""A disk that is full or fails: writes fail softly, are told of once, and reads go on."""

from __future__ import annotations

import asyncio
import resource
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from random import Random

from bus.feed.types import Item, Position
from edge.cache.database import aside
from tests.edge.cache.worlds import MINE, QUICK, change, opened, state, told


def noise(size: int) -> dict[str, Item]:
    return {f"n/{n}": Item(1, Random(n).randbytes(10_000)) for n in range(size // 10_000)}


async def test_no_room_for_what_may_not_be_evicted(tmp_path: Path) -> None:
    async with told() as messages, opened(tmp_path / "db", replace(QUICK, limit=400_000)) as cache:
        cache.replace_feed("small", state(40), Position(1, 40))
        assert await cache.flush()
        for _ in range(3):
            cache.replace_feed("large", noise(900_000), Position(1, 1))
            assert not await cache.flush()
        assert cache.counts["writes.failed"] == 3
        assert len(messages.errors) == 1
        held = await cache.load_feed("small")
        assert held is not None
        assert held.items == state(40)
        cache.replace("kubelet", MINE, 9, state(9))
        assert await cache.flush()
        assert await cache.list("kubelet", MINE) is not None


async def test_a_disk_that_takes_no_more_and_then_does_again(tmp_path: Path) -> None:
    """In a process of its own, whose files may not grow: its limit is no other test's."""
    await in_child("live", tmp_path / "db")


async def in_child(what: str, path: Path) -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.edge.cache.test_full", what, str(path),
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, errors = await child.communicate()
    assert child.returncode == 0, errors.decode()


async def live_through_a_full_disk(path: Path) -> None:
    most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    async with told() as messages, opened(path) as cache:
        cache.replace("kubelet", MINE, 40, state(40))
        assert await cache.flush()
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 100_000, most))
        for number in range(3):
            cache.replace_feed("f", noise(2_000_000), Position(1, 1))
            cache.apply("kubelet", MINE, [change(41 + number)], 41 + number)
            assert not await cache.flush()
        assert not cache.apply("kubelet", MINE, [change(50)], 50)
        assert cache.counts["writes.failed"] >= 3
        assert cache.counts["files.damaged"] == 0
        assert len(messages.errors) == 1, messages.errors
        view = await cache.list("kubelet", MINE)
        assert view is not None
        assert (view.version, view.items) == (40, state(40))
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        cache.replace("kubelet", MINE, 50, state(50))
        cache.replace_feed("f", noise(2_000_000), Position(1, 1))
        assert await cache.flush()
        assert cache.apply("kubelet", MINE, [change(51)], 51)
        await cache.flush()
        view = await cache.list("kubelet", MINE)
        assert view is not None
        assert view.items == state(51)


async def test_a_start_with_a_full_disk(tmp_path: Path) -> None:
    """Not one byte can be had, and it is read all the same; with a log that was left, too."""
    path = tmp_path / "db"
    async with opened(path, replace(QUICK, settle=3600.0)) as cache:
        cache.replace("kubelet", MINE, 40, state(40))
        cache.replace_feed("f", state(40), Position(1, 40))
        assert await cache.flush()
        for name in ("db", "db-wal"):
            shutil.copy(tmp_path / name, tmp_path / f"left-{name}")
    for found in (path, tmp_path / "left-db"):
        await in_child("start", found)


async def start_with_a_full_disk(path: Path) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    async with told() as messages, opened(path) as cache:
        for _ in range(2):
            view, feed = await cache.list("kubelet", MINE), await cache.load_feed("f")
            assert view is not None
            assert view.items == state(40)
            assert feed is not None
            assert feed.whole
            cache.replace("kubelet", MINE, 41, state(41))
            assert not await cache.flush()
        assert len(messages.errors) == 1
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        cache.replace("kubelet", MINE, 41, state(41))
        assert await cache.flush()
        view = await cache.list("kubelet", MINE)
        assert view is not None
        assert view.items == state(41)


async def test_a_damaged_file_waits_for_room_to_be_repaired(tmp_path: Path) -> None:
    async with opened(tmp_path / "db") as cache:
        cache.replace("kubelet", MINE, 40, state(40))
        cache.replace_feed("f", noise(500_000), Position(1, 1))
    content = (tmp_path / "db").read_bytes()
    page = content.index(noise(50_000)["n/3"].data[5000:5100]) // 4096 * 4096
    with (tmp_path / "db").open("r+b") as file:
        file.seek(page)
        file.write(b"\xff" * 4096)
    await in_child("repair", tmp_path / "db")


async def repair_when_there_is_room(path: Path) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
    async with opened(path) as cache:
        for _ in range(3):
            await cache.load_feed("f")
            cache.replace("kubelet", MINE, 41, state(41))
            assert not await cache.flush()
        assert cache.counts["files.damaged"] == 0
        assert not aside(path).exists()
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        cache.replace("kubelet", MINE, 41, state(41))
        assert await cache.flush()
        assert cache.counts["files.damaged"] == 1
        assert aside(path).exists()
        feed = await cache.load_feed("f")
        assert feed is not None
        assert len(feed.items) == 49


async def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    """Neither start nor any call raises; all is unknown."""
    path = tmp_path / "db"
    path.mkdir()
    async with told() as messages, opened(path) as cache:
        cache.replace("kubelet", MINE, 40, state(40))
        assert not await cache.flush()
        assert await cache.list("kubelet", MINE) is None
        assert len(messages.errors) == 1
        path.rmdir()
        cache.replace("kubelet", MINE, 40, state(40))
        assert await cache.flush()
        assert await cache.list("kubelet", MINE) is not None


if __name__ == "__main__":
    scenes = {
        "live": live_through_a_full_disk,
        "start": start_with_a_full_disk,
        "repair": repair_when_there_is_room,
    }
    asyncio.run(scenes[sys.argv[1]](Path(sys.argv[2])))
