"""Contents that change at an unmoved version."""

from __future__ import annotations

import pytest

from actors.kube.builtin import CONFIGMAPS
from actors.kube.filters import Filter
from actors.kube.selectors import parse_labels
from actors.kube.watchcache import TooOld, WatchCache, Watcher, see
from bus.feed.types import Change, Item
from tests.actors.kube.objects import gone, put
from tests.actors.kube.revised_worlds import Client, World, contents

A, B, C = "default/a", "default/b", "default/c"
Told = list[tuple[str, str]]


def told(cache: WatchCache, watcher: Watcher) -> Told:
    """(type, name)"""
    seen = []
    while (taken := watcher.take()) is not None:
        for event in taken.events:
            shown = see(event, watcher.filter, cache.reader)
            if shown is not None:
                seen.append((shown.type, event.key.removeprefix("default/")))
    return seen


def a_world(*keys: str, window: int = 1000) -> World:
    world = World(window)
    for key in keys:
        world.put(key)
    return world


# -- who is told ----------------------------------------------------------------------------------


def test_live_watchers_are_told_and_the_version_stays() -> None:
    world = a_world(A, B)
    version = world.version
    watcher = world.source.watch(None)
    woken: list[str] = []
    world.source.on_event("one", lambda: woken.append("up"))
    world.revise(A, "web")
    world.revise(B, None)
    world.revise(C, "web")
    assert woken == ["up"]
    assert told(world.source, watcher) == [("MODIFIED", "a"), ("DELETED", "b"), ("ADDED", "c")]
    assert watcher.version == world.source.version == version
    assert contents(world.source) == world.shown()


def test_who_goes_on_from_the_version_is_told_of_revisions_only() -> None:
    world = a_world(A, B)
    world.revise(A, "web")
    world.revise(B, "web")
    at = world.version
    assert told(world.source, world.source.watch(at)) == [("MODIFIED", "a"), ("MODIFIED", "b")]
    assert told(world.source, world.source.watch(None)) == []
    world.put(C)
    watcher = world.source.watch(at)
    assert told(world.source, watcher) == [("MODIFIED", "a"), ("MODIFIED", "b"), ("ADDED", "c")]
    assert told(world.source, world.source.watch(world.version)) == []


def test_a_delete_carries_the_version_of_the_set() -> None:
    world = a_world(A, B)
    watcher = world.source.watch(None)
    world.revise(A, None)
    taken = watcher.take()
    assert taken is not None
    assert f'"resourceVersion":"{world.version}"'.encode() in taken.events[0].gone()


def test_a_late_change_is_a_revision_too() -> None:
    """The version does not move with it, so whoever is at it may not have it."""
    world = a_world(A)
    world.source.apply([put(CONFIGMAPS, B, 50)], world.version)
    assert told(world.source, world.source.watch(world.version)) == [("ADDED", "b")]


def test_contents_that_are_shown_already_are_no_revision() -> None:
    world = a_world(A)
    entry = world.source.get(A)
    assert entry is not None
    watcher = world.source.watch(None)
    world.source.revise([Change(A, entry.version, entry.raw), gone(B, 1)])
    assert told(world.source, watcher) == []
    assert not world.source.revised


# -- how they end ---------------------------------------------------------------------------------


def test_what_the_source_tells_overrides_whatever_its_version() -> None:
    world = a_world(A, B)
    world.revise(A, "web")
    world.revise(B, None)
    watcher = world.source.watch(None)
    world.tell_again(A)
    world.tell_again(B)
    assert told(world.source, watcher) == [("MODIFIED", "a"), ("ADDED", "b")]
    assert contents(world.source) == {key: item.data for key, item in world.cloud.items()}
    assert not world.source.revised
    world.tell_again(A)
    assert told(world.source, watcher) == []


def test_a_delete_of_what_is_hidden_is_no_event_but_ends_the_revision() -> None:
    world = a_world(A)
    world.revise(A, None)
    watcher = world.source.watch(None)
    world.delete(A)
    assert told(world.source, watcher) == []
    assert (world.source.version, world.source.revised) == (world.version, {})


def test_restored_is_the_entry_that_was_told() -> None:
    world = a_world(A)
    before = world.source.get(A)
    watcher = world.source.watch(None)
    for label in ("web", "db"):
        world.revise(A, label)
    world.revise(B, "web")
    assert world.source.revised == {A: before, B: None}
    world.restore(A)
    world.restore(B)
    world.restore(C)
    assert world.source.get(A) is before
    assert told(world.source, watcher) == [
        *[("MODIFIED", "a")] * 2,
        ("ADDED", "b"),
        ("MODIFIED", "a"),
        ("DELETED", "b"),
    ]


