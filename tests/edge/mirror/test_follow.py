"""What a stream does to a mirror's contents, frame by frame."""

from __future__ import annotations

import pytest

from actors.kube.watchcache import TooOld, WatchCache
from bus.errors import DecodeError
from bus.feed.ops import encode_op
from bus.feed.types import Change, Item
from bus.mirror import Began, Changed, Listed, Live, Stale
from edge.mirror.follow import AskAnew, Follow
from tests.edge.mirror.worlds import PODS


def raw(name: str, version: int) -> bytes:
    text = f'{{"metadata":{{"name":"{name}","namespace":"d","resourceVersion":"{version}"}}}}'
    return text.encode()


def put(name: str, version: int) -> Change:
    return Change(f"d/{name}", version, raw(name, version))


def whole(*changes: Change) -> list[list[object]]:
    return [encode_op(change, None) for change in changes]


def filled(*changes: Change, version: int) -> Follow:
    follow = Follow(WatchCache(PODS))
    follow.take(Began())
    follow.take(Changed(0, whole(*changes)))
    assert follow.take(Listed(version, [])).is_whole
    follow.take(Live())
    return follow


def test_a_list_then_events() -> None:
    follow = filled(put("a", 3), put("b", 5), version=7)
    assert (follow.ask().version, follow.ask().have, follow.is_live) == (7, None, True)
    watcher = follow.cache.watch(7)
    delta = encode_op(put("a", 8), follow.items["d/a"])
    assert len(delta) == 4
    step = follow.take(Changed(9, [delta, ["d/b", 9]]))
    assert [change.key for change in step.changes] == ["d/a", "d/b"]
    taken = watcher.take()
    assert taken is not None
    assert [event.version for event in taken.events] == [8, 9]
    assert follow.items == {"d/a": Item(8, raw("a", 8))}


def test_deltas_build_on_each_other_within_a_frame() -> None:
    follow = filled(put("a", 3), version=3)
    first = encode_op(put("a", 4), follow.items["d/a"])
    second = encode_op(put("a", 5), Item(4, raw("a", 4)))
    follow.take(Changed(5, [first, second]))
    assert follow.items["d/a"] == Item(5, raw("a", 5))


def test_a_list_as_the_difference() -> None:
    follow = filled(put("a", 3), put("b", 4), put("c", 5), version=7)
    follow.lost()
    follow.expired()
    ask = follow.ask()
    assert (ask.version, ask.have) == (0, {"d/a": 3, "d/b": 4, "d/c": 5})
    watcher = follow.cache.watch(7)
    follow.take(Began())
    follow.take(Changed(0, whole(put("b", 9), put("e", 10))))
    step = follow.take(Listed(12, ["d/c"]))
    assert not step.is_whole
    assert sorted(follow.items) == ["d/a", "d/b", "d/e"]
    taken = watcher.take()
    assert taken is not None
    assert len(taken.events) == 3
    with pytest.raises(TooOld):  # what came and went between is not known
        follow.cache.watch(8)
    assert follow.ask().version == 12


def test_a_list_that_had_to_come_whole_shows_what_is_gone() -> None:
    follow = filled(put("a", 3), put("b", 4), version=7)
    follow.expired()
    assert follow.ask(tell=False).have is None
    follow.take(Began())
    follow.take(Changed(0, whole(put("a", 3))))
    follow.take(Listed(9, []))
    assert list(follow.items) == ["d/a"]


def test_an_unfinished_list_changes_nothing() -> None:
    follow = filled(put("a", 3), version=7)
    follow.expired()
    follow.take(Began())
    follow.take(Changed(0, whole(put("b", 8))))
    follow.lost()
    assert (list(follow.items), follow.cache.version, follow.ask().version) == (["d/a"], 7, 0)


@pytest.mark.parametrize(("version", "puts"), [(6, []), (9, [put("a", 2)])])
def test_a_history_that_went_back_ends_watchers(version: int, puts: list[Change]) -> None:
    follow = filled(put("a", 3), version=7)
    watcher = follow.cache.watch(7)
    follow.expired()
    assert follow.ask().have is not None
    follow.take(Began())
    follow.take(Changed(0, whole(*puts)))
    with pytest.raises(AskAnew):  # what it matched with ours may be something else
        follow.take(Listed(version, []))
    follow.lost()
    assert follow.ask().have is None
    follow.take(Began())
    follow.take(Changed(0, whole(*puts)))
    step = follow.take(Listed(version, []))
    assert step.went_back
    assert follow.cache.version == version
    with pytest.raises(TooOld):
        watcher.take()


def test_a_delta_to_what_is_not_held_makes_it_ask_anew() -> None:
    follow = filled(put("a", 3), put("b", 3), version=7)
    delta = encode_op(put("a", 9), Item(8, raw("a", 8)))
    with pytest.raises(AskAnew):
        follow.take(Changed(9, [delta]))
    assert follow.items["d/a"].version == 3
    assert follow.ask().have == {"d/b": 3}


def test_what_is_stale_is_not_live_until_told() -> None:
    follow = filled(put("a", 3), version=7)
    follow.take(Stale("no API server"))
    assert (follow.is_live, follow.stale) == (False, "no API server")
    follow.take(Live())
    assert (follow.is_live, follow.stale) == (True, "")


def test_versions_move_without_changes() -> None:
    follow = filled(put("a", 3), version=7)
    assert follow.take(Changed(20, [])).changes == []
    assert follow.cache.version == 20


def test_changes_of_an_unknown_set_are_refused() -> None:
    follow = Follow(WatchCache(PODS))
    with pytest.raises(DecodeError):
        follow.take(Changed(4, whole(put("a", 4))))
    with pytest.raises(DecodeError):
        follow.take(Listed(4, []))


def test_equal_versions_of_another_history_are_not_believed() -> None:
    """The source says that it went back: all comes anew, whatever its version is by then."""
    follow = filled(put("a", 3), version=7)
    watcher = follow.cache.watch(7)
    follow.gone_back()
    assert (follow.ask().version, follow.ask().have) == (0, None)
    other = Change("d/a", 3, raw("a", 3) + b" ")
    follow.take(Began())
    follow.take(Changed(0, whole(other)))
    assert follow.take(Listed(9, [])).went_back
    entry = follow.cache.get("d/a")
    assert entry is not None
    assert entry.raw == other.data
    with pytest.raises(TooOld):
        watcher.take()
