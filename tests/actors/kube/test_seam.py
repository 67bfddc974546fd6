from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from actors.kube.raw_events import Bookmark
from actors.kube.seam import Seam, Torn, contradiction
from bus.feed.types import Change, Item

Held = dict[str, Item]
Writes = list[tuple[str, bool]]  # key, and whether it is a put
KEYS = st.sampled_from("abc")
WRITES = st.lists(st.tuples(KEYS, st.booleans()), max_size=12)


def mark(version: int) -> Bookmark:
    return Bookmark(version, ends_initial=False)


def history(writes: Writes, life: str = "", begin: int = 1) -> list[Change]:
    return [
        Change(key, version, f"{life}{version}".encode() if is_put else None)
        for version, (key, is_put) in enumerate(writes, begin)
    ]


def state(events: list[Change]) -> Held:
    held: Held = {}
    for key, version, data in events:
        held.pop(key, None)
        if data is not None:
            held[key] = Item(version, data)
    return held


def told(events: list[Change], seam: Seam) -> list[Change | Bookmark]:
    return [event for event in events if event.version > seam.start]


def test_what_follows_our_version_in_the_same_chunk_is_handed_on() -> None:
    seam = Seam({"a": Item(5, b"a")}, 8)
    assert seam.start == 4
    assert seam.beyond([Change("a", 5, b"a"), Change("b", 9, b"b")]) == [Change("b", 9, b"b")]
    assert seam.is_over


def test_a_mark_at_our_version_ends_it_one_before_does_not() -> None:
    seam = Seam({"a": Item(5, b"a")}, 8)
    assert seam.beyond([Change("a", 5, b"a"), mark(7)]) == []
    assert seam.is_proven
    assert not seam.is_over
    assert seam.beyond([mark(8)]) == [mark(8)]
    assert seam.is_over


@pytest.mark.parametrize(
    "events",
    [
        [Change("a", 5, b"other")],
        [Change("b", 5, b"a")],
        [Change("a", 5, None)],
        [Change("b", 6, b"b")],
        [Change("b", 9, b"b")],
        [mark(8)],
        [Change("a", 5, b"a"), Change("a", 6, None), mark(8)],
        [Change("a", 5, b"a"), Change("a", 6, b"a"), mark(8)],
        [Change("a", 5, b"a"), Change("b", 6, b"b"), Change("c", 9, b"c")],
    ],
)
def test_another_past_is_noticed(events: list[Change | Bookmark]) -> None:
    with pytest.raises(Torn):
        Seam({"a": Item(5, b"a")}, 8).beyond(events)


def test_a_server_of_another_release_may_write_old_objects_otherwise() -> None:
    assert not contradiction({"a": Item(5, b"a")}, 8, {"a": Item(5, b"{a}")})


@given(before=WRITES, after=WRITES)
def test_one_history_is_never_doubted(before: Writes, after: Writes) -> None:
    past = history(before)
    held, version = state(past), len(past)
    whole = past + history(after, begin=version + 1)
    seam = Seam(held, version)
    later = [event for event in whole if event.version > version]
    if held:
        assert seam.beyond([*told(whole, seam), mark(99)]) == [*later, mark(99)]
    assert not contradiction(held, version, state(whole))


@given(before=WRITES, lost=WRITES, after=WRITES)
@example(before=[("b", True), ("a", True)], lost=[("b", False)], after=[])
def test_a_second_history_is_noticed_unless_it_comes_to_the_same(
    before: Writes, lost: Writes, after: Writes
) -> None:
    """Or differs by lost deletes alone, of objects older than our newest: see `Seam`."""
    past = history(before)
    old = past + history(lost, "lost ", len(past) + 1)
    new = past + history(after, "new ", len(past) + 1)
    held, version = state(old), len(old)
    seam = Seam(held, version)
    try:
        seam.beyond([*told(new, seam), mark(99)])
    except Torn:
        pass
    else:
        if held:
            found = state([event for event in new if event.version <= version])
            assert held.items() <= found.items()
            assert all(found[key].version <= seam.start for key in found.keys() - held.keys())
    if not contradiction(held, version, state(new)):
        kept = {key: item for key, item in state(new).items() if item.version <= version}
        assert {key: item.version for key, item in kept.items()}.items() <= {
            key: item.version for key, item in held.items()
        }.items()
