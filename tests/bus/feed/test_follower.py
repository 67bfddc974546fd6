"""The following end, case by case; `test_convergence.py` has what nobody thinks of."""

from __future__ import annotations

import pytest

from bus import zstd
from bus.feed import Change, FeedSettings, FollowerCore, Item, Position, PublisherCore, TickEntry
from bus.feed.follower import Phase
from bus.feed.frames import Frame, encode_frame
from bus.feed.sync import Answer, AnswerKind, decode_request, encode_answer
from tests.bus.feed.talk import Talk, converse, hand_over, items_of, slices, take

SETTINGS = FeedSettings()
TINY = FeedSettings(chunk_bytes=60, request_bytes=300)  # an answer holds a part of a bucket
SMALL = FeedSettings(frame_bytes=3000, chunk_bytes=3000, ring_bytes=3000, request_bytes=200)
START = slices(60, 3)
HERE = Position(1, 1_000_100)


def at(version: int) -> Position:
    return Position(1, version)


def put(key: str, version: int) -> Change:
    return Change(key, version, b"%s at %d, and more of the same" % (key.encode(), version))


def pair(settings: FeedSettings = SETTINGS) -> tuple[PublisherCore, FollowerCore]:
    """In step, with `START`."""
    publisher = PublisherCore("feed", 7, settings)
    publisher.restore(items_of(START), HERE)
    follower = FollowerCore("feed", settings)
    converse(publisher, follower)
    assert_equal(publisher, follower)
    return publisher, follower


def assert_equal(publisher: PublisherCore, follower: FollowerCore) -> None:
    assert follower.phase is Phase.LIVE
    assert follower.items == publisher.items
    assert follower.position == publisher.position
    assert not follower.problems


def successor(publisher: PublisherCore, epoch: int = 8) -> PublisherCore:
    core = PublisherCore(publisher.name, epoch, publisher.settings)
    core.restore(publisher.items, publisher.position)
    return core


def test_a_fresh_follower_gets_one_batch_in_version_order() -> None:
    publisher = PublisherCore("feed", 7)
    publisher.restore(items_of(START), HERE)
    follower = FollowerCore("feed")
    batch = converse(publisher, follower).batch
    assert [c.version for c in batch.changes] == sorted(c.version for c in START)
    assert (batch.position, batch.reset) == (HERE, False)
    assert follower.items == publisher.items


def test_frames_are_batches_and_share_no_copies() -> None:
    publisher, follower = pair()
    change = put("default/a", 1_000_101)
    (batch,) = hand_over(publisher.publish([change], at(1_000_101)).frames, follower)
    assert batch.changes == (change,)
    assert follower.items["default/a"].data is batch.changes[0].data


def test_frames_replays_and_ticks_are_exact_unless_marked() -> None:
    publisher, follower = pair()
    first = publisher.publish([put("a", 1_000_101)], at(1_000_101)).frames
    listed = publisher.publish([put("a", 1_000_102)], at(1_000_105), exact=False).frames
    publisher.publish([], at(1_000_110))
    again = FollowerCore("feed")
    again.restore(dict(follower.items), follower.position, follower.upstream)
    live = hand_over(first + listed, follower)
    assert follower.on_tick(publisher.tick_entry())
    for batches in ([*live, follower.next_batch()], converse(publisher, again).batches):
        assert [batch.exact for batch in batches if batch][:2] == [True, False]
    assert again.counts["sync.replay"] == 1
    assert again.on_tick(publisher.tick_entry())
    advanced = again.next_batch()
    assert advanced is not None
    assert (advanced.position, advanced.exact) == (at(1_000_110), True)


def test_a_step_in_parts_is_exact_only_as_a_whole() -> None:
    _, follower = pair()
    epoch, seq = follower._cursor or (0, 0)
    frames = [
        Frame(epoch, seq + 1, at(1_000_110), True, [["a", 1_000_101, b"a"]], exact=False),
        Frame(epoch, seq + 2, at(1_000_110), False, [["b", 1_000_102, b"b"]]),
    ]
    (batch,) = hand_over([encode_frame(frame, SETTINGS) for frame in frames], follower)
    assert not batch.exact


