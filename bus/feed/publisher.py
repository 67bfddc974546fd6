"""The publishing end, pure: changes in, frames out; sync requests in, answers out.

It keeps the items, a ring of recent frames and a history of older versions, all bounded. It keeps
nothing about its followers: every answer is made from the request and the present state alone, so
a slow follower costs nothing and any number of them may sync at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from bus.errors import DecodeError
from bus.feed.frames import Frame, encode_frame, split_ops
from bus.feed.memory import History, Ring
from bus.feed.ops import Op, encode_op, size_of
from bus.feed.reduce import reduce_changes
from bus.feed.settings import FeedSettings
from bus.feed.state import State, buckets_for
from bus.feed.sync import (
    Answer,
    AnswerKind,
    Diff,
    Hello,
    Replay,
    Request,
    decode_request,
    encode_answer,
)
from bus.feed.tick import TickEntry
from bus.feed.types import Change, Item, Position


class Published(NamedTuple):
    """`frames` go out in this order. `refused`: keys of objects over the bound, held as deleted."""

    frames: list[bytes]
    refused: tuple[str, ...]


class PublisherCore:
    """One feed's publisher. `epoch` (1 .. 2^32 - 1) must be new at each start: random will do."""

    def __init__(self, name: str, epoch: int, settings: FeedSettings | None = None) -> None:
        self.name = name
        self.epoch = epoch
        self.settings = settings or FeedSettings()
        self.seq = 0
        self.position = Position()
        self.stale = 0  # changes dropped because something as new was held
        self.undecodable = 0  # requests
        self._state = State()
        self._ring = Ring(self.settings.ring_bytes)
        self._history = History(self.settings.history_bytes)

    @property
    def items(self) -> Mapping[str, Item]:
        return self._state.items

    @property
    def is_ready(self) -> bool:
        """Whether there is a state to publish at all."""
        return self.position.lineage > 0

    def restore(self, items: Mapping[str, Item], position: Position) -> None:
        """Starts from a known state. Only before the first `publish`."""
        if self.is_ready or position.lineage < 1:
            raise ValueError(f"feed {self.name}: cannot restore {position} at {self.position}")
        self._state = State(items)
        self.position = position

    def publish(
        self, changes: Iterable[Change], position: Position, exact: bool = True
    ) -> Published:
        """Applies `changes`, after which `position` holds. Versions grow within a lineage; what is
        not newer than what is held is dropped. With a higher lineage the changes turn the old
        state into the new one. The first step ever is announced but not sent: followers may have
        most of it and sync by difference. Not `exact`: there may have been more changes than these
        since our position (see `Batch`). Raises ValueError for a lower lineage.
        """
        if position.lineage < max(1, self.position.lineage):
            raise ValueError(f"feed {self.name}: {position} after {self.position}")
        rebase = position.lineage > self.position.lineage
        first = not self.is_ready
        reduced = reduce_changes(self.items, changes, self.settings.max_object, rebase)
        self.stale += reduced.stale
        ops = [self._apply(change) for change in reduced.changes]
        exact = exact and reduced.exact
        moved = position.is_ahead_of(self.position)
        if moved:
            self.position = position
        if rebase:
            self._history.clear()
        if first:
            return Published(self.announce(), reduced.refused)
        # A tick may tell that nothing has changed, but not that something may have.
        is_due = ops or rebase or (moved and not exact)
        frames = self._frames(ops, exact) if is_due else []
        return Published(frames, reduced.refused)

    def announce(self) -> list[bytes]:
        """A frame without changes: followers of an earlier epoch notice this one at once."""
        return self._frames([])

    def tick_entry(self, age: float = 0.0) -> TickEntry:
        """`age`: seconds since our own source was known current; math.inf if unknown."""
        return TickEntry(self.name, self.epoch, self.seq, self.position, age)

    def answer(self, request: bytes, age: float = math.inf) -> bytes:
        """The answer to one sync request; one that cannot be read is answered too, and counted."""
        try:
            asked = decode_request(request, self.settings)
        except DecodeError:
            self.undecodable += 1
            return encode_answer(self._say(AnswerKind.STALE, 0, age), self.settings)
        return encode_answer(self._answer(asked, age), self.settings)

    def _apply(self, change: Change) -> Op:
        held = self.items.get(change.key)
        op = encode_op(change, held) if self.is_ready else []
        if held is not None:
            self._history.add(change.key, held)
        if change.data is None:
            self._state.remove(change.key)
        else:
            self._state.put(change.key, Item(change.version, change.data))
        return op

    def _frames(self, ops: list[Op], exact: bool = True) -> list[bytes]:
        parts = list(split_ops(ops, self.settings.frame_bytes))
        frames = []
        for index, part in enumerate(parts, start=1):
            self.seq += 1
            more = index < len(parts)
            frame = Frame(self.epoch, self.seq, self.position, more, part, exact=exact)
            data = encode_frame(frame, self.settings)
            self._ring.add(self.seq, data)
            frames.append(data)
        return frames

    def _say(self, kind: AnswerKind, request_id: int, age: float) -> Answer:
        return Answer(kind, request_id, self.epoch, self.seq, self.position, age)

    def _answer(self, asked: Request, age: float) -> Answer:
        if isinstance(asked, Hello):
            return self._greet(asked, age)
        if isinstance(asked, Replay):
            return self._replay(asked, age)
        return self._chunk(asked, age)

    def _greet(self, hello: Hello, age: float) -> Answer:
        if not self.is_ready or hello.position.is_ahead_of(self.position):
            return self._say(AnswerKind.BEHIND, hello.id, age)
        if hello.epoch == self.epoch:
            found = self._ring.after(hello.seq, self.settings.hello_bytes)
            # A longer gap is mostly the same objects again and again: the difference is cheaper.
            if found is not None and found[1]:
                return self._say(AnswerKind.REPLAY, hello.id, age)._replace(frames=found[0])
        buckets = buckets_for(len(self.items))
        if hello.content_lineage != self.position.lineage:
            snapshot = self._say(AnswerKind.SNAPSHOT, hello.id, age)
            return snapshot._replace(buckets=buckets, total=self._state.bytes)
        if hello.content_root == self._state.root():
            return self._say(AnswerKind.EQUAL, hello.id, age)
        return self._say(AnswerKind.BUCKETS, hello.id, age)._replace(
            buckets=buckets, total=self._state.bytes, hashes=tuple(self._state.hashes(buckets))
        )

    def _replay(self, asked: Replay, age: float) -> Answer:
        found = self._ring.after(asked.seq, self.settings.chunk_bytes)
        if asked.epoch != self.epoch or found is None:
            return self._say(AnswerKind.STALE, asked.id, age)
        return self._say(AnswerKind.REPLAY, asked.id, age)._replace(frames=found[0])

    def _chunk(self, asked: Diff, age: float) -> Answer:
        if (asked.epoch, asked.lineage) != (self.epoch, self.position.lineage):
            return self._say(AnswerKind.STALE, asked.id, age)
        ops: list[Op] = []
        done, upto = self._differences(asked, ops)
        return self._say(AnswerKind.CHUNK, asked.id, age)._replace(ops=ops, done=done, upto=upto)

    def _differences(self, asked: Diff, ops: list[Op]) -> tuple[int, str | None]:
        """Fills `ops` up to the bound; how many buckets are complete, and the last key after."""
        budget = self.settings.chunk_bytes
        after = asked.after
        for index, (bucket, theirs) in enumerate(asked.wanted):
            upto = after
            for key in sorted(self._state.keys_in(bucket, asked.buckets) | theirs.keys()):
                if after is not None and key <= after:
                    continue
                if budget <= 0:
                    return index, upto
                op = self._difference(key, theirs.get(key))
                budget -= size_of(op) if op else 0
                ops.extend([op] if op else [])
                upto = key
            after = None
        return len(asked.wanted), None

    def _difference(self, key: str, version: int | None) -> Op | None:
        item = self.items.get(key)
        if item is None:
            return encode_op(Change(key, self.position.version, None), None)
        if item.version == version:
            return None
        base = None if version is None else self._history.get(key, version)
        return encode_op(Change(key, *item), base)
