"""Sync messages: what a follower asks and what a publisher answers. Each answer stands alone.

    hello  -> behind | equal | replay (frames) | buckets (hashes) | snapshot
    diff   -> chunk (changes of some buckets, and how far it got) | stale
    replay -> replay (frames) | stale

Every answer carries the publisher's epoch, seq and position at the moment of answering, so a
follower can sync while frames keep flowing: a bucket's state is exact as of that answer's seq.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import IntEnum
from typing import Any, NamedTuple, TypeAlias

from bus.errors import DecodeError
from bus.feed.ops import Op, check_ops, is_count
from bus.feed.settings import FeedSettings
from bus.feed.state import FINE
from bus.feed.tick import decode_age, encode_age, is_age
from bus.feed.types import Position
from bus.feed.wire import Kind, open_sealed, seal


class Hello(NamedTuple):
    """Where the follower is. `epoch` 0: replay is no use; `content_*`: what buckets are about."""

    id: int
    epoch: int
    seq: int
    position: Position
    content_lineage: int
    content_root: int


class Diff(NamedTuple):
    """What the follower has in some buckets of `buckets`; in the first, only keys > `after`."""

    id: int
    epoch: int
    lineage: int
    buckets: int
    wanted: list[tuple[int, dict[str, int]]]  # bucket, versions by key
    after: str | None


class Replay(NamedTuple):
    """The frames after `seq`, please."""

    id: int
    epoch: int
    seq: int


Request: TypeAlias = Hello | Diff | Replay


class AnswerKind(IntEnum):
    BEHIND = 0  # the publisher's position is before the follower's, or it has none yet
    EQUAL = 1  # same content: go on from here
    REPLAY = 2
    BUCKETS = 3
    SNAPSHOT = 4  # another lineage, or nothing to compare with: take all buckets
    CHUNK = 5
    STALE = 6  # the question is about a past that is gone: start again with hello


class Answer(NamedTuple):
    kind: AnswerKind
    id: int
    epoch: int
    seq: int
    position: Position
    age: float
    frames: Sequence[bytes] = ()  # replay
    buckets: int = 1  # buckets, snapshot: how many
    total: int = 0  # buckets, snapshot: bytes of all objects
    hashes: tuple[int, ...] = ()  # buckets
    ops: Sequence[Op] = ()  # chunk
    done: int = 0  # chunk: how many of the wanted buckets are complete
    upto: str | None = None  # chunk: in the next one, keys up to here are


def encode_request(request: Request, settings: FeedSettings) -> bytes:
    return seal(Kind.REQUEST, _request_row(request), settings)


def _request_row(request: Request) -> list[Any]:
    if isinstance(request, Hello):
        where = request.position
        at = [0, request.id, request.epoch, request.seq, where.lineage, where.version]
        return [*at, request.content_lineage, request.content_root]
    if isinstance(request, Replay):
        return [2, request.id, request.epoch, request.seq]
    head = [1, request.id, request.epoch, request.lineage, request.buckets]
    return [*head, request.wanted, request.after]


def decode_request(data: bytes, settings: FeedSettings) -> Request:
    """Raises DecodeError."""
    row = open_sealed(Kind.REQUEST, data, settings)
    if not isinstance(row, list) or not row:
        raise DecodeError("request out of contract", data)
    counts = all(map(is_count, row[:5]))
    if counts and row[0] == 0 and len(row) == 8 and all(map(is_count, row)):
        return Hello(row[1], row[2], row[3], Position(row[4], row[5]), row[6], row[7])
    if counts and row[0] == 1 and len(row) == 7 and _is_wanted(*row[4:]):
        return Diff(row[1], row[2], row[3], row[4], [(b, v) for b, v in row[5]], row[6])
    if counts and row[0] == 2 and len(row) == 4:
        return Replay(row[1], row[2], row[3])
    raise DecodeError("request out of contract", data)


def _is_wanted(buckets: Any, wanted: Any, after: Any) -> bool:
    if not _is_power(buckets) or not isinstance(wanted, list) or not isinstance(after, str | None):
        return False
    return all(_is_bucket(each, buckets) for each in wanted)


def _is_bucket(each: Any, buckets: int) -> bool:
    if not isinstance(each, list) or len(each) != 2 or not isinstance(each[1], dict):
        return False
    if not is_count(each[0]) or each[0] >= buckets:
        return False
    return all(isinstance(k, str) and is_count(v) for k, v in each[1].items())


def _is_power(buckets: Any) -> bool:
    return is_count(buckets) and 0 < buckets <= FINE and buckets & (buckets - 1) == 0


def encode_answer(answer: Answer, settings: FeedSettings) -> bytes:
    where = answer.position
    head = [int(answer.kind), answer.id, answer.epoch, answer.seq, where.lineage, where.version]
    return seal(Kind.ANSWER, [*head, encode_age(answer.age), *_answer_body(answer)], settings)


def _answer_body(answer: Answer) -> list[Any]:
    if answer.kind is AnswerKind.REPLAY:
        return [answer.frames]
    if answer.kind in (AnswerKind.BUCKETS, AnswerKind.SNAPSHOT):
        hashes = struct.pack(f"<{len(answer.hashes)}Q", *answer.hashes)
        return [answer.buckets, answer.total, hashes]
    if answer.kind is AnswerKind.CHUNK:
        return [answer.ops, answer.done, answer.upto]
    return []


def decode_answer(data: bytes, settings: FeedSettings) -> Answer:
    """Raises DecodeError."""
    row = open_sealed(Kind.ANSWER, data, settings)
    if not isinstance(row, list) or len(row) < 7 or not all(map(is_count, row[:6])):
        raise DecodeError("answer out of contract", data)
    if row[0] not in list(AnswerKind) or not is_age(row[6]):
        raise DecodeError("answer out of contract", data)
    position = Position(row[4], row[5])
    bare = Answer(AnswerKind(row[0]), row[1], row[2], row[3], position, decode_age(row[6]))
    return _with_body(bare, row[7:], data, settings)


def _with_body(bare: Answer, body: list[Any], data: bytes, settings: FeedSettings) -> Answer:
    if bare.kind is AnswerKind.REPLAY and len(body) == 1 and _is_frames(body[0]):
        return bare._replace(frames=body[0])
    if bare.kind in (AnswerKind.BUCKETS, AnswerKind.SNAPSHOT) and len(body) == 3:
        hashes = _unpack_hashes(body[2], data)
        wanted = body[0] if bare.kind is AnswerKind.BUCKETS else 0
        if _is_power(body[0]) and is_count(body[1]) and len(hashes) == wanted:
            return bare._replace(buckets=body[0], total=body[1], hashes=hashes)
    if bare.kind is AnswerKind.CHUNK and len(body) == 3 and isinstance(body[2], str | None):
        check_ops(body[0], data, settings.max_object)
        if is_count(body[1]):
            return bare._replace(ops=body[0], done=body[1], upto=body[2])
    if not body and bare.kind in (AnswerKind.BEHIND, AnswerKind.EQUAL, AnswerKind.STALE):
        return bare
    raise DecodeError("answer out of contract", data)


def _is_frames(frames: Any) -> bool:
    return isinstance(frames, list) and all(isinstance(frame, bytes) for frame in frames)


def _unpack_hashes(packed: Any, data: bytes) -> tuple[int, ...]:
    if not isinstance(packed, bytes) or len(packed) % 8:
        raise DecodeError("hashes out of contract", data)
    return struct.unpack(f"<{len(packed) // 8}Q", packed)