@pytest.mark.parametrize("changed", [False, True])
def test_what_a_sync_brought_is_not_exact(changed: bool) -> None:
    """Not even where nothing differs: something may have come and gone."""
    publisher, follower = pair()
    again = successor(publisher)
    again.publish([put("a", 1_000_150)] if changed else [], at(1_000_160))
    versions = iter([1_000_170])  # a frame that overtakes the answer, and goes into the same batch

    def between() -> list[bytes]:
        return [f for v in versions for f in again.publish([put("b", v)], at(v)).frames]

    follower.ask()
    batch = converse(again, follower, between=between).batches[0]
    assert (batch.exact, bool(follower.counts["sync.buckets"])) == (False, changed)
    assert batch.position == at(1_000_170)
    fresh = FollowerCore("feed")
    assert not converse(again, fresh).batch.exact


def test_duplicates_do_nothing() -> None:
    publisher, follower = pair()
    frames = publisher.publish([put("a", 1_000_101)], at(1_000_101)).frames
    assert len(hand_over(frames * 3, follower)) == 1
    assert follower.counts["duplicates"] == 2
    assert follower.next_requests() == []


def test_a_short_gap_is_replayed() -> None:
    publisher, follower = pair()
    frames = [
        publisher.publish([put("a", v)], at(v)).frames[0] for v in range(1_000_101, 1_000_105)
    ]
    assert hand_over([frames[0], frames[3]], follower)[-1].position == at(1_000_101)
    talk = converse(publisher, follower)
    assert [batch.position.version for batch in talk.batches] == [1_000_102, 1_000_103, 1_000_104]
    assert follower.counts["sync.replay"] == 1
    assert_equal(publisher, follower)


def test_a_lost_tail_shows_in_the_tick() -> None:
    publisher, follower = pair()
    publisher.publish([put("a", 1_000_101)], at(1_000_101))
    assert not follower.on_tick(publisher.tick_entry())
    converse(publisher, follower)
    assert_equal(publisher, follower)
    assert follower.on_tick(publisher.tick_entry())


def test_a_tick_moves_the_list_version_on() -> None:
    publisher, follower = pair()
    publisher.publish([], at(1_000_200))
    old = publisher.tick_entry()
    publisher.publish([], at(1_000_300))
    assert follower.on_tick(publisher.tick_entry())
    batch = follower.next_batch()
    assert batch is not None
    assert (batch.changes, batch.position) == ((), at(1_000_300))
    assert not follower.on_tick(old)
    assert follower.next_batch() is None


def test_a_restarted_publisher_with_the_same_state_costs_one_small_question() -> None:
    publisher, follower = pair()
    again = successor(publisher)
    assert hand_over(again.announce(), follower) == []
    talk = converse(again, follower)
    assert (talk.round_trips, talk.batches) == (1, [])
    assert talk.up + talk.down < 100
    assert_equal(again, follower)


def test_what_changed_meanwhile_comes_as_one_batch_in_version_order() -> None:
    publisher, follower = pair()
    again = successor(publisher)
    keys = [change.key for change in START[:3]]
    changes = [put(keys[1], 1_000_150), put("new", 1_000_140), Change(keys[0], 1_000_130, None)]
    again.publish(changes, at(1_000_160))
    follower.ask()
    batch = converse(again, follower).batch
    assert [(c.key, c.version) for c in batch.changes] == [
        ("new", 1_000_140),
        (keys[1], 1_000_150),
        (keys[0], 1_000_160),  # the delete's own version is not known any more
    ]
    assert_equal(again, follower)


@pytest.mark.parametrize("settings", [SETTINGS, SMALL, TINY])
def test_a_sync_while_frames_flow_needs_one_round(settings: FeedSettings) -> None:
    """Chunks overtake frames and frames overtake chunks: each change counts once, in order."""
    publisher, follower = pair(settings)
    again = successor(publisher)
    keys = [change.key for change in START]
    again.publish([put(key, 1_000_101 + i) for i, key in enumerate(keys[::2])], at(1_000_200))
    version = iter(range(1_000_201, 1_100_000))

    def between() -> list[bytes]:
        v = next(version)
        key = keys[v * 7 % len(keys)]
        change = Change(key, v, None) if key in again.items and v % 3 == 0 else put(key, v)
        return again.publish([change], at(v)).frames

    follower.ask()
    talk = converse(again, follower, between=between)
    assert talk.batches[0].position.version > 1_000_200
    assert follower.counts["restarts"] == 0
    assert follower.counts["sync.buckets"] == 1
    assert_equal(again, follower)


