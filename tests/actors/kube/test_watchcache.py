"""The watch cache: order, honesty of versions, windows, snapshots, selectors."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.kube.builtin import CONFIGMAPS, PODS
from actors.kube.filters import EVERYTHING, Filter, make_filter
from actors.kube.selectors import parse_fields, parse_labels
from actors.kube.watchcache import (
    CacheSettings,
    Overflow,
    Snapshot,
    TooOld,
    WatchCache,
    Watcher,
    see,
)
from bus.feed.types import Change, Item
from tests.actors.kube.objects import Source, gone, put


def item(name: str, version: int) -> Item:
    data = put(CONFIGMAPS, f"default/{name}", version).data
    assert data is not None
    return Item(version, data)


Seen = tuple[str, str, int]  # type, name, resourceVersion


def drain(cache: WatchCache, watcher: Watcher) -> list[Seen]:
    """What a client of this watcher would read now."""
    seen: list[Seen] = []
    while (taken := watcher.take()) is not None:
        for event in taken.events:
            shown = see(event, watcher.filter, cache.reader)
            if shown is not None:
                metadata = msgspec.json.decode(shown.raw)["metadata"]
                version = int(metadata["resourceVersion"])
                seen.append((shown.type, metadata["name"], version))
    return seen


def keys(snapshot: Snapshot) -> list[str]:
    return [entry.key for entry in snapshot.entries]


def labelled(text: str) -> Filter:
    return Filter(labels=parse_labels(text))


def filled(**limits: int) -> Source:
    return Source(CONFIGMAPS, 10, CacheSettings(**limits))


# -- state ----------------------------------------------------------------------------------------


def test_holds_the_same_bytes() -> None:
    change = put(CONFIGMAPS, "a/x", 11)
    cache = WatchCache(CONFIGMAPS)
    cache.apply([change], 11)
    entry = cache.get("a/x")
    assert entry is not None
    assert entry.raw is change.data


def test_list_is_sorted_and_carries_the_list_version() -> None:
    source = filled()
    for name in ("c", "a", "b"):
        source.put(name)
    source.cache.advance(99)
    snapshot = source.cache.snapshot()
    assert snapshot.version == 99
    assert keys(snapshot) == ["default/a", "default/b", "default/c"]


def test_advance_never_goes_back() -> None:
    source = filled()
    source.cache.advance(50)
    source.cache.advance(40)
    assert source.cache.version == 50


def test_namespace_slice_does_not_catch_longer_names() -> None:
    source = filled()
    for namespace in ("a", "a-b", "a.b", "ab", "a0"):
        source.put("x", namespace)
    snapshot = source.cache.snapshot()
    low, high = snapshot.within("a")
    assert keys(snapshot)[low:high] == ["a/x"]


def test_first_replace_is_silent_and_second_is_differences() -> None:
    cache = WatchCache(CONFIGMAPS)
    old = {
        f"a/{n}": Item(v, put(CONFIGMAPS, f"a/{n}", v).data or b"") for n, v in (("x", 1), ("y", 2))
    }
    cache.replace(old, 10)
    watcher = cache.watch(10)
    assert watcher.take() is None
    new = {"a/y": old["a/y"], "a/z": Item(12, put(CONFIGMAPS, "a/z", 12).data or b"")}
    cache.replace(new, 20)
    assert drain(cache, watcher) == [("ADDED", "z", 12), ("DELETED", "x", 20)]
    assert cache.version == 20


# -- watches --------------------------------------------------------------------------------------


def test_watch_from_a_version_gives_exactly_what_came_after() -> None:
    source = filled()
    source.put("a")
    version = source.put("b")
    source.put("a")
    source.delete("b")
    watcher = source.cache.watch(version)
    assert drain(source.cache, watcher) == [("MODIFIED", "a", 13), ("DELETED", "b", 14)]


def test_watch_from_now_gives_only_what_is_new() -> None:
    source = filled()
    source.put("a")
    watcher = source.cache.watch(None)
    assert watcher.take() is None
    source.put("b")
    assert drain(source.cache, watcher) == [("ADDED", "b", 12)]


def test_delete_carries_its_own_version_and_the_last_object() -> None:
    source = filled()
    source.put("a", data={"k": "v"})
    watcher = source.cache.watch(None)
    source.delete("a")
    taken = watcher.take()
    assert taken is not None
    shown = see(taken.events[0], EVERYTHING, source.cache.reader)
    assert shown is not None
    obj = msgspec.json.decode(shown.raw)
    assert obj["metadata"]["resourceVersion"] == "12"
    assert obj["data"] == {"k": "v"}


def test_delete_of_nothing_is_no_event() -> None:
    source = filled()
    watcher = source.cache.watch(None)
    source.cache.apply([gone("a/x", 30)], 30)
    assert watcher.take() is None
    assert source.cache.version == 30


def test_the_same_version_told_again_is_no_event() -> None:
    source = filled()
    version = source.put("a")
    watcher = source.cache.watch(None)
    source.cache.apply([put(CONFIGMAPS, "default/a", version)], 40)
    assert watcher.take() is None
    assert source.cache.version == 40


def test_versions_older_than_the_start_are_too_old() -> None:
    source = filled()
    with pytest.raises(TooOld, match=r"^too old resource version: 9 \(10\)$"):
        source.cache.watch(9)
    assert source.cache.watch(10).take() is None


def test_a_version_from_the_future_hides_what_the_client_knows() -> None:
    source = filled()
    watcher = source.cache.watch(12)
    source.put("a")
    source.put("b")
    assert drain(source.cache, watcher) == []
    assert watcher.version == 12
    source.put("c")
    assert drain(source.cache, watcher) == [("ADDED", "c", 13)]


def test_changes_of_a_sync_take_place_in_the_order_of_versions() -> None:
    source = filled()
    source.put("old")
    watcher = source.cache.watch(None)
    batch = [
        put(CONFIGMAPS, "default/c", 25),
        gone("default/old", 11),  # a sync knows that it went, not when
        put(CONFIGMAPS, "default/b", 20),
    ]
    source.cache.apply(batch, 30)
    expected = [("DELETED", "old", 12), ("ADDED", "b", 20), ("ADDED", "c", 25)]
    assert drain(source.cache, watcher) == expected
    assert drain(source.cache, source.cache.watch(20)) == expected[2:]


def test_a_client_may_stop_between_any_two_events_of_a_sync() -> None:
    source = filled()
    for name in "abc":
        source.put(name)
    batch = [gone("default/a", 30), put(CONFIGMAPS, "default/d", 30), gone("default/b", 30)]
    source.cache.apply(batch, 30)
    seen = drain(source.cache, source.cache.watch(13))
    assert [name for _, name, _ in seen] == ["a", "b", "d"]
    for taken, (_, _, version) in enumerate(seen, 1):
        assert drain(source.cache, source.cache.watch(version)) == seen[taken:]


def test_a_crowd_of_deletes_without_room_takes_place_at_the_end() -> None:
    source = filled()
    for name in "abc":
        source.put(name)
    source.cache.apply([gone(f"default/{name}", 1) for name in "abc"], 14)
    seen = drain(source.cache, source.cache.watch(13))
    assert seen == [("DELETED", name, 14) for name in "abc"]


def test_objects_newer_than_the_list_version_move_it() -> None:
    source = filled()
    source.cache.apply([put(CONFIGMAPS, "a/x", 40)], 35)
    assert source.cache.version == 40


def test_bookmark_version_waits_for_what_was_not_taken() -> None:
    source = filled()
    watcher = source.cache.watch(None)
    source.put("a")
    assert watcher.version == 10
    assert drain(source.cache, watcher)
    assert watcher.version == 11
    source.cache.advance(90)
    assert watcher.version == 90


def test_a_client_that_was_ahead_misses_no_delete_whose_version_is_not_known() -> None:
    """It came from elsewhere at 150; which of the deletes it has seen there nobody knows here."""
    cache = WatchCache(CONFIGMAPS)
    cache.replace({f"default/{name}": item(name, 10) for name in "abc"}, 100)
    watcher = cache.watch(150)
    deletes = [Change(f"default/{name}", 160, None) for name in "ab"]
    cache.apply([*deletes, put(CONFIGMAPS, "default/d", 155)], 160, exact=False)
    with pytest.raises(TooOld):
        drain(cache, watcher)


def test_a_client_that_was_ahead_is_told_what_comes_behind_its_version() -> None:
    cache = WatchCache(CONFIGMAPS)
    cache.replace({f"default/{name}": item(name, 10) for name in "abc"}, 100)
    watcher = cache.watch(150)
    cache.apply([Change("default/a", 120, None), put(CONFIGMAPS, "default/b", 130)], 140)
    assert drain(cache, watcher) == []
    cache.apply([Change("default/c", 160, None), put(CONFIGMAPS, "default/d", 155)], 160)
    assert drain(cache, watcher) == [("ADDED", "d", 155), ("DELETED", "c", 160)]


def test_the_end_is_for_watchers_to_come_too() -> None:
    """One whose request was under way meanwhile would listen where nothing is said any more."""
    cache = WatchCache(CONFIGMAPS)
    cache.replace({}, 5)
    watcher = cache.watch(5)
    cache.close()
    for attempt in (watcher.take, lambda: cache.watch(5), lambda: cache.watch(None)):
        with pytest.raises(TooOld):
            attempt()


def test_a_version_of_the_history_before_a_reset_is_not_taken_for_one_to_come() -> None:
    cache = WatchCache(CONFIGMAPS)
    cache.replace({}, 10)
    cache.reset([], 5)
    for version in (6, 10):
        with pytest.raises(TooOld):
            cache.watch(version)
    for version in (5, 11):
        assert cache.watch(version).take() is None


def test_reset_ends_watchers_and_forgets_the_past() -> None:
    source = filled()
    version = source.put("a")
    watcher = source.cache.watch(version)
    woken: list[str] = []
    source.cache.on_event(watcher, lambda: woken.append("up"))
    source.cache.reset([put(CONFIGMAPS, "default/b", 3), gone("default/a", 2)], 5)
    assert woken == ["up"]
    with pytest.raises(TooOld):
        watcher.take()
    assert source.cache.version == 5
    assert keys(source.cache.snapshot()) == ["default/b"]
    assert source.cache.watch(5).take() is None


def test_the_same_version_in_another_history_is_another_object() -> None:
    source = filled()
    version = source.put("a", data={"of": "before"})
    now = put(CONFIGMAPS, "default/a", version, data={"of": "now"})
    source.cache.reset([now], version)
    assert [entry.raw for entry in source.cache.snapshot().entries] == [now.data]
    source.cache.reset([gone("default/a", version)], version)
    assert keys(source.cache.snapshot()) == []


def test_wakes_once_and_only_if_asked() -> None:
    source = filled()
    woken: list[str] = []
    source.cache.on_event("a", lambda: woken.append("a"))
    source.cache.on_event("b", lambda: woken.append("b"))
    source.cache.on_version("v", lambda: woken.append("v"))
    source.cache.forget("b")
    source.put("x")
    source.put("y")
    assert woken == ["a", "v"]


# -- windows --------------------------------------------------------------------------------------


def test_the_window_is_bounded_by_count() -> None:
    source = filled(window_events=16)
    for index in range(100):
        source.put(f"n{index}")
    assert source.cache.oldest >= 110 - 16
    with pytest.raises(TooOld):
        source.cache.watch(source.cache.oldest - 1)
    assert len(drain(source.cache, source.cache.watch(source.cache.oldest))) <= 16


def test_the_window_is_bounded_by_what_it_keeps_alive() -> None:
    source = filled(window_bytes=10_000)
    for index in range(100):
        source.put("same", data={"k": "v" * 1000, "n": str(index)})
    assert source.cache.version - source.cache.oldest < 10


def test_new_objects_keep_nothing_else_alive() -> None:
    source = filled(window_bytes=10_000)
    for index in range(100):
        source.put(f"n{index}", data={"k": "v" * 1000})
    assert source.cache.oldest == 10


def test_a_burst_stays_until_the_next_changes() -> None:
    source = filled(window_bytes=10_000)
    for index in range(20):
        source.put(f"n{index}", data={"k": "v" * 1000})
    watcher = source.cache.watch(None)
    batch = [put(CONFIGMAPS, f"default/n{n}", 100 + n, data={"k": "w" * 1000}) for n in range(20)]
    source.cache.apply(batch, 120)
    assert len(drain(source.cache, watcher)) == 20
    source.cache.advance(121)
    assert source.cache.oldest > 100


def test_a_burst_beyond_its_bound_cuts_watchers_off() -> None:
    source = filled(window_bytes=2_000, burst_bytes=5_000)
    for index in range(20):
        source.put(f"n{index}", data={"k": "v" * 1000})
    watcher = source.cache.watch(None)
    source.cache.apply([put(CONFIGMAPS, f"default/n{n}", 100 + n, data={}) for n in range(20)], 120)
    with pytest.raises(Overflow):
        watcher.take()
    assert source.cache.oldest > 100


def test_a_slow_watcher_is_cut_off_alone() -> None:
    source = filled(watcher_bytes=3_000)
    slow, quick = source.cache.watch(None), source.cache.watch(None)
    for index in range(10):
        source.put(f"n{index}", data={"k": "v" * 1000})
        assert len(drain(source.cache, quick)) == 1
    with pytest.raises(Overflow):
        slow.take()
    assert quick.take() is None


def test_takes_are_bounded_but_never_empty() -> None:
    source = filled(take_bytes=2_500)
    watcher = source.cache.watch(None)
    for name, size in (("a", 1000), ("b", 1000), ("c", 9000), ("d", 10)):
        source.put(name, data={"k": "v" * size})
    sizes = []
    while (taken := watcher.take()) is not None:
        sizes.append(len(taken.events))
    assert sizes == [3, 1]


# -- selectors ------------------------------------------------------------------------------------


def test_objects_appear_and_vanish_as_labels_change() -> None:
    source = filled()
    watcher = source.cache.watch(None, labelled("app=web"))
    source.put("a", labels={"app": "db"}, data={"n": "1"})
    source.put("a", labels={"app": "web"}, data={"n": "2"})
    source.put("a", labels={"app": "web"}, data={"n": "3"})
    source.put("a", labels={"app": "db"}, data={"n": "4"})
    source.delete("a")
    assert drain(source.cache, watcher) == [
        ("ADDED", "a", 12),
        ("MODIFIED", "a", 13),
        ("DELETED", "a", 14),
    ]


def test_vanishing_shows_the_last_matching_object_at_the_new_version() -> None:
    source = filled()
    watcher = source.cache.watch(None, labelled("app=web"))
    source.put("a", labels={"app": "web"}, data={"n": "1"})
    source.put("a", labels={"app": "db"}, data={"n": "2"})
    taken = watcher.take()
    assert taken is not None
    shown = see(taken.events[1], watcher.filter, source.cache.reader)
    assert shown is not None
    obj = msgspec.json.decode(shown.raw)
    assert obj["data"] == {"n": "1"}
    assert obj["metadata"]["resourceVersion"] == "12"


def test_field_selector() -> None:
    source = Source(PODS)

    fields = parse_fields("spec.nodeName=n1")
    filter_ = make_filter(PODS, source.cache.reader, fields=fields)
    watcher = source.cache.watch(None, filter_)
    source.put("p", spec={})
    source.put("p", spec={"nodeName": "n1"})
    source.put("q", spec={"nodeName": "n2"})
    assert drain(source.cache, watcher) == [("ADDED", "p", 12)]


# -- snapshots ------------------------------------------------------------------------------------


def test_the_past_can_be_read_again() -> None:
    source = filled()
    source.put("a", data={"n": "1"})
    version = source.put("b")
    source.put("a", data={"n": "2"})
    source.delete("b")
    source.put("c")
    past = source.cache.snapshot(version)
    assert keys(past) == ["default/a", "default/b"]
    assert msgspec.json.decode(past.entries[0].raw)["data"] == {"n": "1"}
    assert past.version == version


def test_the_far_past_and_the_future_cannot() -> None:
    source = filled(window_events=8)
    for index in range(50):
        source.put(f"n{index}")
    for version in (source.cache.oldest - 1, source.cache.version + 1):
        with pytest.raises(TooOld):
            source.cache.snapshot(version)


def test_a_snapshot_at_an_unmoved_version_is_not_stale() -> None:
    source = filled()
    version = source.put("a")
    assert len(source.cache.snapshot().entries) == 1
    source.cache.apply([put(CONFIGMAPS, "default/late", 5)], version)
    assert keys(source.cache.snapshot()) == ["default/a", "default/late"]


# -- the model ------------------------------------------------------------------------------------

Op = tuple[str, int]
_OPS = st.lists(st.tuples(st.sampled_from(["web", "db", "delete"]), st.integers(0, 4)), max_size=40)


@settings(max_examples=60, deadline=None)
@given(ops=_OPS, start=st.integers(0, 39), window=st.integers(4, 60))
def test_list_plus_watch_is_the_state(ops: list[Op], start: int, window: int) -> None:
    """A client that lists at any moment and then watches, through any selector, ends up right."""
    source = filled(window_events=window)
    filters = [EVERYTHING, labelled("app=web"), Filter(name="n3"), labelled("app!=web")]
    clients: list[tuple[Filter, dict[str, int], int]] = []
    for index, (what, number) in enumerate(ops):
        if index == start:
            clients = [(f, listed(source, f), source.cache.version) for f in filters]
        do(source, what, f"n{number}")
    for filter_, state, version in clients:
        try:
            watcher = source.cache.watch(version, filter_)
        except TooOld:
            assert version < source.cache.oldest
            continue
        follow(state, drain(source.cache, watcher))
        assert state == listed(source, filter_)


def do(source: Source, what: str, name: str) -> None:
    if what == "delete":
        source.delete(name)
    else:
        source.put(name, labels={"app": what})


def listed(source: Source, filter_: Filter) -> dict[str, int]:
    entries = source.cache.snapshot().entries
    return {
        e.key.removeprefix("default/"): e.version
        for e in entries
        if filter_.matches(e, source.cache.reader)
    }


def follow(state: dict[str, int], seen: list[Seen]) -> None:
    """As an informer does; every event must make sense at its time."""
    for type_, name, version in seen:
        assert (name in state) is (type_ != "ADDED")
        if type_ == "DELETED":
            del state[name]
        else:
            state[name] = version


_BATCHES = st.lists(
    st.lists(st.tuples(st.sampled_from(["put", "delete"]), st.integers(0, 4)), max_size=6),
    max_size=8,
)


@settings(max_examples=60, deadline=None)
@given(batches=_BATCHES, start=st.integers(0, 7), data=st.data())
def test_batches_of_a_sync_in_any_order_make_sense(
    batches: list[list[Op]], start: int, data: st.DataObject
) -> None:
    """As after a sync: one change a key, versions in no order, deletes at unknown times."""
    cache = WatchCache(CONFIGMAPS)
    cache.replace({}, 10)
    state: dict[str, int] = {}
    listed_at = 10
    for index, batch in enumerate(batches):
        if index == start:
            state = {e.key: e.version for e in cache.snapshot().entries}
            listed_at = cache.version
        target = cache.version + 20
        changes: dict[str, Change] = {}
        for what, number in batch:
            version = data.draw(st.integers(cache.version + 1, target))
            key = f"default/n{number}"
            changes[key] = put(CONFIGMAPS, key, version) if what == "put" else gone(key, 1)
        cache.apply(list(changes.values()), target)
    seen = drain(cache, cache.watch(listed_at))
    follow(state, [(t, f"default/{name}", v) for t, name, v in seen])
    assert state == {e.key: e.version for e in cache.snapshot().entries}
    versions = [v for _, _, v in seen]
    assert versions == sorted(versions)
    if len(set(versions)) == len(versions):  # as those of an API server always are
        for taken, version in enumerate(versions, 1):
            assert drain(cache, cache.watch(version)) == seen[taken:]


@settings(max_examples=60, deadline=None)
@given(ops=_OPS)
def test_every_past_state_can_be_read(ops: list[Op]) -> None:
    source = filled()
    states: dict[int, list[Any]] = {}
    for what, number in ops:
        do(source, what, f"n{number}")
        states[source.cache.version] = list(source.cache.snapshot().entries)
    for version, entries in states.items():
        assert list(source.cache.snapshot(version).entries) == entries
