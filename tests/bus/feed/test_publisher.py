"""The publishing end alone: frames, bounds and answers."""

from __future__ import annotations

import pytest

from bus.feed import Change, FeedSettings, Item, Position, PublisherCore
from bus.feed.frames import decode_frame
from bus.feed.sync import (
    Answer,
    AnswerKind,
    Diff,
    Hello,
    Replay,
    Request,
    decode_answer,
    encode_request,
)

SETTINGS = FeedSettings(max_object=2000, frame_bytes=1000, chunk_bytes=1000, ring_bytes=2000)


def publisher(count: int = 0, version: int = 100) -> PublisherCore:
    core = PublisherCore("feed", 77, SETTINGS)
    core.restore({f"k{i:03}": Item(i + 1, noise(i)) for i in range(count)}, Position(1, version))
    return core


def noise(seed: int, size: int = 200) -> bytes:
    return bytes((seed * 31 + i * i * 7 + i * seed) % 251 for i in range(size))


def ask(core: PublisherCore, request: Request) -> Answer:
    return decode_answer(core.answer(encode_request(request, SETTINGS), 0.5), SETTINGS)


def hello(epoch: int = 0, seq: int = 0, where: Position | None = None, root: int = 1) -> Hello:
    where = where or Position(1, 50)
    return Hello(1, epoch, seq, where, where.lineage, root)


def test_the_first_state_is_announced_not_sent() -> None:
    core = PublisherCore("feed", 77, SETTINGS)
    assert core.tick_entry().position == Position()
    frames = core.publish([Change("a", 1, b"a1")], Position(1, 5)).frames
    (frame,) = [decode_frame(data, SETTINGS) for data in frames]
    assert (frame.seq, frame.ops, frame.position) == (1, [], Position(1, 5))
    assert core.items == {"a": Item(1, b"a1")}


def test_an_object_is_kept_by_reference() -> None:
    core = publisher()
    data = noise(1)
    core.publish([Change("a", 101, data)], Position(1, 101))
    assert core.items["a"].data is data


def test_nothing_new_makes_no_frame_but_moves_the_list_version() -> None:
    core = publisher(1)
    assert core.publish([Change("k000", 1, b"again")], Position(1, 120)).frames == []
    assert core.tick_entry(2.0) == ("feed", 77, 0, Position(1, 120), 2.0)
    assert core.stale == 1
    core.publish([], Position(1, 110))
    assert core.position == Position(1, 120)


def test_every_frame_of_an_inexact_step_is_marked_and_no_other() -> None:
    core = publisher()
    exact = core.publish([Change("a", 101, b"a")], Position(1, 101)).frames
    changes = [Change(f"n{i}", 102 + i, noise(i)) for i in range(12)]
    inexact = core.publish(changes, Position(1, 120), exact=False).frames
    assert [decode_frame(f, SETTINGS).exact for f in exact] == [True]
    assert [decode_frame(f, SETTINGS).exact for f in inexact] == [False] * len(inexact)
    assert len(inexact) > 2
    assert list(ask(core, Replay(1, 77, core.seq - 1)).frames) == inexact[-1:]


def test_a_step_that_may_have_hidden_something_makes_a_frame_even_if_nothing_is_left_of_it() -> (
    None
):
    core = publisher(1)
    (listed,) = core.publish([], Position(1, 110), exact=False).frames
    came_and_went = [Change("x", 111, b"x"), Change("x", 112, None)]
    (merged,) = core.publish(came_and_went, Position(1, 112)).frames
    for data, version in ((listed, 110), (merged, 112)):
        frame = decode_frame(data, SETTINGS)
        assert (frame.ops, frame.exact, frame.position) == ([], False, Position(1, version))
    assert core.publish([], Position(1, 112), exact=False).frames == []


def test_a_large_step_is_split_and_only_its_end_claims_it() -> None:
    core = publisher()
    changes = [Change(f"n{i}", 101 + i, noise(i)) for i in range(12)]
    frames = [decode_frame(f, SETTINGS) for f in core.publish(changes, Position(1, 120)).frames]
    assert len(frames) > 2
    assert [frame.more for frame in frames] == [True] * (len(frames) - 1) + [False]
    assert [op[0] for frame in frames for op in frame.ops] == [c.key for c in changes]
    assert all(frame.size <= SETTINGS.frame_bytes for frame in frames)


def test_an_object_over_a_frame_goes_alone() -> None:
    core = publisher()
    changes = [Change("a", 101, b"a"), Change("b", 102, noise(1, 1900)), Change("c", 103, b"c")]
    frames = [decode_frame(f, SETTINGS) for f in core.publish(changes, Position(1, 103)).frames]
    assert [[op[0] for op in frame.ops] for frame in frames] == [["a"], ["b"], ["c"]]