def test_a_step_in_parts_shows_only_once_it_is_whole() -> None:
    publisher, follower = pair(SMALL)
    frames = publisher.publish(
        [Change(f"n{i}", 1_000_101 + i, bytes(1000)) for i in range(9)], at(1_000_110)
    ).frames
    assert len(frames) > 2
    assert hand_over(frames[:-1], follower) == []
    assert "n0" not in follower.items
    assert follower.next_requests() == []
    (batch,) = hand_over(frames[-1:], follower)
    assert len(batch.changes) == 9


def test_a_publisher_that_is_behind_is_waited_for() -> None:
    publisher, follower = pair()
    late = successor(publisher, epoch=9)
    hand_over(publisher.publish([put("a", 1_000_150)], at(1_000_150)).frames, follower)
    follower.turn()
    assert converse(late, follower).batches == []
    assert follower.is_behind
    assert "a" in follower.items
    hand_over(late.publish([put("b", 1_000_120)], at(1_000_120)).frames, follower)
    assert not follower.on_tick(late.tick_entry())
    assert follower.next_requests() == []
    frames = late.publish([put("a", 1_000_150), Change("b", 1_000_151, None)], at(1_000_151)).frames
    hand_over(frames, follower)
    converse(late, follower)
    assert_equal(late, follower)


def test_a_publisher_of_an_earlier_lineage_is_waited_for() -> None:
    publisher, follower = pair()
    hand_over(publisher.publish([], Position(2, 50)).frames, follower)
    late = PublisherCore("feed", 9)
    late.restore({}, Position(1, 9_000_000))
    follower.turn()
    converse(late, follower)
    assert follower.is_behind
    assert len(follower.items) == len(START)


@pytest.mark.parametrize("where", [Position(1, 1_000_099), Position(0, 9_000_000)])
def test_an_older_state_is_not_taken_whoever_offers_it(where: Position) -> None:
    _, follower = pair()
    follower.turn()
    (hello,) = follower.next_requests()
    liar = Answer(AnswerKind.EQUAL, hello.id, 9, 1, where, 0.0)
    assert follower.on_answer(encode_answer(liar, SETTINGS))
    assert follower.next_batch() is None
    assert (follower.is_behind, follower.position) == (True, HERE)


@pytest.mark.parametrize("missed", [False, True])
def test_a_rolled_back_source_resets(missed: bool) -> None:
    publisher, follower = pair()
    first, second, third = (change.key for change in START[:3])
    same_version_other_bytes = Change(second, START[1].version, b"of another history")
    back = [Change(first, 500, None), same_version_other_bytes, put(third, 400)]
    frames = publisher.publish(back, Position(2, 500)).frames
    if missed:
        publisher = successor(publisher)
        follower.ask()
        talk = converse(publisher, follower)
    else:
        talk = Talk(hand_over(frames, follower))
    assert talk.batch.reset
    assert talk.batch.position == Position(2, 500)
    assert sorted(c.key for c in talk.batch.changes) == sorted([first, second, third])
    assert_equal(publisher, follower)


def test_a_delta_on_other_bytes_brings_the_object_whole() -> None:
    """The same version written differently: two builds of a publisher, say."""
    publisher, follower = pair()
    key = START[0].key
    follower._state.items[key] = Item(START[0].version, b"the same object, written differently")
    data = publisher.items[key].data.replace(b"true", b"false", 1)
    hand_over(publisher.publish([Change(key, 1_000_101, data)], at(1_000_101)).frames, follower)
    assert not follower.is_live
    converse(publisher, follower)
    assert follower.problems == {"delta against other bytes than ours": 1}
    assert follower.items == publisher.items
    assert follower.counts["answer_bytes"] > len(zstd.compress(data))


