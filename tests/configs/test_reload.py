"""Hot reload: good live edits go through within a second, nothing else does, and why is told."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from configs import Applied, Broken, ConfigError, ConfigWatcher, Problem, Refused, load
from configs.reload import Follower, Result
from tests.configs.files import CLOUD, write
from tests.configs.samples import cloud

DEBUG = CLOUD + "log: {level: debug}\n"


async def told(edits: ConfigWatcher) -> Result:
    async with asyncio.timeout(1.0):
        return await anext(edits)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path, CLOUD)


@pytest.fixture
async def edits(path: Path) -> AsyncIterator[ConfigWatcher]:
    """A watcher that stands: the first look is done and found nothing new."""
    async with ConfigWatcher(path) as watcher:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await anext(watcher)
        yield watcher


def error(text: str = "x") -> ConfigError:
    return ConfigError([Problem(Path("site.yaml"), 1, "", text)])


def test_follower_applies_live_edits() -> None:
    follower = Follower(cloud())
    new = cloud(log={"level": "debug"})
    result = follower.see(new)
    assert isinstance(result, Applied)
    assert (str(result), follower.current) == ("log.level: info -> debug", new)
    assert follower.see(new) is None


def test_follower_refuses_an_edit_as_a_whole() -> None:
    follower = Follower(cloud())
    new = cloud(name="other", log={"level": "debug"})
    result = follower.see(new)
    assert isinstance(result, Refused)
    assert result.keys == ("name",)
    assert str(result) == (
        "needs a restart: name: cloud -> other (and so not applied either: log.level)"
    )
    assert (follower.current, follower.problem) == (cloud(), result)
    assert follower.see(new) is None


def test_follower_keeps_the_last_good_config_and_tells_each_fault_once() -> None:
    follower = Follower(cloud())
    first = follower.see(error("one"))
    assert isinstance(first, Broken)
    assert str(first) == "site.yaml:1: one"
    assert follower.see(error("one")) is None
    assert isinstance(follower.see(error("two")), Broken)
    assert follower.current == cloud()


def test_follower_tells_that_all_is_well_again() -> None:
    follower = Follower(cloud())
    assert follower.see(error())
    result = follower.see(cloud())
    assert isinstance(result, Applied)
    assert (bool(result.changes), follower.problem) == (False, None)
    assert "good again" in str(result)
    assert follower.see(cloud()) is None


async def test_an_edit_takes_effect_within_a_second(path: Path, edits: ConfigWatcher) -> None:
    began = time.monotonic()
    path.write_text(DEBUG)
    result = await told(edits)
    assert time.monotonic() - began < 1
    assert isinstance(result, Applied)
    assert [change.key for change in result.changes.live] == ["log.level"]
    assert edits.current.log.level == "debug"


async def test_editors_that_rename_over(path: Path, edits: ConfigWatcher) -> None:
    for level in ("debug", "trace"):
        write(path.parent, CLOUD + f"log: {{level: {level}}}\n", "4913~")
        os.replace(path.parent / "4913~", path)
        assert isinstance(await told(edits), Applied)
        assert edits.current.log.level == level


async def test_editors_that_move_the_old_file_away_first(path: Path, edits: ConfigWatcher) -> None:
    path.rename(path.with_suffix(".bak"))
    await asyncio.sleep(0.05)
    path.write_text(DEBUG)
    assert isinstance(await told(edits), Applied)


async def test_a_configmaps_swap(tmp_path: Path) -> None:
    for name, text in (("..1", CLOUD), ("..2", DEBUG)):
        (tmp_path / name).mkdir()
        write(tmp_path / name, text)
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "site.yaml").symlink_to("..data/site.yaml")
    async with ConfigWatcher(tmp_path / "site.yaml") as edits:
        (tmp_path / "..data_tmp").symlink_to("..2")
        os.replace(tmp_path / "..data_tmp", tmp_path / "..data")
        result = await told(edits)
    assert isinstance(result, Applied)
    assert [change.key for change in result.changes.live] == ["log.level"]


async def test_a_half_written_file_completed_soon_does_not_alarm(
    path: Path, edits: ConfigWatcher
) -> None:
    half = len(DEBUG) // 2
    with path.open("w") as file:
        waiting = asyncio.ensure_future(told(edits))
        for part in (DEBUG[:10], DEBUG[10:half], DEBUG[half:]):
            file.write(part)
            file.flush()
            await asyncio.sleep(0.06)
    assert isinstance(await waiting, Applied)


async def test_a_broken_file_is_told_and_mended(path: Path, edits: ConfigWatcher) -> None:
    path.write_text(CLOUD + "log: {levl: debug}\n")
    result = await told(edits)
    assert isinstance(result, Broken)
    assert str(result) == f'{path}:8: log.levl: unknown key; did you mean "level"?'
    assert edits.problem == result
    path.write_text(DEBUG)
    assert isinstance(await told(edits), Applied)
    assert edits.problem is None


async def test_a_deleted_file_is_told_and_its_return_too(path: Path, edits: ConfigWatcher) -> None:
    path.unlink()
    result = await told(edits)
    assert isinstance(result, Broken)
    assert "there is no such file" in str(result)
    path.write_text(CLOUD)
    assert "good again" in str(await told(edits))


async def test_a_key_that_needs_a_restart_is_refused_by_name(
    path: Path, edits: ConfigWatcher
) -> None:
    path.write_text(DEBUG.replace("state: var", "state: elsewhere"))
    result = await told(edits)
    assert isinstance(result, Refused)
    assert result.keys == ("state",)
    assert edits.current.log.level == "info"


async def test_an_edit_between_start_and_watch_is_seen(path: Path) -> None:
    current = load(path)
    path.write_text(DEBUG)
    async with ConfigWatcher(path, current) as edits:
        assert isinstance(await told(edits), Applied)


async def test_a_comment_is_no_news(path: Path, edits: ConfigWatcher) -> None:
    path.write_text(CLOUD + "# words\n")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.4):
            await anext(edits)
    path.write_text(DEBUG)
    assert isinstance(await told(edits), Applied)


async def test_cancelling_and_closing_leave_no_thread_of_the_watch(path: Path) -> None:
    def watchers() -> list[str]:
        return [thread.name for thread in threading.enumerate() if thread.name.startswith("watch_")]

    async with ConfigWatcher(path) as edits:
        waiting = asyncio.ensure_future(anext(edits))
        await asyncio.sleep(0.1)
        assert watchers()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert watchers() == []


async def test_closing_ends_the_iteration(edits: ConfigWatcher) -> None:
    waiting = asyncio.ensure_future(_all(edits))
    await asyncio.sleep(0.02)
    await edits.aclose()
    async with asyncio.timeout(1.0):
        assert await waiting == []


async def _all(edits: ConfigWatcher) -> list[Result]:
    return [result async for result in edits]


def test_a_watcher_starts_only_from_a_good_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        ConfigWatcher(write(tmp_path, "a: [\n"))
