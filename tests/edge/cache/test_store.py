from __future__ import annotations

import asyncio
import shutil
import sqlite3
import stat
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from bus.feed.types import Change, Item, Position
from edge.cache import Found, Missing, list_query
from tests.edge.cache.worlds import MINE, PODS, QUICK, Clock, change, item, opened, state

ALL = list_query(PODS)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache.db"


async def test_a_list_outlives_the_process_with_its_version_and_age(path: Path) -> None:
    clock = Clock()
    async with opened(path, clock=clock) as cache:
        cache.replace("kubelet", MINE, 40, state(40))
    clock.now += 90
    async with opened(path, clock=clock) as cache:
        view = await cache.list("kubelet", MINE)
    assert view is not None
    assert (view.version, view.age, view.items) == (40, 90.0, state(40))


async def test_unknown_is_not_empty_and_known_empty_is(path: Path) -> None:
    """An empty pod list for "unknown" would make kubelet kill everything; #2164."""
    async with opened(path) as cache:
        assert await cache.list("kubelet", MINE) is None
        cache.replace("kubelet", MINE, 3, {})
        await cache.flush()
        view = await cache.list("kubelet", MINE)
        assert view is not None
        assert view.items == {}
        assert view.version == 3


async def test_differently_selected_lists_of_one_component(path: Path) -> None:
    """OpenYurt #1400: the first list won, until a restart."""
    red, blue = list_query(PODS, labels="c=red"), list_query(PODS, labels="c=blue")
    async with opened(path) as cache:
        cache.replace("virt", red, 5, {"a/x": item(1)})
        cache.replace("virt", blue, 6, {"a/y": item(2)})
        await cache.flush()
        for query, key in ((red, "a/x"), (blue, "a/y")):
            view = await cache.list("virt", query)
            assert view is not None
            assert list(view.items) == [key]
        assert await cache.list("virt", list_query(PODS, labels="c=green")) is None


async def test_a_wider_list_answers_and_says_so(path: Path) -> None:
    async with opened(path) as cache:
        cache.replace("kubectl", ALL, 5, {"a/x": item(1), "b/y": item(2)})
        await cache.flush()
        view = await cache.list("kubectl", list_query(PODS, "a", labels="l"))
        assert view is not None
        assert view.query == ALL
        assert await cache.list("other", list_query(PODS, "a")) is None


async def test_one_copy_for_all_who_read_it(path: Path) -> None:
    big = {f"a/{n}": Item(1, _noise(20_000, str(n))) for n in range(20)}
    async with opened(path) as cache:
        cache.replace("kube-proxy", ALL, 5, big)
        await cache.flush()
        alone = cache.used()
        for other in ("coredns", "kubelet", "flanneld"):
            cache.replace(other, ALL, 5, big)
        await cache.flush()
        assert cache.used() < alone * 1.5


async def test_a_copy_goes_with_its_last_reader(path: Path) -> None:
    async with opened(path) as cache:
        empty = cache.used()
        for who in ("a", "b"):
            cache.replace(who, ALL, 5, state(30))
        cache.forget("a")
        await cache.flush()
        assert await cache.list("a", ALL) is None
        assert (await cache.list("b", ALL)) is not None
        cache.forget("b", ALL)
        await cache.flush()
        assert await cache.list("b", ALL) is None
        assert cache.used() == empty


async def test_events_move_a_list_on(path: Path) -> None:
    clock = Clock()
    async with opened(path, clock=clock) as cache:
        cache.replace("kubelet", MINE, 10, state(10))
        for version in range(11, 60):
            clock.now += 1
            assert cache.apply("kubelet", MINE, [change(version)], version)
        await cache.flush()
        view = await cache.list("kubelet", MINE)
        assert view is not None
        assert (view.version, view.items, view.age) == (59, state(59), 0.0)


async def test_a_bookmark_makes_it_younger_and_keeps_its_version(path: Path) -> None:
    """OpenYurt only logged bookmarks, and stored no list's resourceVersion."""
    clock = Clock()
    async with opened(path, clock=clock) as cache:
        cache.replace("kubelet", MINE, 10, state(10))
        clock.now += 50
        cache.apply("kubelet", MINE, [], 99)
        await cache.flush()
        view = await cache.list("kubelet", MINE)
        assert view is not None
        assert (view.version, view.age) == (99, 0.0)


