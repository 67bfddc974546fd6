"""Revisions and derived caches: what a client ends up with, whatever happens."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loguru import logger

from actors.kube.builtin import CONFIGMAPS
from actors.kube.derived import DerivedCache, Transform
from actors.kube.filters import EVERYTHING, Filter
from actors.kube.selectors import parse_labels
from actors.kube.watchcache import TooOld, WatchCache
from bus.feed.types import Item
from tests.actors.kube.objects import gone, put
from tests.actors.kube.revised_worlds import Client, Rules, Shown, World, contents, key_of

A, B, C = "default/a", "default/b", "default/c"
WEB = Filter(labels=parse_labels("app=web"))

_KEYS = st.integers(0, 4).map(key_of)
_LABELS = st.sampled_from(["web", "db", None])
_CHANGES = st.lists(st.tuples(_KEYS, _LABELS), max_size=4)
_WAYS = st.sampled_from(["as it is", "hidden", "no web", "marked", "broken"])
_OPS = st.one_of(
    st.tuples(st.just("put"), _KEYS, st.sampled_from(["web", "db"])),
    st.tuples(st.just("delete"), _KEYS),
    st.tuples(st.just("differ"), _CHANGES),
    st.tuples(st.just("replace"), _CHANGES),
    st.tuples(st.just("tell_again"), _KEYS),
    st.tuples(st.just("revise"), _KEYS, _LABELS),
    st.tuples(st.just("revise"), _KEYS, _LABELS),
    st.tuples(st.just("restore"), _KEYS),
    st.tuples(st.just("retransform"), _KEYS, _WAYS, st.booleans()),
    st.tuples(st.just("retransform"), _KEYS, _WAYS, st.booleans()),
    st.tuples(st.just("advance")),
    st.tuples(st.just("reset")),
)
_DOINGS = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.sampled_from(["take", "take", "leave", "come", "bookmark", "take_all"]),
        st.integers(0, 50),
    ),
    max_size=4,
)


@settings(max_examples=200, deadline=None)
@given(steps=st.lists(st.tuples(_OPS, _DOINGS), max_size=40), window=st.integers(2, 16))
def test_clients_end_up_with_what_is_shown(
    steps: list[tuple[tuple[Any, ...], list[tuple[int, str, int]]]], window: int
) -> None:
    """They leave at any time, and come again by any version that they have seen."""
    world = World(window)
    caches = (world.source, world.derived.cache)
    clients = [Client(cache, filter_) for cache in caches for filter_ in (EVERYTHING, WEB)]
    past: dict[WatchCache, dict[int, Shown]] = {cache: {} for cache in caches}
    for (name, *args), doings in steps:
        getattr(world, name)(*args)
        if name == "reset":
            past = {cache: {} for cache in caches}
        check(world, past)
        for number, doing, index in doings:
            do(clients[number], doing, index)
    for client in clients:
        assert client.take_all() == contents(client.cache, client.filter)


def check(world: World, past: dict[WatchCache, dict[int, Shown]]) -> None:
    source, derived = world.source, world.derived.cache
    assert source.version == derived.version == world.version
    assert contents(source) == world.shown()
    assert contents(derived) == world.rules.result(world.shown())
    told = {entry.key: entry.raw for entry in source.unrevised()}
    assert told == {key: item.data for key, item in world.cloud.items()}
    for cache, states in past.items():
        states[cache.version] = contents(cache)
        for version, state in states.items():
            try:
                assert contents(cache, at=version) == state
            except TooOld:
                assert version < cache.oldest


def do(client: Client, doing: str, index: int) -> None:
    if doing == "come":
        client.come(index)
    else:
        getattr(client, doing)()


# -- one by one -----------------------------------------------------------------------------------


def as_it_is(_key: str, raw: bytes) -> bytes:
    return raw


def hide(hidden: str) -> Transform:
    return lambda key, raw: None if key == hidden else raw


def test_what_is_unchanged_is_shared() -> None:
    world = World()
    world.put(A)
    derived = DerivedCache(world.source, as_it_is).cache
    world.put(B)
    copied = DerivedCache(world.source, lambda _, raw: bytes(bytearray(raw))).cache
    for key in (A, B):
        assert derived.get(key) is copied.get(key) is world.source.get(key)


def test_what_starts_to_be_hidden_goes_at_the_version_of_the_change() -> None:
    world = World()
    world.put(A, "db")
    world.retransform(A, "no web", only_it=True)
    client = Client(world.derived.cache)
    watcher = world.derived.cache.watch(None)
    world.put(A, "web")
    world.put(A, "db")
    taken = watcher.take()
    assert taken is not None
    assert [(e.version, e.new is None) for e in taken.events] == [(102, True), (103, False)]
    assert client.take_all() == contents(world.source)


def test_another_way_is_told_though_no_version_moves() -> None:
    world = World()
    world.put(A)
    world.put(B)
    client = Client(world.derived.cache)
    world.derived.retransform(hide(A))
    assert list(client.take_all()) == [B]
    world.derived.retransform(hide(B))
    assert list(client.take_all()) == [A]
    assert client.lists == 1
    assert not world.derived.cache.revised


def test_who_was_shown_the_source_goes_on_with_a_first_way() -> None:
    world = World()
    world.put(A)
    world.put(B)
    client = Client(world.source)
    derived = DerivedCache(world.source, as_it_is)
    derived.retransform(hide(A))
    client.cache = derived.cache
    assert list(client.take_all()) == [B]
    assert client.lists == 1


def test_the_source_s_gaps_are_the_derived_s() -> None:
    world = World()
    world.differ([(A, "web"), (B, "web"), (A, None)])
    for cache in (world.source, world.derived.cache):
        for within in (101, 102):
            with pytest.raises(TooOld):
                cache.watch(within)
        assert cache.watch(100)
        assert cache.watch(103)


def test_it_fills_resets_and_ends_with_its_source() -> None:
    source = WatchCache(CONFIGMAPS)
    derived = DerivedCache(source, hide(B)).cache
    assert not derived.filled
    items = {key: Item(5, put(CONFIGMAPS, key, 5).data or b"") for key in (A, B)}
    source.replace(items, 10)
    assert (derived.filled, derived.version, list(contents(derived))) == (True, 10, [A])
    watcher = derived.watch(10)
    source.reset([gone(A, 20)], 20)
    with pytest.raises(TooOld):
        watcher.take()
    assert (derived.version, contents(derived)) == (20, {})
    watcher, woken = derived.watch(20), []
    derived.on_event("one", lambda: woken.append("up"))
    source.close()
    assert woken == ["up"]
    for attempt in (watcher.take, lambda: derived.watch(None)):
        with pytest.raises(TooOld):
            attempt()
    with pytest.raises(TooOld):
        DerivedCache(source, hide(B)).cache.watch(None)


def test_one_that_is_closed_follows_no_more_and_its_source_goes_on() -> None:
    world = World()
    watcher = world.derived.cache.watch(None)
    world.derived.close()
    world.put(A)
    assert len(world.derived.cache) == 0
    with pytest.raises(TooOld):
        watcher.take()
    assert world.source.watch(100).take() is not None


def test_one_can_be_derived_from_another() -> None:
    world = World()
    second = DerivedCache(world.derived.cache, hide(B)).cache
    client = Client(second)
    for key in (A, B, C):
        world.put(key)
    world.retransform(A, "hidden", only_it=False)
    world.advance()
    assert list(client.take_all()) == [C]
    assert second.version == world.version


def test_what_cannot_be_transformed_is_shown_as_it_is() -> None:
    world = World()
    world.retransform(A, "broken", only_it=True)
    logged: list[str] = []
    sink = logger.add(logged.append, format="{message}")
    for _ in range(2):
        world.put(A)
    logger.remove(sink)
    assert contents(world.derived.cache) == contents(world.source)
    assert world.derived.failures == 2
    assert logged == ["configmaps.v1 default/a is shown unfiltered: ValueError('default/a')\n"]


async def test_a_gentle_change_of_ways_lets_others_run_and_misses_nothing() -> None:
    world = World()
    keys = [f"default/n{n:04}" for n in range(1000)]
    for key in keys:
        world.put(key, "web")
    client = Client(world.derived.cache)
    rules = Rules(dict.fromkeys(keys, "no web"))
    change = asyncio.create_task(world.derived.retransform_gently(rules))
    pauses = 0
    while not change.done():
        pauses += 1
        world.put(keys[-pauses], "db")
        world.delete(keys[500 + pauses])
        world.put(keys[pauses], "web")
        client.take()
        await asyncio.sleep(0)
    assert pauses > 5
    world.rules = rules
    assert client.take_all() == contents(world.derived.cache) == rules.result(world.shown())
    assert client.lists == 1
