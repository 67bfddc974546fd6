"""kill -9 at any moment: all that was said to be kept is there, and nothing is half there."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from random import Random

import pytest

from tests.edge.cache.worlds import MINE, opened, state


async def write_until_killed(path: Path, version: int, lines: int, extra: float) -> int:
    """Returns the last version that the writer was told is kept."""
    writer = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.edge.cache.writer", str(path), str(version),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert writer.stdout is not None
    kept = version
    for _ in range(lines):
        kept = int(await writer.stdout.readline())
    await asyncio.sleep(extra)  # so that the kill falls anywhere in a write
    writer.kill()
    rest = (await writer.stdout.read()).split(b"\n")[:-1]  # whole lines
    assert await writer.wait() == -9
    return int(rest[-1]) if rest else kept


async def kill_in_a_loop(path: Path, rounds: int) -> None:
    random, version = Random(5), 1
    for _ in range(rounds):
        kept = await write_until_killed(
            path, version, random.randrange(1, 40), random.random() / 50
        )
        async with opened(path) as cache:
            view, feed = await cache.list("kubelet", MINE), await cache.load_feed("f")
            assert view is not None
            assert feed is not None
            assert feed.whole
            assert view.version >= kept > version
            assert view.items == state(view.version)
            assert feed.items == state(feed.position.version)
            assert feed.position.version >= kept
            assert cache.counts.keys() <= {"batches"}
        version = view.version


async def test_kill_9_in_a_loop(tmp_path: Path) -> None:
    await kill_in_a_loop(tmp_path / "cache.db", 5)


@pytest.mark.nightly
@pytest.mark.timeout(1800)
async def test_kill_9_in_a_loop_deep(tmp_path: Path) -> None:
    await kill_in_a_loop(tmp_path / "cache.db", 200)