def test_foreign_and_damaged_frames_are_counted_and_cost_a_question() -> None:
    publisher, follower = pair()
    (good,) = publisher.publish([put("a", 1_000_101)], at(1_000_101)).frames
    for bad in (b"", b"junk junk", good[:-1], good[:6] + b"\xff" + good[7:]):
        hand_over([bad], follower)
    assert sum(follower.problems.values()) == 4
    assert converse(publisher, follower).round_trips == 1
    assert follower.items == publisher.items


def test_only_the_first_problem_of_a_kind_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    _, follower = pair()
    hand_over([b"junk junk"] * 5, follower)
    assert len(caplog.records) == 1
    assert follower.problems["foreign message"] == 5


def test_what_a_lost_publisher_sent_is_not_sent_again() -> None:
    publisher = PublisherCore("feed", 7, SMALL)
    publisher.restore(items_of(START), HERE)
    whole = converse(publisher, FollowerCore("feed", SMALL)).down
    follower = FollowerCore("feed", SMALL)
    for _ in range(4):  # hello, then some chunks
        for request in follower.next_requests():
            follower.on_answer(publisher.answer(request.data, 0.0))
    assert follower.items == {}
    follower.turn()
    rest = converse(successor(publisher), follower).down
    assert rest < whole - 3 * SMALL.chunk_bytes // 4
    assert follower.items == publisher.items


def test_a_restored_follower_goes_on_by_a_replay() -> None:
    publisher, follower = pair()
    stored = (dict(follower.items), follower.position, follower.upstream)
    publisher.publish([put("a", 1_000_101)], at(1_000_101))
    again = FollowerCore("feed")
    again.restore(*stored)
    talk = converse(publisher, again)
    assert (talk.round_trips, len(talk.batches)) == (1, 1)
    assert again.counts["sync.replay"] == 1
    assert_equal(publisher, again)


def test_upstream_belongs_to_the_batch_returned_last() -> None:
    publisher, follower = pair()
    for version in (1_000_101, 1_000_102):
        for frame in publisher.publish([put("a", version)], at(version)).frames:
            follower.on_frame(frame)
    follower.next_batch()
    stored = (dict(follower.items), follower.position, follower.upstream)
    follower.next_batch()
    assert stored[1] == at(1_000_101)
    again = FollowerCore("feed")
    again.restore(*stored)
    assert converse(publisher, again).batch.position == at(1_000_102)


def test_a_slow_consumer_loses_frames_and_then_syncs() -> None:
    settings = FeedSettings(pending_bytes=3000, hello_bytes=1000)
    publisher, follower = pair(settings)
    for version in range(1_000_101, 1_000_300):
        for frame in publisher.publish([put(f"k{version % 9}", version)], at(version)).frames:
            follower.on_frame(frame)
    assert follower.dropped > 100
    converse(publisher, follower)
    assert_equal(publisher, follower)


def test_lost_requests_are_made_anew_and_a_slow_link_gets_a_narrow_window() -> None:
    publisher = PublisherCore("feed", 7, SMALL)
    publisher.restore(items_of(START), HERE)
    follower = FollowerCore("feed", SMALL)
    (hello,) = follower.next_requests()
    follower.on_failed(hello.id)
    (hello,) = follower.next_requests()
    assert not hello.is_bulk
    follower.on_answer(publisher.answer(hello.data))
    lost = follower.next_requests()
    assert len(lost) == SMALL.window
    for request in lost:
        assert request.is_bulk
        follower.on_failed(request.id, slow=True)
    (narrow,) = follower.next_requests()
    assert not follower.on_answer(publisher.answer(lost[0].data))  # too late: asked anew
    assert follower.on_answer(publisher.answer(narrow.data))
    assert len(follower.next_requests()) == 2
    assert follower.next_requests() == []


def test_hellos_that_fail_again_and_again_ask_for_less() -> None:
    _, follower = pair()
    follower.ask()
    epochs = []
    for _ in range(7):
        (request,) = follower.next_requests()
        asked = decode_request(request.data, SETTINGS)
        epochs.append(asked.epoch)
        follower.on_failed(request.id, slow=True)
    assert epochs == [7, 7, 7, 0, 7, 0, 7]


