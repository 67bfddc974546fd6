"""Frames, ticks, requests and answers: what is sent is what is read, and nothing else is."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus import zstd
from bus.errors import DecodeError
from bus.feed.frames import Frame, decode_frame, encode_frame, split_ops
from bus.feed.settings import FeedSettings
from bus.feed.sync import (
    Answer,
    AnswerKind,
    Diff,
    Hello,
    Replay,
    Request,
    decode_answer,
    decode_request,
    encode_answer,
    encode_request,
)
from bus.feed.tick import TickEntry, decode_tick, encode_tick
from bus.feed.types import Position
from bus.feed.wire import Kind, open_sealed, seal

BOUNDS = FeedSettings()
OPS = [["a", 3], ["b", 4, b"whole" * 100], ["c", 5, 1, b"delta"]]
WHERE = Position(2, 7)

REQUESTS: list[Request] = [
    Hello(1, 99, 5, Position(1, 10), 1, 2**64 - 1),
    Diff(2, 99, 1, 8, [(0, {"a": 1, "b": 2}), (7, {})], "a"),
    Diff(3, 99, 1, 1, [], None),
    Replay(4, 99, 5),
]
BARE = Answer(AnswerKind.EQUAL, 1, 99, 5, WHERE, 1.5)
ANSWERS = [
    BARE,
    BARE._replace(kind=AnswerKind.BEHIND, age=math.inf),
    BARE._replace(kind=AnswerKind.STALE),
    BARE._replace(kind=AnswerKind.REPLAY, frames=[b"one", b"two"]),
    BARE._replace(kind=AnswerKind.BUCKETS, buckets=2, total=5, hashes=(1, 2**64 - 1)),
    BARE._replace(kind=AnswerKind.SNAPSHOT, buckets=4, total=5),
    BARE._replace(kind=AnswerKind.CHUNK, ops=OPS, done=1, upto="k"),
]


def test_a_frame_comes_back() -> None:
    frame = Frame(99, 5, WHERE, True, OPS)
    read = decode_frame(encode_frame(frame, BOUNDS), BOUNDS)
    assert read._replace(size=0) == frame
    assert read.size > 500


@pytest.mark.parametrize(("more", "exact"), [(True, False), (False, True), (False, False)])
def test_flags_of_a_frame_cost_nothing(more: bool, exact: bool) -> None:
    data = encode_frame(Frame(99, 5, WHERE, more, [], exact=exact), BOUNDS)
    assert len(data) == len(encode_frame(Frame(99, 5, WHERE, False, []), BOUNDS))
    assert decode_frame(data, BOUNDS)[3:] == (more, [], 0, exact)


def test_flags_that_nobody_knows_are_out_of_contract() -> None:
    with pytest.raises(DecodeError, match="contract"):
        decode_frame(seal(Kind.FRAME, [99, 5, 1, 1, 4, []], BOUNDS), BOUNDS)


@pytest.mark.parametrize("request_", REQUESTS)
def test_a_request_comes_back(request_: Request) -> None:
    assert decode_request(encode_request(request_, BOUNDS), BOUNDS) == request_


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda a: a.kind.name)
def test_an_answer_comes_back(answer: Answer) -> None:
    read = decode_answer(encode_answer(answer, BOUNDS), BOUNDS)
    assert read._replace(frames=list(read.frames), ops=list(read.ops)) == answer._replace(
        frames=list(answer.frames), ops=list(answer.ops)
    )


def test_a_tick_comes_back() -> None:
    entries = [TickEntry("a", 9, 1, WHERE, 0.25), TickEntry("b", 8, 2, WHERE, math.inf)]
    assert decode_tick(encode_tick(entries)) == entries


def test_a_tick_of_the_usual_feeds_is_small() -> None:
    """It crosses the WAN every second."""
    names = ("catalog", "services_v1", "endpointslices_v1_discovery_k8s_io")
    entries = [TickEntry(name, 1 << 31, 99, Position(1 << 31, 1 << 20), 0.25) for name in names]
    raw = encode_tick(entries)
    assert decode_tick(raw) == entries
    assert len(raw) < 80
    for at in range(len(raw)):
        damaged = bytearray(raw)
        damaged[at] ^= 0x10
        with pytest.raises(DecodeError):
            decode_tick(bytes(damaged))


def test_a_squeezed_message_of_a_kind_without_words_is_refused() -> None:
    raw = bytearray(seal(Kind.FRAME, [], BOUNDS))
    raw[1] |= 0x40
    with pytest.raises(DecodeError, match="no words"):
        decode_frame(bytes(raw), BOUNDS)


Decode = Callable[[bytes, FeedSettings], Any]
DECODERS: list[tuple[Kind, Decode]] = [
    (Kind.FRAME, decode_frame),
    (Kind.REQUEST, decode_request),
    (Kind.ANSWER, decode_answer),
    (Kind.TICK, lambda data, _: decode_tick(data)),
]
SCALARS = (
    st.none() | st.booleans() | st.integers(-2, 8) | st.binary(max_size=9) | st.text(max_size=3)
)
SHAPES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=20,
)


@pytest.mark.parametrize(("kind", "decode"), DECODERS, ids=[kind.name for kind, _ in DECODERS])
@given(content=SHAPES)
def test_any_other_shape_is_a_decode_error(kind: Kind, decode: Decode, content: Any) -> None:
    with contextlib.suppress(DecodeError):
        decode(seal(kind, content, BOUNDS), BOUNDS)


@given(row=st.lists(SCALARS | st.lists(SHAPES, max_size=3), min_size=3, max_size=11))
def test_shapes_that_are_almost_right(row: list[Any]) -> None:
    for kind, decode in DECODERS:
        with contextlib.suppress(DecodeError):
            decode(seal(kind, row, BOUNDS), BOUNDS)


@given(st.binary(max_size=60))
def test_junk_is_a_decode_error(data: bytes) -> None:
    for _, decode in DECODERS:
        with pytest.raises(DecodeError):
            decode(data, BOUNDS)


@given(at=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_one_flipped_bit_is_noticed(at: float, bit: int) -> None:
    data = bytearray(encode_frame(Frame(99, 5, WHERE, False, OPS), BOUNDS))
    data[int(at * len(data))] ^= 1 << bit
    with pytest.raises(DecodeError):
        decode_frame(bytes(data), BOUNDS)


def test_a_bomb_in_a_frame_is_refused() -> None:
    bomb = seal(Kind.FRAME, [99, 5, 1, 1, 0, [["a", 1, bytes(64 << 20)]]], BOUNDS)
    assert len(bomb) < 20_000
    with pytest.raises(DecodeError, match="over"):
        decode_frame(bomb, BOUNDS)


def test_an_object_over_the_bound_is_out_of_contract() -> None:
    tight = FeedSettings(max_object=10)
    with pytest.raises(DecodeError, match="contract"):
        decode_frame(encode_frame(Frame(99, 5, WHERE, False, OPS), BOUNDS), tight)


def test_a_message_of_another_kind_is_refused() -> None:
    with pytest.raises(DecodeError, match="another kind"):
        open_sealed(Kind.TICK, seal(Kind.FRAME, [], BOUNDS), BOUNDS)


def test_what_gains_nothing_is_not_compressed() -> None:
    noise = zstd.compress(bytes(range(256)) * 3)
    assert len(seal(Kind.FRAME, noise, BOUNDS)) <= len(msgpack.packb(noise)) + 6


@given(sizes=st.lists(st.integers(0, 300), max_size=30), limit=st.integers(1, 500))
def test_parts_keep_all_ops_in_order_and_the_bound(sizes: list[int], limit: int) -> None:
    ops: list[Any] = [["k", i, bytes(size)] for i, size in enumerate(sizes)]
    parts = list(split_ops(ops, limit))
    assert [op for part in parts for op in part] == ops
    assert parts
    assert all(len(part) <= 1 or sum(len(op[2]) for op in part) <= limit for part in parts)
