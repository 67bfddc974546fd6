"""Hashes do not depend on the past; what a publisher remembers is bounded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bus.feed.memory import History, Ring
from bus.feed.state import FINE, State, bucket_of, buckets_for
from bus.feed.types import Item

KEYS = st.text(min_size=0, max_size=3)
STEPS = st.lists(st.tuples(KEYS, st.none() | st.integers(0, 9)), max_size=60)
BUCKETS = st.sampled_from([1, 2, 16, FINE])


def walk(steps: list[tuple[str, int | None]]) -> State:
    state = State()
    for key, version in steps:
        if version is None:
            state.remove(key)
        else:
            state.put(key, Item(version, bytes(version)))
    return state


@given(STEPS, BUCKETS)
def test_the_way_to_a_state_leaves_no_trace(steps: list[tuple[str, int | None]], n: int) -> None:
    walked = walk(steps)
    for built in (State(dict(reversed(walked.items.items()))), walked.copy()):
        assert built.items == walked.items
        assert built.root() == walked.root()
        assert built.hashes(n) == walked.hashes(n)
        assert built.bytes == walked.bytes == sum(len(i.data) for i in walked.items.values())


@given(STEPS, KEYS, BUCKETS)
def test_one_change_shows_in_its_bucket_only(
    steps: list[tuple[str, int | None]], key: str, n: int
) -> None:
    state = walk(steps)
    before = state.hashes(n)
    state.put(key, Item(77, b""))
    changed = [b for b, (x, y) in enumerate(zip(before, state.hashes(n), strict=True)) if x != y]
    assert changed == [bucket_of(key, n)]
    assert key in state.keys_in(bucket_of(key, n), n)


@given(STEPS, BUCKETS)
def test_every_key_is_in_one_bucket(steps: list[tuple[str, int | None]], n: int) -> None:
    state = walk(steps)
    found = [key for bucket in range(n) for key in state.keys_in(bucket, n)]
    assert sorted(found) == sorted(state.items)


def test_a_copy_goes_its_own_way() -> None:
    state = State({"a": Item(1, b"")})
    twin = state.copy()
    twin.put("b", Item(2, b""))
    assert state.items.keys() == {"a"}
    assert state.keys_in(bucket_of("b", FINE), FINE) == set()


def test_buckets_suit_the_size() -> None:
    assert [buckets_for(n) for n in (0, 1, 16, 17, 1000, 10**6)] == [1, 1, 2, 2, 128, FINE]


def test_a_ring_is_bounded_and_without_holes() -> None:
    ring = Ring(limit=100)
    for seq in range(1, 21):
        ring.add(seq, bytes([seq]) * 20)
    assert ring.after(14, 1000) is None
    assert ring.after(15, 1000) == ([bytes([seq]) * 20 for seq in range(16, 21)], True)
    assert ring.after(15, 45) == ([bytes([16]) * 20, bytes([17]) * 20], False)
    assert ring.after(20, 1000) == ([], True)
    assert ring.after(21, 1000) is None
    ring.add(21, bytes(500))
    assert ring.after(20, 10) == ([bytes(500)], True)


def test_a_ring_without_frames_replays_nothing() -> None:
    assert Ring(100).after(0, 100) == ([], True)
    assert Ring(100).after(3, 100) is None


def test_history_forgets_the_oldest() -> None:
    history = History(limit=50)
    for version in range(10):
        history.add("a", Item(version, bytes(10)))
    assert [v for v in range(10) if history.get("a", v)] == [5, 6, 7, 8, 9]
    history.add("a", Item(5, bytes(10)))
    history.add("b", Item(1, bytes(10)))
    assert history.get("a", 6) is None
    assert history.get("a", 5) == Item(5, bytes(10))
    history.add("c", Item(1, bytes(51)))
    assert history.get("c", 1) is None