def test_frames_that_overtake_the_answer_make_it_needless() -> None:
    publisher, follower = pair()
    follower.ask()
    (hello,) = follower.next_requests()
    answer = publisher.answer(hello.data)
    hand_over(publisher.publish([put("a", 1_000_101)], at(1_000_101)).frames, follower)
    assert follower.on_answer(answer)
    assert_equal(publisher, follower)


def test_equal_is_believed_only_of_what_was_asked_about() -> None:
    """The old publisher's frames arrive between the hello and its answer by the new one."""
    publisher, follower = pair()
    new = successor(publisher)
    new.publish([], at(1_000_500))
    follower.ask()
    (hello,) = follower.next_requests()
    answer = new.answer(hello.data)
    hand_over(publisher.publish([put("a", 1_000_101)], at(1_000_101)).frames, follower)
    follower.on_answer(answer)
    converse(new, follower)
    assert_equal(new, follower)


def test_a_stage_of_an_older_state_is_let_go_once_frames_moved_on() -> None:
    """A round against another publisher began, was left, and the old one went on meanwhile."""
    publisher, follower = pair(SMALL)
    other = successor(publisher)
    other.publish([put("other", 1_000_150)], at(1_000_150))
    follower.turn()
    (hello,) = follower.next_requests()
    follower.on_answer(other.answer(hello.data))
    assert follower.phase is Phase.TAKING
    follower.turn()
    frames = publisher.publish([put("other", 1_000_150), put("b", 1_000_160)], at(1_000_160)).frames
    assert len(hand_over(frames, follower)) == 1
    last = successor(publisher, epoch=10)
    last.publish([Change("b", 1_000_170, None)], at(1_000_170))
    assert converse(last, follower).batch.changes == (Change("b", 1_000_170, None),)
    assert_equal(last, follower)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"done": 99}, "chunk without progress"),
        ({"done": 0, "upto": None}, "chunk without progress"),
        ({"ops": [["elsewhere-1", 5]] * 3}, "chunk with keys of other buckets"),
        ({"epoch": 99}, "chunk of another publisher"),
    ],
)
def test_a_chunk_out_of_contract_starts_the_round_again(
    change: dict[str, object], problem: str
) -> None:
    publisher, follower = pair()
    again = successor(publisher)
    again.publish([put(START[0].key, 1_000_150)], at(1_000_150))
    follower.ask()
    (hello,) = follower.next_requests()
    follower.on_answer(again.answer(hello.data))
    (diff,) = follower.next_requests()
    chunk = Answer(AnswerKind.CHUNK, diff.id, 8, 1, again.position, 0.0, done=1)
    bad = chunk._replace(**change)  # type: ignore[arg-type]
    assert not follower.on_answer(encode_answer(bad, SETTINGS))
    assert follower.problems == {problem: 1}
    converse(again, follower)
    assert follower.items == again.items


def test_never_back_even_if_a_publisher_says_so() -> None:
    publisher, follower = pair()
    liar = Frame(7, publisher.seq + 1, at(5), False, [["default/a", 5, b"old"]])
    assert hand_over([encode_frame(liar, SETTINGS)], follower) == []
    old = Frame(7, publisher.seq + 1, at(2_000_000), False, [[START[0].key, 5, b"old"]])
    converse(publisher, follower)
    assert follower.position == HERE
    hand_over([encode_frame(old, SETTINGS)], follower)
    assert follower.items[START[0].key].version == START[0].version
    assert follower.problems == {"frame goes back": 1, "object goes back": 1}


def test_a_tick_of_another_lineage_without_its_frame_makes_it_ask() -> None:
    publisher, follower = pair()
    assert not follower.on_tick(TickEntry("feed", 7, publisher.seq, Position(2, 1), 0.0))
    talk = Talk()
    take(follower, talk)
    assert len(follower.next_requests()) == 1


def test_an_empty_publisher_is_followed_too() -> None:
    publisher = PublisherCore("feed", 7)
    follower = FollowerCore("feed")
    converse(publisher, follower)
    assert follower.is_behind  # it knows nothing yet
    frames = publisher.publish([], Position(1, 5)).frames
    hand_over(frames, follower)
    assert converse(publisher, follower).batch.position == Position(1, 5)
    assert_equal(publisher, follower)