async def test_an_older_copy_never_replaces_a_newer_one(path: Path) -> None:
    async with opened(path) as cache:
        cache.replace("a", ALL, 9, {"n/x": item(9, "new")})
        cache.replace("b", ALL, 5, {"n/x": item(5, "old")})
        await cache.flush()
        for who in ("a", "b"):
            found = await cache.get(who, PODS, "n", "x")
            assert isinstance(found, Found)
            assert found.item == item(9, "new")


async def test_a_cluster_restored_from_a_backup(path: Path) -> None:
    async with opened(path) as cache:
        cache.replace("a", ALL, 90, {"n/x": item(90)})
        cache.replace("b", ALL, 90, {"n/x": item(90)})
        cache.replace("a", ALL, 5, {"n/x": item(5)}, went_back=True)
        await cache.flush()
        view = await cache.list("a", ALL)
        assert view is not None
        assert (view.version, view.items) == (5, {"n/x": item(5)})
        assert await cache.list("b", ALL) is None  # it is of a history that is no more


async def test_late_events_are_told_again_without_harm(path: Path) -> None:
    async with opened(path) as cache:
        cache.replace("a", ALL, 50, state(50))
        assert cache.apply("a", ALL, [change(45), change(48)], 48)
        await cache.flush()
        view = await cache.list("a", ALL)
        assert view is not None
        assert view.version == 50
        assert view.items["default/pod-8"] == state(50)["default/pod-8"]


async def test_get_by_name(path: Path) -> None:
    clock = Clock()
    async with opened(path, clock=clock) as cache:
        cache.put("kubelet", PODS, "n", "x", item(4))
        await cache.flush()
        assert await cache.get("kubelet", PODS, "n", "other") is None
        assert await cache.get("coredns", PODS, "n", "x") is None
        assert isinstance(await cache.get("kubelet", PODS, "n", "x"), Found)
        clock.now += 1
        cache.put("kubelet", PODS, "n", "x", None)
        await cache.flush()
        assert await cache.get("kubelet", PODS, "n", "x") == Missing(0.0, any_id)


class _AnyId(int):
    def __eq__(self, other: object) -> bool:
        return isinstance(other, int)

    __hash__ = int.__hash__


any_id = _AnyId()


async def test_get_from_lists(path: Path) -> None:
    async with opened(path) as cache:
        cache.replace("kubelet", MINE, 10, {"n/x": item(1)})
        cache.replace("kubectl", ALL, 10, {"n/x": item(1)})
        await cache.flush()
        assert isinstance(await cache.get("kubelet", PODS, "n", "x"), Found)
        assert await cache.get("kubelet", PODS, "n", "y") is None  # perhaps on another node
        assert isinstance(await cache.get("kubectl", PODS, "n", "y"), Missing)


async def test_a_404_is_remembered_for_a_while(path: Path) -> None:
    clock = Clock()
    async with opened(path, replace(QUICK, missing_age=60.0), clock) as cache:
        cache.put("kubelet", "configmaps.v1", "n", "x", None)
        await cache.flush()
        clock.now += 60
        assert isinstance(await cache.get("kubelet", "configmaps.v1", "n", "x"), Missing)
        clock.now += 1
        assert await cache.get("kubelet", "configmaps.v1", "n", "x") is None
        clock.now = 0.0  # a node without a clock of its own has booted
        assert await cache.get("kubelet", "configmaps.v1", "n", "x") is None


async def test_what_came_after_a_404_counts(path: Path) -> None:
    clock = Clock()
    async with opened(path, clock=clock) as cache:
        cache.replace("a", ALL, 5, {})
        cache.put("a", PODS, "n", "x", None)
        clock.now += 1
        cache.apply("a", ALL, [Change("n/x", 7, b"{}")], 7)
        await cache.flush()
        assert isinstance(await cache.get("a", PODS, "n", "x"), Found)