def test_an_object_over_the_bound_is_refused_and_the_rest_goes_on() -> None:
    core = publisher(2)
    changes = [Change("k000", 101, bytes(3000)), Change("k001", 102, b"small")]
    published = core.publish(changes, Position(1, 102))
    assert published.refused == ("k000",)
    assert core.items == {"k001": Item(102, b"small")}


def test_a_lower_lineage_is_a_mistake_of_the_caller() -> None:
    core = publisher()
    core.publish([], Position(2, 1))
    with pytest.raises(ValueError, match="after"):
        core.publish([], Position(1, 500))
    with pytest.raises(ValueError, match="restore"):
        core.restore({}, Position(3, 1))


def test_a_new_lineage_always_makes_a_frame() -> None:
    core = publisher(1)
    (data,) = core.publish([], Position(2, 50)).frames
    assert decode_frame(data, SETTINGS).position == Position(2, 50)


def test_who_is_ahead_or_too_early_is_told_to_wait() -> None:
    assert ask(publisher(), hello(where=Position(1, 101))).kind is AnswerKind.BEHIND
    assert ask(publisher(), hello(where=Position(2, 1))).kind is AnswerKind.BEHIND
    fresh = PublisherCore("feed", 77, SETTINGS)
    assert ask(fresh, hello(where=Position())).kind is AnswerKind.BEHIND


def test_hello_finds_the_cheapest_way() -> None:
    core = publisher(40)
    seen = core.seq
    core.publish([Change("k000", 101, b"new")], Position(1, 101))
    assert len(ask(core, hello(77, seen)).frames) == 1
    assert ask(core, hello(77, core.seq)).frames == []
    assert ask(core, hello(76, seen)).kind is AnswerKind.BUCKETS
    assert ask(core, hello(where=Position())).kind is AnswerKind.SNAPSHOT
    root = core._state.root()
    assert ask(core, hello(76, root=root)).kind is AnswerKind.EQUAL
    assert ask(core, hello(76, root=root)).position == Position(1, 101)


def test_a_long_gap_is_told_by_difference_and_a_lost_ring_too() -> None:
    core = publisher(4)
    for version in range(101, 200):
        core.publish([Change("k000", version, noise(version))], Position(1, version))
    assert ask(core, hello(77, 0)).kind is AnswerKind.BUCKETS
    assert ask(core, Replay(1, 77, 0)).kind is AnswerKind.STALE
    assert ask(core, Replay(1, 78, core.seq)).kind is AnswerKind.STALE
    assert ask(core, Replay(1, 77, core.seq - 1)).kind is AnswerKind.REPLAY


def test_a_chunk_tells_the_difference_only() -> None:
    core = publisher(3)
    theirs = {"k000": 1, "k001": 0, "gone": 9}
    answer = ask(core, Diff(1, 77, 1, 1, [(0, theirs)], None))
    assert answer.kind is AnswerKind.CHUNK
    assert [(op[0], len(op)) for op in answer.ops] == [("gone", 2), ("k001", 3), ("k002", 3)]
    assert (answer.done, answer.upto) == (1, None)


def test_a_chunk_uses_older_versions_as_bases() -> None:
    core = publisher(1)
    core.publish([Change("k000", 101, noise(0) + b"!")], Position(1, 101))
    answer = ask(core, Diff(1, 77, 1, 1, [(0, {"k000": 1})], None))
    (op,) = answer.ops
    assert op[:3] == ["k000", 101, 100]
    assert len(op[3]) < 40


def test_chunks_are_bounded_and_go_on_where_the_last_one_ended() -> None:
    core = publisher(40)
    found: list[str] = []
    wanted: list[tuple[int, dict[str, int]]] = [(0, {}), (1, {})]
    after = None
    for _ in range(40):
        answer = ask(core, Diff(1, 77, 1, 2, wanted, after))
        assert sum(len(op[2]) for op in answer.ops) <= SETTINGS.chunk_bytes + 200
        found += [op[0] for op in answer.ops]
        wanted, after = wanted[answer.done :], answer.upto
        if not wanted:
            break
    assert sorted(found) == sorted(core.items)
    assert len(found) == 40


def test_a_question_about_another_lineage_is_stale() -> None:
    core = publisher(1)
    assert ask(core, Diff(1, 77, 2, 1, [(0, {})], None)).kind is AnswerKind.STALE
    assert ask(core, Diff(1, 76, 1, 1, [(0, {})], None)).kind is AnswerKind.STALE


def test_junk_is_counted_and_answered() -> None:
    core = publisher()
    answer = decode_answer(core.answer(b"junk"), SETTINGS)
    assert (answer.kind, core.undecodable) == (AnswerKind.STALE, 1)
