"""Power cuts and broken media: what was answered is there, or its loss is told."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from actors.kube import builtin
from actors.kube.status_errors import ApiError
from edge.cache.database import aside
from edge.offline.store import connect
from tests.edge.offline.worlds import (
    NODE,
    Known,
    event,
    node,
    opened,
    patch_status,
    write,
)

B = builtin
LAST = 60


@dataclass
class Files:
    """A queue as a power cut finds it, and how long its log was when each write was answered."""

    db: Path
    answered: list[int]

    @property
    def wal(self) -> Path:
        return Path(f"{self.db}-wal")

    def copy(self, to: Path) -> Files:
        to.mkdir(exist_ok=True)
        for file in to.iterdir():
            file.unlink()
        for file in (self.db, self.wal):
            shutil.copy(file, to / file.name)
        return Files(to / self.db.name, self.answered)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("queue")
    return asyncio.run(_write_history(folder / "q.db", folder / "found"))


async def _write_history(path: Path, to: Path) -> Files:
    known = Known()
    known.put(B.NODES, node())
    files = Files(path, [])
    async with opened(path, known) as offline:
        for number in range(1, LAST + 1):
            await patch_status(offline, B.NODES, NODE, {"phase": str(number)})
            await write(offline, "create", B.EVENTS, "", event(f"e{number}", number))
            files.answered.append(files.wal.stat().st_size)
        return files.copy(to)


async def state(path: Path) -> tuple[int, int, list[str]]:
    """(number of the last event, phase of the node, what is reported)."""
    known = Known()
    async with opened(path, known) as offline:
        events = [int(k[len("default/e") :]) for r, k in known.revised if r == "events.v1"]
        assert sorted(events) == list(range(1, len(events) + 1)) or offline.reports()
        for number in events:
            assert known.read(B.EVENTS, f"default/e{number}")["count"] == number
        has_node = known.get(B.NODES, NODE) is not None
        phase = int(known.read(B.NODES, NODE)["status"]["phase"]) if has_node else 0
        return max(events, default=0), phase, [report.why for report in offline.reports()]


def test_every_commit_is_forced_to_the_medium(tmp_path: Path) -> None:
    db = connect(tmp_path / "q.db")
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert db.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    db.close()


@pytest.mark.parametrize("kind", ["cut", "noise"])
async def test_a_power_cut_takes_only_what_was_not_answered(
    files: Files, tmp_path: Path, kind: str
) -> None:
    """What was forced stays; behind it the log ends, or holds whatever the medium had there."""
    random = Random(7)
    assert len(set(files.answered)) > LAST // 2
    for size in sorted(random.sample(range(files.wal.stat().st_size), 60)):
        answered = sum(each <= size for each in files.answered)
        copy = files.copy(tmp_path / "x")
        with copy.wal.open("r+b") as log:
            rest = files.wal.stat().st_size - size
            log.truncate(size)
            if kind == "noise":
                log.seek(size)
                log.write(random.randbytes(rest))
        last, phase, reported = await state(copy.db)
        assert last >= answered, size
        assert phase >= answered, size
        assert reported == []


async def test_undamaged_files_are_whole(files: Files, tmp_path: Path) -> None:
    assert await state(files.copy(tmp_path / "x").db) == (LAST, LAST, [])


async def settled(files: Files, tmp_path: Path) -> Path:
    path = files.copy(tmp_path / "settled").db
    async with opened(path):
        pass  # its end checkpoints
    return path


async def test_a_damaged_row_is_told_and_the_others_stay(files: Files, tmp_path: Path) -> None:
    path = await settled(files, tmp_path)
    db = sqlite3.connect(path)
    one = "(SELECT min(id) FROM entries WHERE id > 5)"
    db.execute(f"UPDATE entries SET data = zeroblob(length(data)) WHERE id = {one}")
    db.commit()
    db.close()
    known = Known()
    async with opened(path, known) as offline:
        assert offline.pending["events"] + offline.pending["objects"] == LAST
        assert offline.counts["damaged"] == 1
        assert "1 of its rows" in offline.reports()[0].why


async def test_damage_anywhere_is_told_or_harmless(files: Files, tmp_path: Path) -> None:
    whole, random = await settled(files, tmp_path), Random(8)
    told = kept = 0
    for number in range(60):
        path = tmp_path / "x" / "q.db"
        shutil.rmtree(path.parent, ignore_errors=True)
        path.parent.mkdir()
        shutil.copy(whole, path)
        at = random.randrange(path.stat().st_size)
        with path.open("r+b") as file:
            file.seek(at)
            file.write(random.randbytes(random.choice([1, 16, 512, 4096])))
        try:
            last, phase, reported = await state(path)
            again = Known()
            again.put(B.NODES, node())
            async with opened(path, again) as offline:  # it goes on
                await write(offline, "create", B.EVENTS, "", event("new"))
            assert reported or (last, phase) == (LAST, LAST)
        except BaseException as error:
            error.add_note(f"round {number}: at {at}")
            raise
        told += bool(reported)
        kept += last > LAST // 2
    assert told > 10  # the damage hits something ...
    assert kept > 30  # ... and not all is thrown away


async def test_a_queue_that_cannot_be_read_now_is_not_overwritten(tmp_path: Path) -> None:
    path, away = tmp_path / "q.db", tmp_path / "away"
    async with opened(path) as offline:
        await write(offline, "create", B.EVENTS, "", event("e1"))
    path.rename(away)
    path.mkdir()  # a medium that fails for a while
    known = Known()
    async with opened(path, known) as offline:
        with pytest.raises(ApiError) as caught:
            await write(offline, "create", B.EVENTS, "", event("e2"))
        assert caught.value.code == 507
        path.rmdir()
        away.rename(path)
        await write(offline, "create", B.EVENTS, "", event("e2"))
        assert offline.pending["events"] == 2
        assert known.get(B.EVENTS, "default/e1") is not None


async def test_a_file_that_is_damaged_meanwhile_is_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "q.db"
    async with opened(path) as offline:
        for number in range(20):
            await write(offline, "create", B.EVENTS, "", event(f"e{number}"))
        offline._store._close()
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * 8192)
        await write(offline, "create", B.EVENTS, "", event("e20"))
        assert offline._store.repairs == 1
    async with opened(path) as offline:
        assert offline.pending["events"] == 21
        assert offline.reports() == []


async def test_a_file_that_is_none_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "q.db"
    garbage = Random(9).randbytes(50_000)
    path.write_bytes(garbage)
    async with opened(path) as offline:
        assert offline.reports()
        await write(offline, "create", B.EVENTS, "", event())
    assert aside(path).read_bytes() == garbage
    async with opened(path) as offline:
        assert offline.pending["events"] == 1