async def test_partial_metadata_is_a_thing_of_its_own(path: Path) -> None:
    """OpenYurt #2170, #2209: it overwrote whole objects."""
    part = list_query(PODS, representation="PartialObjectMetadata")
    async with opened(path) as cache:
        cache.replace("gc", ALL, 5, {"n/x": item(3, "whole")})
        cache.replace("gc", part, 6, {"n/x": item(4, "part")})
        await cache.flush()
        whole = await cache.get("gc", PODS, "n", "x")
        assert isinstance(whole, Found)
        assert whole.item == item(3, "whole")


async def test_documents(path: Path) -> None:
    """OpenYurt #880, #1044: CoreDNS could not start offline without them."""
    async with opened(path) as cache:
        cache.put_document("/version", "application/json", b"{}")
        cache.put_document("/apis", "application/json", b"old way")
        cache.put_document("/apis", "application/json;g=x", b"aggregated" * 99, variant="v2")
    async with opened(path) as cache:
        found = await cache.document("/apis", variant="v2")
        assert found is not None
        assert found.body == b"aggregated" * 99
        plain = await cache.document("/apis")
        assert plain is not None
        assert plain.media == "application/json"
        cache.drop_document("/apis")
        await cache.flush()
        assert await cache.document("/apis") is None
        assert await cache.document("/openapi/v3") is None


async def test_objects_of_any_size(path: Path) -> None:
    """OpenYurt #1066: over 32 KB they were cut."""
    big = Item(1, bytes(range(256)) * 20_000)
    async with opened(path) as cache:
        cache.put("a", PODS, "n", "big", big)
        await cache.flush()
        found = await cache.get("a", PODS, "n", "big")
        assert isinstance(found, Found)
        assert found.item == big


async def test_what_nobody_reads_goes_first(path: Path) -> None:
    def load(name: str) -> dict[str, Item]:
        return {f"n/{name}": Item(1, _noise(60_000, name))}

    clock = Clock()
    settings = replace(QUICK, limit=400_000, touch_every=0.0, critical="kubelet".__eq__)
    async with opened(path, settings, clock) as cache:
        cache.replace("kubelet", ALL, 1, load("kubelet"))
        for name in ("read", "b", "c", "d"):
            clock.now += 1
            cache.replace(name, ALL, 1, load(name))
        await cache.flush()
        clock.now += 1
        assert await cache.list("read", ALL) is not None
        for name in ("e", "f"):
            clock.now += 1
            cache.replace(name, ALL, 1, load(name))
            await cache.flush()
        assert cache.used() <= settings.limit
        assert cache.counts["evicted"] >= 1
        assert await cache.list("b", ALL) is None
        for name in ("kubelet", "read", "f"):
            assert await cache.list(name, ALL) is not None, name
        cache.apply("b", ALL, [], 9)
        await cache.flush()
        assert not cache.apply("b", ALL, [], 10)  # a view that is gone cannot go on
    assert path.stat().st_size <= settings.limit * 1.1


async def test_more_than_fits_is_bounded(path: Path) -> None:
    settings = replace(QUICK, limit=200_000)
    async with opened(path, settings) as cache:
        cache.replace("a", ALL, 1, {"n/x": Item(1, _noise(150_000))})
        await cache.flush()
        cache.replace("b", ALL, 1, {"n/y": Item(1, _noise(160_000))})  # over the hard bound, too
        assert await cache.flush()
        assert await cache.list("a", ALL) is None
        assert await cache.list("b", ALL) is not None


def _noise(size: int, seed: str = "") -> bytes:
    return Random(seed).randbytes(size)


async def test_a_full_queue_freezes_views_and_says_so(path: Path) -> None:
    async with opened(path, replace(QUICK, queue=20_000)) as cache:
        cache.replace("a", ALL, 5, state(5))
        await cache.flush()
        assert cache.apply("b", ALL, [Change("n/x", 6, b"x" * 19_000)], 6)
        assert not cache.apply("a", ALL, [Change("n/y", 6, b"x" * 5_000)], 6)
        assert not cache.apply("a", ALL, [change(7)], 7)  # after a gap nothing may follow
        await cache.flush()
        view = await cache.list("a", ALL)
        assert view is not None
        assert (view.version, view.items) == (5, state(5))
        assert cache.counts["writes.dropped"] == 1
        cache.replace("a", ALL, 9, state(9))
        assert cache.apply("a", ALL, [change(10)], 10)
        await cache.flush()
        view = await cache.list("a", ALL)
        assert view is not None
        assert view.items == state(10)