def test_a_list_keeps_what_is_pending_where_nothing_new_is_told() -> None:
    world = a_world(A, B, C)
    local = "default/local"
    for key in (A, B, local):
        world.revise(key, "web")
    world.revise(C, None)
    watcher = world.source.watch(None)
    world.replace([(B, "db")])
    assert set(world.source.revised) == {A, C, local}
    assert told(world.source, watcher) == [("MODIFIED", "b")]
    assert contents(world.source) == world.shown()
    world.replace([(A, None), (C, "db"), (local, "db")])
    assert told(world.source, watcher) == [("DELETED", "a"), ("ADDED", "c"), ("MODIFIED", "local")]
    assert not world.source.revised


def test_another_history_keeps_revisions_of_what_it_does_not_name() -> None:
    world = a_world(A, B)
    world.revise(A, "web")
    world.revise(B, "web")
    world.source.reset([put(CONFIGMAPS, A, 500)], 500)
    assert set(world.source.revised) == {B}
    assert {entry.key for entry in world.source.unrevised()} == {A, B}


# -- who comes from elsewhere ---------------------------------------------------------------------


def test_who_is_ahead_lists_once_the_cache_is_as_far() -> None:
    """What it knows of the revised object is older than ours, or newer; nobody can say."""
    world = a_world(A)
    ahead, far_ahead = world.source.watch(150), world.source.watch(1000)
    world.revise(A, "web")
    late = world.source.watch(150)
    for watcher in (ahead, late):
        assert told(world.source, watcher) == []
        assert watcher.version == 150
    world.source.apply([put(CONFIGMAPS, B, 160)], 160)
    for watcher in (ahead, late):
        with pytest.raises(TooOld):
            watcher.take()
    assert told(world.source, far_ahead) == []


def test_who_is_ahead_is_told_of_revisions_once_the_cache_is_exactly_there() -> None:
    world = a_world(A)
    ahead = world.source.watch(world.version + 1)
    world.put(A)
    world.revise(A, "web")
    assert told(world.source, ahead) == [("MODIFIED", "a")]


# -- windows --------------------------------------------------------------------------------------


def test_revisions_at_the_current_version_never_leave_the_window() -> None:
    """Whoever lists gets this version and must be able to go on; memory stays bounded."""
    world = a_world(A, B, window=16)
    live = Client(world.source)
    away = Client(world.source, Filter(labels=parse_labels("app=web")))
    version = world.version
    for count in range(500):
        world.revise(A, f"n{count}")
        live.take_all()
        live.bookmark()
        if count == 250:
            world.revise(B, "web")
            assert list(away.take_all()) == [B]
            away.bookmark()
            away.leave()
            world.revise(B, "n1")
            world.revise(B, "n2")
    assert len(world.source.window) <= 32
    assert live.take_all() == contents(world.source)
    assert away.take_all() == {}  # of B's events only the last is left: it never matched there
    assert live.lists == away.lists == 1
    assert world.source.watch(version)


def test_the_version_whose_revisions_have_left_is_too_old() -> None:
    world = a_world(A, window=8)
    at = world.version
    world.revise(A, "web")
    for _ in range(8):
        world.put(B)
    with pytest.raises(TooOld):
        world.source.watch(at)
    assert world.source.watch(world.source.oldest)


def test_more_keys_than_the_window_holds_are_told_all_the_same() -> None:
    world = a_world(window=8)
    client = Client(world.source)
    client.come()
    for round_ in range(5):
        changes = [put(CONFIGMAPS, f"default/n{n}", 1, r=f"{round_}") for n in range(50)]
        world.source.revise(changes)
    assert len(world.source.window) <= 2 * 50 + 50
    again = Client(world.source)
    again.state = {}
    assert again.take_all() == client.take_all() == contents(world.source)


# -- gaps -----------------------------------------------------------------------------------------


def test_gaps_are_as_without_revisions() -> None:
    cache = WatchCache(CONFIGMAPS)
    cache.replace({A: Item(10, put(CONFIGMAPS, A, 10).data or b"")}, 100)
    cache.revise([put(CONFIGMAPS, A, 10, local="yes")])
    cache.apply([put(CONFIGMAPS, B, 150)], 160, exact=False)
    cache.revise([put(CONFIGMAPS, B, 150, local="yes")])
    for within in (101, 150, 159):
        with pytest.raises(TooOld):
            cache.watch(within)
    assert told(cache, cache.watch(160)) == [("MODIFIED", "b")]
    names = [name for _, name in told(cache, cache.watch(100))]
    assert names == ["a", "b", "b"]
    assert told(cache, cache.watch(150)) == [("MODIFIED", "b")]  # as it was told by us
