"""A Watch wakes for every way a file comes to say something else, and ends without a trace."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from configs import watch as watching
from configs.watch import Watch, watch

WITHIN = 1.0  # seconds: what the issue promises for an edit


async def wakes(changes: Watch) -> bool:
    async with asyncio.timeout(WITHIN):
        return await changes.changed()


async def stays_quiet(
    changes: Watch, noise: Callable[[], object], sign: Callable[[], object]
) -> None:
    """`noise` does not wake it: only the later `sign` does, in a burst of its own."""
    waiting = asyncio.ensure_future(changes.changed())
    noise()
    done, _ = await asyncio.wait([waiting], timeout=0.25)
    assert not done
    sign()
    async with asyncio.timeout(WITHIN):
        assert await waiting


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "site.yaml").write_text("1")
    return tmp_path / "conf"


@pytest.fixture
async def changes(directory: Path) -> AsyncIterator[Watch]:
    async with Watch(directory / "site.yaml") as standing:
        yield standing


async def test_a_write_wakes(directory: Path, changes: Watch) -> None:
    (directory / "site.yaml").write_text("2")
    assert await wakes(changes)


async def test_a_rename_over_wakes_every_time(directory: Path, changes: Watch) -> None:
    for content in "234":
        (directory / "site.yaml~").write_text(content)
        os.replace(directory / "site.yaml~", directory / "site.yaml")
        assert await wakes(changes)


async def test_deletion_and_return_wake(directory: Path, changes: Watch) -> None:
    (directory / "site.yaml").unlink()
    assert await wakes(changes)
    (directory / "site.yaml").write_text("2")
    assert await wakes(changes)


async def test_the_directory_replaced_wakes_and_is_followed(
    directory: Path, changes: Watch
) -> None:
    directory.rename(directory.with_name("old"))
    assert await wakes(changes)
    directory.mkdir()
    (directory / "site.yaml").write_text("2")
    assert await wakes(changes)
    (directory / "site.yaml").write_text("3")
    assert await wakes(changes)


async def test_the_directory_removed_and_made_again_is_followed(
    directory: Path, changes: Watch
) -> None:
    shutil.rmtree(directory)
    assert await wakes(changes)
    directory.mkdir()
    assert await wakes(changes)
    (directory / "site.yaml").write_text("2")
    assert await wakes(changes)


async def test_directories_may_appear_later(tmp_path: Path) -> None:
    async with Watch(tmp_path / "a" / "b" / "site.yaml") as changes:
        (tmp_path / "a" / "b").mkdir(parents=True)
        assert await wakes(changes)
        (tmp_path / "a" / "b" / "site.yaml").write_text("1")
        assert await wakes(changes)


async def test_a_configmaps_swap_wakes_every_time(tmp_path: Path) -> None:
    for version in "123":
        (tmp_path / f"..{version}").mkdir()
        (tmp_path / f"..{version}" / "site.yaml").write_text(version)
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "site.yaml").symlink_to("..data/site.yaml")
    async with Watch(tmp_path / "site.yaml") as changes:
        for version in "23":
            (tmp_path / "..data_tmp").symlink_to(f"..{version}")
            os.replace(tmp_path / "..data_tmp", tmp_path / "..data")
            assert await wakes(changes)
            assert (tmp_path / "site.yaml").read_text() == version
        (tmp_path / "..3" / "site.yaml").write_text("4")  # the new target is watched, too
        assert await wakes(changes)


async def test_a_link_to_elsewhere_is_followed(tmp_path: Path, directory: Path) -> None:
    (tmp_path / "links").mkdir()
    link = tmp_path / "links" / "site.yaml"
    link.symlink_to(directory / "site.yaml")
    async with Watch(link) as changes:
        (directory / "site.yaml").write_text("2")
        assert await wakes(changes)


async def test_a_loop_of_links_is_no_loop_of_ours(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    async with Watch(tmp_path / "a") as changes:
        (tmp_path / "b").unlink()
        assert await wakes(changes)


async def test_a_directorys_entries_wake(directory: Path) -> None:
    async with Watch(directory) as changes:
        (directory / "pool-a.node-1.pub").write_text("U")
        assert await wakes(changes)
        (directory / "pool-a.node-1.pub").unlink()
        assert await wakes(changes)


async def test_neighbours_do_not_wake(directory: Path, changes: Watch) -> None:
    await stays_quiet(
        changes,
        noise=lambda: (directory / "other.yaml").write_text("x"),
        sign=lambda: (directory / "site.yaml").write_text("2"),
    )


async def test_a_change_before_the_first_wait_is_not_lost(directory: Path) -> None:
    async with Watch(directory / "site.yaml") as changes:
        (directory / "site.yaml").write_text("2")
        await asyncio.sleep(0.2)
        assert await wakes(changes)


async def test_a_cancelled_wait_loses_nothing(directory: Path, changes: Watch) -> None:
    for content in "23":
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await changes.changed()
        (directory / "site.yaml").write_text(content)
        assert await wakes(changes)


async def test_closing_ends_a_wait_and_the_thread(directory: Path) -> None:
    before = threading.active_count()
    changes = await Watch(directory).__aenter__()
    waiting = asyncio.ensure_future(changes.changed())
    await asyncio.sleep(0)
    await changes.aclose()
    assert await waiting is False
    assert await changes.changed() is False
    await changes.aclose()
    assert threading.active_count() == before


async def test_the_generator_looks_first_then_wakes(directory: Path) -> None:
    looks = watch(directory)
    await anext(looks)
    (directory / "new").write_text("x")
    async with asyncio.timeout(WITHIN):
        await anext(looks)
    await looks.aclose()  # type: ignore[attr-defined]


async def test_without_inotify_it_polls(
    directory: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def exhausted(*_: object) -> object:
        raise OSError("OS file watch limit reached")

    monkeypatch.setattr(watching, "RustNotify", exhausted)
    async with Watch(directory / "site.yaml") as changes:
        assert await wakes(changes)
        waiting = asyncio.ensure_future(changes.changed())
        await asyncio.sleep(0)
        await changes.aclose()
        assert await waiting is False
    assert "watch limit reached" in caplog.text
