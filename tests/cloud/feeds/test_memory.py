from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import msgspec
import pytest
from loguru import logger

from actors.kube import builtin
from actors.kube.reflector import Known
from actors.tasks import OwnedTasks
from cloud.feeds.memory import SourceMemory
from tests.actors.until import until


class Wall:
    def __init__(self, now: float = 1_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def memory(path: Path, wall: Wall | None = None) -> SourceMemory:
    return SourceMemory(path / "feeds.json", logger, wall or Wall())


def test_a_new_lineage_is_taken_from_the_clock(tmp_path: Path) -> None:
    assert memory(tmp_path).lineage == 1000
    assert memory(tmp_path).known("f") == Known("", 0)


def test_what_was_noted_is_known_in_the_next_life(tmp_path: Path) -> None:
    first = memory(tmp_path)
    first.note("f", 7, "uid")
    first.note("f", 9, "")
    first.keep_resources({"services": builtin.SERVICES})
    first.save()
    second = memory(tmp_path, Wall(2_000))
    assert second.lineage == 1000
    assert second.known("f") == Known("uid", 9)
    assert second.known("other") == Known("uid", 0)
    assert second.resources == {"services": builtin.SERVICES}


def test_one_rollback_is_one_lineage_however_many_feeds_see_it(tmp_path: Path) -> None:
    kept = memory(tmp_path, Wall(1_000))
    kept.note("a", 50, "uid")
    kept.note("b", 60, "uid")
    assert kept.went_back(1_000) == 1_001
    assert kept.went_back(1_000) == 1_001
    assert kept.known("b").version == 0
    # On disk before anybody hears of it.
    assert memory(tmp_path).lineage == 1_001
    assert kept.went_back(1_001) == 1_002


def test_the_catalogs_version_grows_even_when_the_clock_goes_back(tmp_path: Path) -> None:
    wall = Wall(5.0)
    kept = memory(tmp_path, wall)
    assert kept.next_catalog() == 5_000
    wall.now = 1.0
    assert kept.next_catalog() == 5_001
    assert memory(tmp_path, wall).next_catalog() == 5_002


@pytest.mark.parametrize("text", [b"", b"{", b'{"lineage":"x"}', b"[]", b"\xff"])
def test_a_broken_file_starts_a_higher_lineage(tmp_path: Path, text: bytes) -> None:
    memory(tmp_path).save()
    (tmp_path / "feeds.json").write_bytes(text)
    assert memory(tmp_path, Wall(3_000)).lineage == 3_000


def test_a_disk_that_refuses_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    kept = SourceMemory(tmp_path / "file" / "feeds.json", logger, Wall())
    kept.note("f", 1, "")
    kept.save()
    assert kept.went_back(1_000) == 1_001


async def test_changes_are_saved_soon_and_not_one_by_one(tmp_path: Path) -> None:
    kept = memory(tmp_path)
    failures: list[str] = []
    tasks = OwnedTasks("test", logger, lambda name, _: failures.append(name))
    tasks.spawn("memory", kept.run())
    for version in range(1, 100):
        kept.note("f", version, "")
        if version % 50 == 0:
            await asyncio.sleep(0)
    path = tmp_path / "feeds.json"
    await until(path.exists, "saved")
    # The first at once, the others only after a second's pause.
    assert msgspec.json.decode(path.read_bytes())["versions"] == {"f": 50}
    await tasks.close(1.0)
    assert not failures


async def test_a_disk_that_takes_its_time_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, reached, goes_on = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def slow_fsync(_file: int) -> None:
        loop.call_soon_threadsafe(reached.set)
        goes_on.wait(5.0)

    monkeypatch.setattr("cloud.feeds.memory.os.fsync", slow_fsync)
    kept = memory(tmp_path)
    tasks = OwnedTasks("test", logger, lambda name, error: None)
    tasks.spawn("memory", kept.run())
    kept.note("f", 7, "uid")
    await asyncio.wait_for(reached.wait(), 5.0)  # the loop runs while the disk works
    assert not (tmp_path / "feeds.json").exists()
    goes_on.set()
    await until(lambda: memory(tmp_path).known("f").version == 7, "saved")
    await tasks.close(1.0)


def test_an_older_state_never_replaces_a_newer_one(tmp_path: Path) -> None:
    kept = memory(tmp_path)
    kept.note("f", 7, "uid")
    late = kept._as_it_is()  # a thread has it, but not yet its turn
    assert kept.went_back(1_000) == 1_001
    kept._save(*late)
    assert memory(tmp_path).lineage == 1_001
