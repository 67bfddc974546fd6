"""The store keeps objects, history and the version, whatever happens in between."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from bus.feed.types import Change, Item
from cloud.apiserver import store as store_module
from cloud.apiserver.store import FIRST_VERSION, FORGET_STEP, LEAP, Store, StoreSettings, Write


def put(store: Store, key: str, data: bytes, resource: str = "pods") -> None:
    held = store.load(resource)
    now = dict(held.items)
    for change in held.changes:
        if change.data is None:
            del now[change.key]
        else:
            now[change.key] = Item(change.version, change.data)
    store.commit([Write(resource, key, store.version + 1, data or None, now.get(key))])


def reopened(store: Store) -> Store:
    store.close()
    return Store(store.path, store.settings)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "x.db")


def test_first_version_is_etcds(store: Store) -> None:
    assert store.version == FIRST_VERSION == 1
    store.close()


def test_history_is_rebuilt_after_a_restart(store: Store) -> None:
    store.load("pods")  # known from version 1 on
    put(store, "a", b"1")
    put(store, "b", b"2")
    put(store, "a", b"3")
    put(store, "b", b"")
    store = reopened(store)
    assert store.version == 5
    loaded = store.load("pods")
    assert loaded.items == {}
    assert loaded.floor == 1
    assert loaded.changes == [
        Change("a", 2, b"1"),
        Change("b", 3, b"2"),
        Change("a", 4, b"3"),
        Change("b", 5, None),
    ]
    store.close()


def test_history_is_bounded_and_floor_moves(tmp_path: Path) -> None:
    store = Store(tmp_path / "x.db", StoreSettings(history_events=10))
    store.load("pods")
    old = None
    for n in range(10 + FORGET_STEP + 5):
        version = store.version + 1
        store.commit([Write("pods", "a", version, b"%d" % n, old)])
        old = Item(version, b"%d" % n)
    store = reopened(store)
    loaded = store.load("pods")
    assert 10 <= len(loaded.changes) < 10 + FORGET_STEP
    assert loaded.floor == loaded.changes[0].version - 1
    assert loaded.items["a"].version == loaded.floor
    assert loaded.changes[-1].version == store.version
    store.close()


def test_history_is_bounded_by_bytes(tmp_path: Path) -> None:
    store = Store(tmp_path / "x.db", StoreSettings(history_bytes=10_000))
    old = None
    for _ in range(200):
        version = store.version + 1
        store.commit([Write("pods", "a", version, bytes(1000), old)])
        old = Item(version, bytes(1000))
    kept = store.load("pods").changes
    assert sum(len(change.data or b"") for change in kept) <= 11_000
    store.close()


def test_resources_have_their_own_history_but_one_version(store: Store) -> None:
    put(store, "a", b"1", "pods")
    put(store, "a", b"2", "services")
    assert [c.version for c in store.load("pods").changes] == [2]
    assert [c.version for c in store.load("services").changes] == [3]
    store.close()


def test_wiped_history_starts_at_the_present(store: Store) -> None:
    put(store, "a", b"1")
    store.wipe_history()
    store = reopened(store)
    loaded = store.load("pods")
    assert loaded == ({"a": Item(2, b"1")}, 2, [])
    store.close()


def test_dropped_resource_leaves_nothing(store: Store) -> None:
    put(store, "a", b"1", "crontabs.example.com")
    store.drop("crontabs.example.com")
    store.drop("never.was")
    store = reopened(store)
    assert store.load("crontabs.example.com") == ({}, 2, [])
    store.close()


def test_failed_commit_changes_nothing(store: Store) -> None:
    put(store, "a", b"1")
    with pytest.raises(sqlite3.IntegrityError):
        store.commit([Write("pods", "b", 3, b"x", None), Write("pods", "c", 2, b"y", None)])
    assert store.version == 2
    assert [change.key for change in store.load("pods").changes] == ["a"]
    put(store, "b", b"2")
    assert store.version == 3
    store.close()


def test_full_disk_changes_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "x.db")
    put(store, "a", b"1")
    pages = store._db.execute("pragma page_count").fetchone()[0]
    store._db.execute(f"pragma max_page_count = {pages + 1}")
    with pytest.raises(sqlite3.OperationalError, match="full"):
        put(store, "b", bytes(100_000), "services")
    assert store.version == 2
    store._db.execute("pragma max_page_count = 100000")
    put(store, "b", b"2", "services")
    store = reopened(store)
    assert [change.version for change in store.load("services").changes] == [3]
    assert [change.version for change in store.load("pods").changes] == [2]
    store.close()


def test_killed_process_loses_nothing(store: Store) -> None:
    put(store, "a", b"1")
    again = Store(store.path)  # the first was never closed
    assert again.version == 2
    assert [change.key for change in again.load("pods").changes] == ["a"]
    again.close()
    store.close()


def test_dead_machine_makes_versions_leap(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store, "a", b"1")
    monkeypatch.setattr(store_module, "boot_id", lambda: "another boot")
    again = Store(store.path)
    assert again.version == 2 + LEAP
    assert again.load("pods") == ({"a": Item(2, b"1")}, 2 + LEAP, [])
    again.close()
    store.close()


def test_orderly_end_survives_a_reboot(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store, "a", b"1")
    store.close()
    monkeypatch.setattr(store_module, "boot_id", lambda: "another boot")
    again = Store(store.path)
    assert again.version == 2
    again.close()


def test_what_is_no_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    path.write_bytes(b"something else entirely" * 100)
    with pytest.raises(sqlite3.DatabaseError, match="not a database"):
        Store(path)
    assert path.read_bytes().startswith(b"something else")


def test_checkpoint_folds_the_log(tmp_path: Path) -> None:
    store = Store(tmp_path / "x.db", StoreSettings(checkpoint_bytes=10_000))
    put(store, "a", bytes(20_000))
    size, was_due = store.path.stat().st_size, store.checkpoint_due
    store.checkpoint()
    assert (was_due, store.checkpoint_due) == (True, False)
    assert store.path.stat().st_size > size
    store.close()
    store.close()  # twice is fine