async def test_what_the_database_can_never_take_harms_nobody_else(path: Path) -> None:
    async with opened(path) as cache:
        cache.replace("a", ALL, 1 << 70, {})
        cache.replace("b", ALL, 5, state(5))
        assert await cache.flush()
        assert await cache.list("a", ALL) is None
        assert await cache.list("b", ALL) is not None
        assert cache.counts["writes.unfit"] == 1


async def test_nobody_else_reads_the_file(path: Path) -> None:
    async with opened(path) as cache:
        cache.replace("a", ALL, 5, state(5))
        await cache.flush()
        files = list(path.parent.iterdir())
        assert len(files) >= 2
        assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in files)


async def test_writes_after_the_end_are_refused(path: Path) -> None:
    async with opened(path) as cache:
        pass
    assert not cache.apply("a", ALL, [], 1)
    await cache.close()


async def test_reads_go_on_while_a_write_is_stuck(path: Path) -> None:
    async with opened(path) as cache:
        cache.replace("a", ALL, 5, state(5))
        await cache.flush()
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            cache.replace("a", ALL, 9, state(9))
            stuck = asyncio.create_task(cache.flush(), name="stuck")
            view = await cache.list("a", ALL)
            assert view is not None
            assert view.version == 5
            assert not stuck.done()
            other.execute("ROLLBACK")
        assert await stuck
        view = await cache.list("a", ALL)
        assert view is not None
        assert view.version == 9


async def test_what_was_queued_together_is_one_transaction(path: Path) -> None:
    async with opened(path, replace(QUICK, linger=60.0)) as cache:
        before = cache.counts["batches"]
        cache.replace("a", ALL, 1, state(1))
        for version in range(2, 50):
            cache.apply("a", ALL, [change(version)], version)
        assert await cache.flush()  # it does not wait for the minute to pass
        assert cache.counts["batches"] - before == 1


async def test_a_list_read_again_unchanged_is_not_written_again(path: Path) -> None:
    """Flash wears: of a list of some MB only its own row is new."""
    async with opened(path, replace(QUICK, settle=3600.0)) as cache:
        objects = {f"n/{n}": Item(1, _noise(10_000, str(n))) for n in range(100)}
        cache.replace("a", ALL, 5, objects)
        await cache.flush()
        cache._disk.settle()
        log = path.with_name(path.name + "-wal")
        cache.replace("b", ALL, 5, {})  # the log begins anew
        await cache.flush()
        with closing(sqlite3.connect(path)) as other:
            before = other.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[1]
            cache.replace("a", ALL, 6, objects)
            await cache.flush()
            after = other.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[1]
        assert after - before < 10  # pages
        assert log.exists()


async def test_without_a_pause_it_is_forced_to_the_medium_as_well(path: Path) -> None:
    """Else what a busy node has read since its boot is lost when its power is."""
    copy = path.with_name("found.db")
    async with opened(path, replace(QUICK, settle=3600.0, settle_latest=0.05)) as cache:
        for version in range(1, 100):  # SQLite itself does so after 1,000 pages, far more than this
            cache.replace("kubelet", ALL, version, state(version))
            await cache.flush()
            await asyncio.to_thread(shutil.copy, path, copy)  # and not its log
            if _members(copy):
                return
            await asyncio.sleep(0.005)
    pytest.fail("it was never forced")


def _members(path: Path) -> int:
    try:
        with closing(sqlite3.connect(path)) as db:
            return int(db.execute("SELECT count(*) FROM members").fetchone()[0])
    except sqlite3.DatabaseError:  # no tables yet, or copied while it was written
        return 0


async def test_who_is_kept(path: Path) -> None:
    async with opened(path) as cache:
        assert await cache.components() == frozenset()
        cache.replace("kubelet", ALL, 1, {})
        cache.replace("coredns", MINE, 1, {})
        cache.replace_feed("services_v1", {}, Position(1, 1))
        cache.replace_feed("catalog", {}, Position(1, 1))
        await cache.flush()
        assert await cache.components() == {"kubelet", "coredns"}
        assert await cache.feeds() == {"services_v1", "catalog"}
