"""Power cuts and broken media: whatever happens to the files, nothing is served but what was."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import pytest

from bus.feed.types import Batch, Item, Position
from edge.cache import CacheSettings, DiskCache, Found, Missing, list_query
from edge.cache.database import aside
from tests.edge.cache.worlds import KEYS, MINE, PODS, QUICK, change, key, opened, state, told

LAST = 120
CHECKPOINT = 60  # the version that is in the database itself; the rest is in its log
ALL = list_query(PODS)
BODY = b"a document" * 1000
ROUNDS = 200
DEEP_ROUNDS = 10_000


@dataclass
class Files:
    """A cache as a power cut finds it: a database, and a log that was not checkpointed."""

    db: Path

    @property
    def wal(self) -> Path:
        return Path(f"{self.db}-wal")

    def copy(self, to: Path) -> Files:
        to.mkdir(exist_ok=True)
        for file in to.iterdir():
            file.unlink()
        for file in (self.db, self.wal):
            shutil.copy(file, to / file.name)
        return Files(to / self.db.name)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """With lists and a feed whose every change is a transaction, and a document."""
    folder = tmp_path_factory.mktemp("cache")
    return asyncio.run(_write_history(Files(folder / "live.db"), folder / "found"))


async def _write_history(live: Files, to: Path) -> Files:
    async with opened(live.db, replace(QUICK, settle=3600.0)) as cache:
        cache.replace("kubelet", MINE, 1, state(1))
        cache.replace("kubectl", ALL, 1, state(1))
        cache.replace_feed("f", state(1), Position(1, 1))
        cache.put_document("/apis", "application/json", BODY)
        for version in range(2, LAST + 1):
            cache.apply("kubelet", MINE, [change(version)], version)
            cache.apply("kubectl", ALL, [change(version)], version)
            cache.save_feed("f", Batch((change(version),), Position(1, version)))
            await cache.flush()
            if version == CHECKPOINT:
                cache._disk.settle()
        found = live.copy(to)
    assert found.wal.stat().st_size > 100_000
    return found


ITEMS: dict[str, set[Item]] = {key(n): set() for n in range(KEYS)}
for _version in range(1, LAST + 1):
    if (_data := change(_version).data) is not None:
        ITEMS[change(_version).key].add(Item(_version, _data))


async def check(cache: DiskCache) -> dict[str, bool]:
    """Whatever is served has been so at the version it claims. Returns what is known."""
    known = {}
    for component, query in (("kubelet", MINE), ("kubectl", ALL)):
        view = await cache.list(component, query)
        known[component] = view is not None
        if view is not None:
            assert view.items == state(view.version)
    known["feed"] = await _check_feed(cache)
    document = await cache.document("/apis")
    known["document"] = document is not None
    assert document is None or document.body == BODY
    for name in ITEMS:
        await _check_object(cache, name)
    return known


async def _check_feed(cache: DiskCache) -> bool:
    feed = await cache.load_feed("f")
    if feed is None:
        return False
    if feed.whole:
        assert feed.items == state(feed.position.version)
    assert all(item in ITEMS[name] for name, item in feed.items.items())
    return feed.whole


async def _check_object(cache: DiskCache, name: str) -> None:
    found = await cache.get("kubectl", PODS, *name.split("/"))
    if isinstance(found, Found):
        assert found.item in ITEMS[name]
    if isinstance(found, Missing):
        assert any(name not in state(version) for version in range(1, LAST + 1))


async def check_goes_on(cache: DiskCache) -> None:
    """It can be written as if nothing had been."""
    cache.replace("kubelet", MINE, LAST, state(LAST))
    cache.replace_feed("f", state(LAST), Position(1, LAST))
    if not await cache.flush():  # the writer itself has met the damage, and tells of it
        pytest.fail(f"not written: {cache.counts}")
    view, feed = await cache.list("kubelet", MINE), await cache.load_feed("f")
    if view is None or feed is None or not feed.whole:  # what was under it was damaged, and seen:
        cache.replace("kubelet", MINE, LAST, state(LAST))  # on the file that was repaired
        cache.replace_feed("f", state(LAST), Position(1, LAST))
        assert await cache.flush()
        view, feed = await cache.list("kubelet", MINE), await cache.load_feed("f")
    assert view is not None
    assert view.items == state(LAST)
    assert feed is not None
    assert feed.whole


async def test_undamaged_files_are_whole(files: Files, tmp_path: Path) -> None:
    """Else what follows would show nothing."""
    async with opened(files.copy(tmp_path / "x").db) as cache:
        assert all((await check(cache)).values())
        view = await cache.list("kubelet", MINE)
        assert view is not None
        assert view.version == LAST


def cut(file: Path, size: int) -> None:
    with file.open("r+b") as opened_file:
        opened_file.truncate(size)


def overwrite(file: Path, at: int, data: bytes) -> None:
    with file.open("r+b") as opened_file:
        opened_file.seek(at)
        opened_file.write(data)


def offsets(size: int, count: int, seed: int) -> list[int]:
    random = Random(seed)
    return sorted(random.randrange(size) for _ in range(count))


async def cut_log_anywhere(files: Files, tmp_path: Path, rounds: int) -> None:
    before = CHECKPOINT
    for size in [0, 1, 31, 32, 33, *offsets(files.wal.stat().st_size, rounds, 1)]:
        copy = files.copy(tmp_path / "x")
        cut(copy.wal, size)
        async with opened(copy.db) as cache:
            assert all((await check(cache)).values()), size
            view = await cache.list("kubelet", MINE)
            assert view is not None
            if size > 33:
                assert view.version >= before, size
                before = view.version
            assert cache.counts.keys() <= {"batches"}, size  # no damage, no failure


async def test_a_log_cut_at_any_byte_is_an_older_whole_state(files: Files, tmp_path: Path) -> None:
    """What a power cut does: the database is as checkpointed, the log ends somewhere."""
    await cut_log_anywhere(files, tmp_path, ROUNDS // 2)


async def tear_checkpoints(files: Files, tmp_path: Path, rounds: int) -> None:
    after = files.copy(tmp_path / "after")
    db = sqlite3.connect(after.db)
    assert db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[1] > 50
    new, old = after.db.read_bytes(), files.db.read_bytes()
    db.close()
    assert new != old
    for seed in range(rounds):
        copy = files.copy(tmp_path / "x")
        copy.db.write_bytes(torn(old, new, Random(seed)))
        async with opened(copy.db) as cache:
            assert all((await check(cache)).values()), seed
            view = await cache.list("kubelet", MINE)
            assert view is not None
            assert view.version == LAST, seed


def torn(old: bytes, new: bytes, random: Random) -> bytes:
    """Some sectors were written, some not, and the file was made longer or not."""
    odds = random.random()
    length = random.choice([len(old), len(new), random.randrange(len(old), len(new) + 1)])
    old = old.ljust(length, b"\0")
    sectors = [
        (new if random.random() < odds else old)[at : at + 512] for at in range(0, length, 512)
    ]
    return b"".join(sectors)[:length]


async def test_power_lost_during_a_checkpoint(files: Files, tmp_path: Path) -> None:
    """The log was forced to the medium before: whatever of the database was, all is there."""
    await tear_checkpoints(files, tmp_path, ROUNDS // 4)


async def damage_anything(files: Files, tmp_path: Path, rounds: int, seed: int) -> None:
    settled = files.copy(tmp_path / "settled")
    async with opened(settled.db):
        pass  # its end checkpoints: no page is hidden by a newer one in the log
    settled.wal.touch()
    random = Random(seed)
    seen = {"known": 0, "unknown": 0}
    for number in range(rounds):
        copy = random.choice([files, settled]).copy(tmp_path / "x")
        file = random.choice([copy.db, copy.wal]) if copy.wal.stat().st_size else copy.db
        size = file.stat().st_size
        kind = random.choice(["cut", "noise", "bit", "zeros", "swap"])
        at = random.randrange(size)
        if kind == "cut":
            cut(file, at)
        elif kind == "noise":
            overwrite(file, at, random.randbytes(random.choice([1, 16, 512, 4096])))
        elif kind == "bit":
            overwrite(file, at, bytes([file.read_bytes()[at] ^ (1 << random.randrange(8))]))
        elif kind == "zeros":
            overwrite(file, at // 512 * 512, bytes(random.choice([512, 4096])))
        else:
            page = random.randrange(size // 4096) * 4096
            overwrite(file, at // 4096 * 4096, file.read_bytes()[page : page + 4096])
        try:
            async with opened(copy.db) as cache:
                known = await check(cache)
                await check_goes_on(cache)
        except BaseException as error:
            error.add_note(f"round {number}: {kind} at {at} of {file.name}")
            raise
        for is_known in known.values():
            seen["known" if is_known else "unknown"] += 1
    assert seen["known"] > rounds / 2, seen  # it is not that all is thrown away ...
    assert seen["unknown"] > rounds / 20, seen  # ... nor that the damage hits nothing


async def test_damage_anywhere(files: Files, tmp_path: Path) -> None:
    await damage_anything(files, tmp_path, ROUNDS, 2)


@pytest.mark.nightly
@pytest.mark.timeout(1800)
async def test_damage_anywhere_deep(files: Files, tmp_path: Path) -> None:
    await cut_log_anywhere(files, tmp_path, DEEP_ROUNDS // 5)
    await tear_checkpoints(files, tmp_path, DEEP_ROUNDS // 10)
    await damage_anything(files, tmp_path, DEEP_ROUNDS, 3)


async def test_a_file_beyond_repair_is_set_aside_and_named(tmp_path: Path) -> None:
    path = tmp_path / "cache.db"
    garbage = Random(4).randbytes(100_000)
    path.write_bytes(garbage)
    async with told() as messages, opened(path) as cache:
        assert await cache.list("kubelet", MINE) is None
        await check_goes_on(cache)
        assert cache.counts["files.damaged"] == 1
    assert aside(path).read_bytes() == garbage
    assert [message for message in messages.errors if str(aside(path)) in message]


async def test_a_file_of_another_format_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "cache.db"
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version=999")
    db.execute("CREATE TABLE of_the_future (a)")
    db.close()
    async with opened(path) as cache:
        await check_goes_on(cache)
    assert aside(path).exists()


async def test_only_one_damaged_file_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "cache.db"
    for number in range(3):
        path.write_bytes(bytes([number + 1]) * 50_000)
        async with opened(path) as cache:
            await check_goes_on(cache)
    assert aside(path).read_bytes() == b"\x03" * 50_000
    assert len(list(tmp_path.iterdir())) == 2


def damage_row(path: Path, statement: str) -> None:
    """As a medium that returns other bytes than were written, where SQLite sees nothing."""
    db = sqlite3.connect(path)
    assert db.execute(statement).rowcount >= 1
    db.commit()
    db.close()


STATEMENTS = {
    "an object's bytes": "UPDATE objects SET data = zeroblob(length(data)) WHERE rowid ="
    " (SELECT object FROM members WHERE view = (SELECT id FROM views WHERE component = 'kubelet'))",
    "an object lost": "DELETE FROM objects",
    "an object's version": "UPDATE objects SET version = version + 1",
    "an object's name": "UPDATE objects SET key = 'default/other'",
    "objects exchanged": "UPDATE objects SET id = -id",
    "a member lost": "DELETE FROM members WHERE object IN"
    " (SELECT id FROM objects WHERE key = 'default/pod-1')",
    "a member too much": "INSERT INTO members SELECT id, 1, 1 FROM views",
    "a member's version": "UPDATE members SET version = version - 1",
    "a list's version": "UPDATE views SET version = version + 1",
    "a list's age": "UPDATE views SET at = at + 60000",
    "nonsense": "UPDATE members SET version = 'x'",
}


@pytest.mark.parametrize("what", STATEMENTS)
async def test_a_damaged_row_is_noticed_counted_and_never_served(
    what: str, files: Files, tmp_path: Path
) -> None:
    """A list that lacks one is unknown: a pod that is missing in it would be killed."""
    copy = files.copy(tmp_path / "x")
    damage_row(copy.db, STATEMENTS[what])
    async with opened(copy.db) as cache:
        assert not (await check(cache))["kubelet"]
        assert cache.counts["rows.damaged"] > 0
        assert not cache.apply("kubelet", MINE, [change(LAST + 1)], LAST + 1)
        await check_goes_on(cache)
        assert cache.apply("kubelet", MINE, [change(LAST + 1)], LAST + 1)


async def test_a_feed_that_lacks_objects_says_so(files: Files, tmp_path: Path) -> None:
    copy = files.copy(tmp_path / "x")
    damage_row(
        copy.db, "UPDATE objects SET sum = 0 WHERE resource = 'feed:f' AND key = 'default/pod-1'"
    )
    async with opened(copy.db) as cache:
        feed = await cache.load_feed("f")
        assert feed is not None
        assert not feed.whole
        assert feed.items.keys() == state(LAST).keys() - {"default/pod-1"}


async def test_what_holds_of_a_damaged_file_is_saved(tmp_path: Path) -> None:
    """One broken sector shall not cost a node its cache."""
    path = tmp_path / "cache.db"
    queries = [list_query(PODS, f"n{number}") for number in range(60)]
    async with opened(path, CacheSettings()) as cache:
        for number, query in enumerate(queries):
            items = {f"n{number}/{n}": Item(n, Random(n).randbytes(900)) for n in range(1, 20)}
            cache.replace("kubelet", query, 20, items)
    an_object = path.read_bytes().index(Random(7).randbytes(900))
    overwrite(path, an_object // 4096 * 4096, b"\xff" * 4096)
    async with opened(path) as cache:
        for query in queries:
            await cache.list("kubelet", query)
        await cache.flush()
        known = [query for query in queries if await cache.list("kubelet", query) is not None]
        assert cache.counts["files.damaged"] + cache.counts["rows.damaged"] > 0
    assert len(queries) // 3 < len(known) < len(queries)
