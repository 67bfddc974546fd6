"""Gaps of a watch cache: who is told that nobody knows here what happened meanwhile."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.kube.builtin import CONFIGMAPS
from actors.kube.gaps import Gaps
from actors.kube.watchcache import CacheSettings, TooOld, WatchCache, Watcher
from bus.feed.types import Change, Item
from tests.actors.kube.objects import gone, put


def item(key: str, version: int) -> Item:
    data = put(CONFIGMAPS, key, version).data
    assert data is not None
    return Item(version, data)


def filled(*names: str, **limits: int) -> WatchCache:
    """At version 100."""
    cache = WatchCache(CONFIGMAPS, CacheSettings(**limits))
    cache.replace({f"default/{name}": item(f"default/{name}", 10) for name in names}, 100)
    return cache


def _end(gaps: Gaps, version: int) -> int | None:
    gap = gaps.of(version)
    return gap.new if gap is not None else None


def told(watcher: Watcher) -> list[tuple[str, int]]:
    """What a client is told until now: keys and versions."""
    seen = []
    while (taken := watcher.take()) is not None:
        seen += [(event.key.removeprefix("default/"), event.version) for event in taken.events]
    return seen


# -- gaps alone -----------------------------------------------------------------------------------


def test_a_gap_is_what_lies_strictly_between() -> None:
    gaps = Gaps()
    gaps.add(100, 160)
    gaps.add(160, 161)  # there is nothing between
    gaps.add(170, 180)
    assert [_end(gaps, v) for v in (100, 101, 159, 160, 165, 170)] == [None, 160, 160, *[None] * 3]
    assert _end(gaps, 175) == 180
    assert _end(gaps, 500) is None
    assert len(gaps) == 2


def test_gaps_below_the_floor_are_forgotten() -> None:
    gaps = Gaps()
    gaps.add(100, 160)
    gaps.add(170, 180)
    gaps.forget(159)
    assert len(gaps) == 2
    gaps.forget(160)
    assert (len(gaps), _end(gaps, 150), _end(gaps, 175)) == (1, None, 180)


def test_too_many_gaps_grow_together_and_hide_none() -> None:
    gaps = Gaps()
    for old in range(0, 10_000, 10):
        gaps.add(old, old + 5)
    assert len(gaps) < 100
    assert all(_end(gaps, old + 2) for old in range(0, 10_000, 10))
    assert _end(gaps, 9_987) is None


# -- who is ahead when the cache crosses one ------------------------------------------------------


def test_who_is_within_the_gap_must_list_anew() -> None:
    """It holds what was created and deleted there: the difference does not name it."""
    cache = filled("a")
    within = [cache.watch(after) for after in (101, 150, 159)]
    woken: list[str] = []
    cache.on_event("within", lambda: woken.append("up"))
    cache.apply([], 160, exact=False)
    assert woken == ["up"]
    for watcher in within:
        with pytest.raises(TooOld):
            watcher.take()
    for after in (101, 150, 159):
        with pytest.raises(TooOld, match=rf"{after} \(160\)"):
            cache.watch(after)


def test_a_bookmark_claims_nothing_of_a_gap() -> None:
    cache = filled("a")
    watcher = cache.watch(150)
    cache.apply([], 160, exact=False)
    assert watcher.version == 150


def test_who_is_before_or_behind_the_gap_goes_on() -> None:
    cache = filled("a", "b")
    before, at_end, behind = cache.watch(100), cache.watch(160), cache.watch(170)
    deletes = [gone(f"default/{name}", 160) for name in "ab"]  # at versions that nobody knows
    cache.apply([*deletes, put(CONFIGMAPS, "default/c", 155)], 160, exact=False)
    assert [name for name, _ in told(before)] == ["a", "b", "c"]
    assert told(at_end) == told(behind) == []
    cache.apply([put(CONFIGMAPS, "default/c", 171)], 171)
    assert told(before) == told(at_end) == told(behind) == [("c", 171)]
    assert [name for name, _ in told(cache.watch(100))] == ["a", "b", "c", "c"]
    assert told(cache.watch(160)) == told(cache.watch(165)) == [("c", 171)]


def test_who_is_ahead_of_an_exact_step_goes_on() -> None:
    cache = filled("a")
    watcher = cache.watch(150)
    cache.apply([gone("default/a", 120), put(CONFIGMAPS, "default/b", 155)], 160, exact=True)
    assert told(watcher) == [("b", 155)]
    assert told(cache.watch(150)) == [("b", 155)]


def test_who_has_passed_a_step_is_not_touched_by_a_later_gap() -> None:
    cache = filled("a")
    watcher = cache.watch(105)
    cache.apply([put(CONFIGMAPS, "default/b", 110)], 110)
    cache.apply([put(CONFIGMAPS, "default/c", 150)], 160, exact=False)
    assert told(watcher) == [("b", 110), ("c", 150)]


def test_versions_within_a_gap_cannot_be_listed() -> None:
    cache = filled("a")
    cache.apply([gone("default/a", 130)], 160, exact=False)
    assert [len(cache.snapshot(version).entries) for version in (100, 160)] == [1, 0]
    for version in (101, 130, 159):
        with pytest.raises(TooOld):
            cache.snapshot(version)


def test_a_second_fill_is_a_difference() -> None:
    cache = filled("a")
    cache.replace({}, 160)
    with pytest.raises(TooOld):
        cache.watch(150)


def test_gaps_go_with_the_window_and_with_a_reset() -> None:
    cache = filled(window_events=16)
    cache.apply([], 160, exact=False)
    for version in range(161, 261):
        cache.apply([put(CONFIGMAPS, "default/a", version)], version)
    assert len(cache.gaps) == 0
    with pytest.raises(TooOld):
        cache.watch(150)
    cache.apply([], 300, exact=False)
    cache.reset([], 400)
    assert len(cache.gaps) == 0


# -- the model ------------------------------------------------------------------------------------

_STEPS = st.lists(st.tuples(st.booleans(), st.integers(0, 2)), min_size=1, max_size=24)
_CROSSINGS = st.lists(st.tuples(st.integers(1, 9), st.booleans()), min_size=1, max_size=8)
Keys = dict[str, int]


@settings(max_examples=100, deadline=None)
@given(steps=_STEPS, crossings=_CROSSINGS, data=st.data())
def test_a_client_from_elsewhere_ends_right_or_is_told_to_list(
    steps: list[tuple[bool, int]], crossings: list[tuple[int, bool]], data: st.DataObject
) -> None:
    """Clients come from every version of an exact history, at any time, to a cache that trails."""
    log, states = history(steps)
    cache = filled()
    clients: list[tuple[int, Watcher]] = []
    for count, exact in crossings:
        new = min(cache.version + count, 100 + len(steps))
        for after in data.draw(st.lists(st.integers(100, 100 + len(steps)), max_size=4)):
            clients += come(cache, after)
        cross(cache, log, states, new, exact)
    for after in range(100, 101 + len(steps)):
        clients += come(cache, after)
    for after, watcher in clients:
        check(cache, states, after, watcher)


def history(steps: list[tuple[bool, int]]) -> tuple[list[Change], dict[int, Keys]]:
    states: dict[int, Keys] = {100: {}}
    log = []
    for version, (is_put, number) in enumerate(steps, 101):
        key = f"default/n{number}"
        states[version] = {k: v for k, v in states[version - 1].items() if k != key}
        if is_put:
            states[version][key] = version
        log.append(put(CONFIGMAPS, key, version) if is_put else gone(key, version))
    return log, states


def come(cache: WatchCache, after: int) -> list[tuple[int, Watcher]]:
    try:
        return [(after, cache.watch(after))]
    except TooOld:
        assert _end(cache.gaps, after) is not None
        return []


def cross(
    cache: WatchCache, log: list[Change], states: dict[int, Keys], new: int, exact: bool
) -> None:
    old = cache.version
    if exact:
        cache.apply(log[old - 100 : new - 100], new)
        return
    was, now = states[old], states[new]
    changes = [gone(key, new) for key in was.keys() - now.keys()]
    changes += [put(CONFIGMAPS, k, v) for k, v in now.items() if was.get(k) != v]
    cache.apply(changes, new, exact=False)


def check(cache: WatchCache, states: dict[int, Keys], after: int, watcher: Watcher) -> None:
    state = dict(states[after])
    try:
        while (taken := watcher.take()) is not None:
            for event in taken.events:
                state.pop(event.key, None)
                if event.new is not None:
                    state[event.key] = event.new.version
    except TooOld:
        assert _end(cache.gaps, after) is not None
        return
    assert state == states[max(after, cache.version)]


def test_who_was_told_half_of_a_step_goes_on_behind_it() -> None:
    """A connection that broke within a step by difference costs its client no list."""
    cache = filled()
    watcher = cache.watch(100)
    changes = [
        put(CONFIGMAPS, f"default/{name}", at)
        for name, at in zip("abc", (113, 115, 117), strict=True)
    ]
    cache.apply(changes, 120, exact=False)
    with pytest.raises(TooOld):
        cache.watch(115)  # nobody was told yet: it must come from elsewhere
    assert told(watcher) == [("a", 113), ("b", 115), ("c", 117)]
    assert told(cache.watch(115)) == [("c", 117)]
    with pytest.raises(TooOld):
        cache.watch(116)  # no event of ours
