"""The following end, pure: frames, ticks and answers in; sync requests and batches out.

    ASKING -> GREETING -> LIVE                        (nothing missed, or a replay of few frames)
                       -> TAKING -> CLOSING -> LIVE   (difference or snapshot, see round.py)
                       -> WAITING -> ASKING           (the publisher is behind us)

Input is only kept; the visible state moves in `next_batch` alone, one batch at a time, so that
`items`, `position` and `upstream` are those of the batch returned last. A caller that is slow to
take batches lets frames pile up to a bound, then loses some, then syncs: it slows nobody.
"""

from __future__ import annotations

import logging
import math
import struct
from collections import Counter
from collections.abc import Callable, Mapping
from enum import Enum
from typing import NamedTuple, TypeVar

from bus.errors import DecodeError
from bus.feed.frames import Frame, decode_frame
from bus.feed.ops import BaseMismatch, decode_op
from bus.feed.pending import Pending
from bus.feed.round import OutOfContract, Round
from bus.feed.settings import FeedSettings
from bus.feed.stage import Stage
from bus.feed.state import State
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
from bus.feed.tick import TickEntry
from bus.feed.types import Batch, Change, Item, Position

_LOG = logging.getLogger(__name__)
_EAGER_HELLOS = 3  # later on, each second one asks for no frames: a thin link may carry no more
_UPSTREAM = struct.Struct(">IQ")
T = TypeVar("T")


class Phase(Enum):
    ASKING = "asking"  # a hello is due
    GREETING = "greeting"  # and now on its way
    TAKING = "taking"  # chunks are on their way
    CLOSING = "closing"  # frames up to the newest chunk are missing
    LIVE = "live"
    WAITING = "waiting"  # the publisher is behind us, or knows nothing yet


class Cursor(NamedTuple):
    """The last frame that is in the visible state."""

    epoch: int
    seq: int


class OutRequest(NamedTuple):
    id: int
    data: bytes
    is_bulk: bool  # the answer may be large and take its time on a thin link


class FollowerCore:
    """One feed's follower. It starts by asking, with nothing or with what `restore` gives it."""

    def __init__(self, name: str, settings: FeedSettings | None = None) -> None:
        self.name = name
        self.settings = settings or FeedSettings()
        self.position = Position()
        self.phase = Phase.ASKING
        self.source_age = math.inf  # of the publisher's knowledge, as in its newest answer
        self.rounds = 0  # hellos since we were last live: a caller backs off when it grows
        self.counts: Counter[str] = Counter()  # frames, frame_bytes, ..., sync.<kind>
        self.problems: Counter[str] = Counter()  # undecodable or out of contract, by reason
        self._state = State()
        self._cursor: Cursor | None = None
        self._seen = Cursor(0, 0)  # the newest frame we heard of, in the cursor's epoch
        self._pending = Pending(self.settings.pending_bytes)
        self._stage: Stage | None = None
        self._round: Round | None = None
        self._open: dict[int, Request] = {}
        self._last_id = 0
        self._advance: TickEntry | None = None
        self._window = self.settings.window

    @property
    def items(self) -> Mapping[str, Item]:
        return self._state.items

    @property
    def is_live(self) -> bool:
        return self.phase is Phase.LIVE

    @property
    def is_behind(self) -> bool:
        """Whether we wait for a publisher that is behind us (we keep what we have)."""
        return self.phase is Phase.WAITING

    def has_reached(self, entry: TickEntry) -> bool:
        """Whether the visible state is (at least) the one that the tick speaks of."""
        cursor = self._cursor
        if not self.is_live or cursor is None or cursor.epoch != entry.epoch:
            return False
        return cursor.seq >= entry.seq

    @property
    def upstream(self) -> bytes:
        """Opaque; stored with the items it lets a restored follower go on by a replay."""
        return _UPSTREAM.pack(*self._cursor) if self._cursor else b""

    @property
    def dropped(self) -> int:
        return self._pending.dropped

    def restore(self, items: Mapping[str, Item], position: Position, upstream: bytes = b"") -> None:
        """Starts from a stored state; `items`, `position`, `upstream` must be of one batch."""
        self._state = State(items)
        self.position = position
        if len(upstream) == _UPSTREAM.size:
            self._cursor = Cursor(*_UPSTREAM.unpack(upstream))
        self._abandon()

    def ask(self) -> None:
        """Frames may have been missed (link up, new subscription): asks unless it does already."""
        if self.phase in (Phase.LIVE, Phase.WAITING):
            self.phase = Phase.ASKING

    def turn(self) -> None:
        """From now on another publisher answers: forgets what is under way, keeps all items."""
        self._abandon()

    # -- input ------------------------------------------------------------------------------------

    def on_frame(self, data: bytes) -> None:
        self.counts["frames"] += 1
        self.counts["frame_bytes"] += len(data)
        frame = self._read(decode_frame, data)
        if frame is None:
            self.ask()
        else:
            self._keep(frame)

    def on_tick(self, entry: TickEntry) -> bool:
        """Whether it confirms that we have all that its publisher has."""
        cursor = self._cursor
        if self.phase is Phase.WAITING:
            self._ask_if_caught_up(entry.position)
        if self.phase is not Phase.LIVE or cursor is None:
            return False
        if entry.epoch != cursor.epoch:
            self.ask()
            return False
        if entry.seq != cursor.seq:
            self._seen = max(self._seen, Cursor(entry.epoch, entry.seq))
            return False
        if entry.position.lineage != self.position.lineage:
            self._problem("tick of another lineage")
            self._distrust(None)
        elif not self.position.is_ahead_of(entry.position):
            self._advance = entry
            return True
        return False

    def on_answer(self, data: bytes) -> bool:
        """False where it was of no use: whoever asked should wait a little before asking again."""
        self.counts["answers"] += 1
        self.counts["answer_bytes"] += len(data)
        answer = self._read(decode_answer, data)
        request = self._open.pop(answer.id, None) if answer else None
        if answer is None or request is None:
            return False
        self.source_age = answer.age
        if isinstance(request, Hello):
            return self._on_greeting(request, answer)
        if isinstance(request, Replay):
            return self._on_replay(answer)
        return self._on_chunk(answer)

    def on_failed(self, request_id: int, *, slow: bool = False) -> None:
        """The request got no (good) answer: it will be made anew. `slow`: not in time, that is."""
        request = self._open.pop(request_id, None)
        if slow:
            self._window = 1
        if isinstance(request, Hello):
            self.phase = Phase.ASKING
        elif isinstance(request, Diff) and self._round:
            self._round.give_back(request_id)

    # -- output -----------------------------------------------------------------------------------

    def next_requests(self) -> list[OutRequest]:
        """What to send now. Call it once `next_batch` gives nothing more."""
        requests: list[Request] = []
        if self.phase is Phase.ASKING:
            requests.append(self._hello())
        elif self.phase is Phase.TAKING and self._round:
            while request := self._round.next_request(self._last_id + 1, self._window):
                self._last_id += 1
                requests.append(request)
        elif self.phase is Phase.CLOSING and self._round and not self._open:
            requests.append(Replay(self._next_id(), self._round.epoch, self._round.seq))
        self._open.update((request.id, request) for request in requests)
        return [
            OutRequest(r.id, encode_request(r, self.settings), not isinstance(r, Hello))
            for r in requests
        ]

    def next_batch(self) -> Batch | None:
        """The next step of the visible state; None once there is none to take yet."""
        while True:
            if self.phase is Phase.CLOSING and self._round is not None:
                batch = self._close(self._round)
                if batch is None and self.phase is Phase.CLOSING:
                    return None
            elif self.phase is Phase.TAKING or self._cursor is None:
                return None
            else:
                step = self._pending.take_step(self._cursor.epoch, self._cursor.seq + 1)
                if not step:
                    self._look_for_gap(self._cursor)
                    return self._advanced(self._cursor)
                batch = self._apply(step)
            if batch is not None:
                return batch

    # -- frames -----------------------------------------------------------------------------------

    def _keep(self, frame: Frame) -> None:
        cursor = self._cursor
        if cursor and frame.epoch == cursor.epoch:
            if frame.seq <= cursor.seq:
                self.counts["duplicates"] += 1
                return
            self._seen = max(self._seen, Cursor(*frame.at))
        elif self.phase is Phase.LIVE:
            self.ask()
        if self.phase is Phase.WAITING:
            self._ask_if_caught_up(frame.position)
        ours = cursor is not None and frame.epoch == cursor.epoch
        if self.phase is not Phase.WAITING or ours:
            self._pending.add(frame)

    def _apply(self, step: list[Frame]) -> Batch | None:
        last = step[-1]
        if self.position.is_ahead_of(last.position):
            self._problem("frame goes back")
            self._distrust(None)
            return None
        rebase = last.position.lineage != self.position.lineage
        try:
            changes = self._decode(step, rebase)
        except BaseMismatch as mismatch:
            self._problem("delta against other bytes than ours")
            self._distrust(str(mismatch))
            return None
        for change in changes:
            self._show(change)
        self._stage = None  # what it was compared with has moved on
        exact = all(frame.exact for frame in step)
        return self._moved(changes, last.position, Cursor(*last.at), exact)

    def _decode(self, step: list[Frame], rebase: bool) -> list[Change]:
        """The changes of a step; nothing is shown yet, so that a bad one leaves no half of it."""
        limit = self.settings.max_object
        ahead: dict[str, Item | None] = {}
        changes = []
        for frame in step:
            for op in frame.ops:
                key = op[0]
                held = ahead[key] if key in ahead else self._state.items.get(key)
                if not rebase and held is not None and held.version > op[1]:
                    self._problem("object goes back")
                    continue
                change = decode_op(op, held, limit)
                ahead[key] = None if change.data is None else Item(change.version, change.data)
                changes.append(change)
        return changes

    def _show(self, change: Change) -> None:
        if change.data is None:
            self._state.remove(change.key)
        else:
            self._state.put(change.key, Item(change.version, change.data))

    def _moved(
        self, changes: list[Change], position: Position, cursor: Cursor, exact: bool
    ) -> Batch | None:
        reset = self.position.lineage not in (0, position.lineage)
        same = not changes and position == self.position
        self.position, self._cursor = position, cursor
        self.counts["changes"] += len(changes)
        return None if same else Batch(tuple(changes), position, reset, exact)

    def _advanced(self, cursor: Cursor) -> Batch | None:
        entry, self._advance = self._advance, None
        if entry is None or (entry.epoch, entry.seq) != cursor:
            return None
        return self._moved([], entry.position, cursor, exact=True)

    def _look_for_gap(self, cursor: Cursor) -> None:
        if self.phase is not Phase.LIVE or self._seen.epoch != cursor.epoch:
            return
        if self._seen.seq > self._pending.reach(*cursor):
            self.counts["gaps"] += 1
            self.ask()

    # -- sync -------------------------------------------------------------------------------------

    def _hello(self) -> Hello:
        self.phase = Phase.GREETING
        self.rounds += 1
        brief = self.rounds > _EAGER_HELLOS and self.rounds % 2 == 0
        epoch, seq = Cursor(0, 0) if brief or self._cursor is None else self._cursor
        lineage, state = self._content()
        return Hello(self._next_id(), epoch, seq, self.position, lineage, state.root())

    def _content(self) -> tuple[int, State]:
        """What buckets are compared with: what we have, plus what earlier rounds brought."""
        if self._stage is not None:
            return self._stage.lineage, self._stage.state
        return self.position.lineage, self._state

    def _on_greeting(self, hello: Hello, answer: Answer) -> bool:
        if answer.kind in (AnswerKind.STALE, AnswerKind.CHUNK):
            self.phase = Phase.ASKING
            return False
        self.counts[f"sync.{answer.kind.name.lower()}"] += 1
        cursor = self._cursor
        if cursor and cursor.epoch == answer.epoch and cursor.seq >= answer.seq:
            self._go_live()  # frames were faster
        elif answer.kind is AnswerKind.BEHIND or self.position.is_ahead_of(answer.position):
            self.phase = Phase.WAITING
        elif answer.kind is AnswerKind.REPLAY:
            return self._on_replay(answer)
        else:
            return self._begin(hello, answer)
        return True

    def _begin(self, hello: Hello, answer: Answer) -> bool:
        """A round of sync by difference, unless the answer is about content we no longer have."""
        lineage, state = self._content()
        if answer.kind is AnswerKind.SNAPSHOT:
            self._stage = Stage(answer.position.lineage, State(), whole=True)
        elif lineage != answer.position.lineage or state.root() != hello.content_root:
            self.phase = Phase.ASKING
            return True
        elif self._stage is None:
            self._stage = Stage(lineage, self._state.copy(), whole=False)
        self._pending.keep_after(answer.epoch, answer.seq)
        assert self._stage is not None
        self._round = Round(answer, self._stage, self.settings)
        self.phase = Phase.CLOSING if self._round.is_collected else Phase.TAKING
        return True

    def _on_replay(self, answer: Answer) -> bool:
        """Frames that fill a gap of the visible state (after a hello) or of a closing round."""
        closing = self.phase is Phase.CLOSING and self._round
        at = Cursor(self._round.epoch, self._round.seq) if closing and self._round else self._cursor
        if answer.kind is not AnswerKind.REPLAY or at is None or at.epoch != answer.epoch:
            self._restart()
            return False
        self._pending.keep_after(*at)
        for data in answer.frames:
            frame = self._read(decode_frame, data)
            if frame is None:
                self._distrust(None)
                return False
            self._pending.add(frame)
        if not closing:
            self._go_live()
        return True

    def _on_chunk(self, answer: Answer) -> bool:
        assert self._round is not None
        if answer.kind is not AnswerKind.CHUNK:
            self._restart()
            return answer.kind is AnswerKind.STALE
        try:
            self._round.on_chunk(answer)
        except OutOfContract as error:
            self._problem(str(error))
            self._restart()
            return False
        except BaseMismatch:
            self._problem("delta against other bytes than ours")
            self._restart()
            return True
        self._window = min(self._window + 1, self.settings.window)
        if self._round.is_collected:
            self.phase = Phase.CLOSING
        return True

    def _close(self, round_: Round) -> Batch | None:
        """Takes the frames since the hello; commits once the newest chunk is reached."""
        while (frame := self._pending.take(round_.epoch, round_.seq + 1)) is not None:
            try:
                round_.on_frame(frame)
            except BaseMismatch:
                self._problem("delta against other bytes than ours")
                self._restart()
                return None
        return self._commit(round_) if round_.is_complete else None

    def _commit(self, round_: Round) -> Batch | None:
        if self.position.is_ahead_of(round_.position):
            self._problem("frame goes back")
            self._restart()
            return None
        changes, refused = round_.stage.commit(self._state, self.position, round_.position)
        if refused:
            self._problem("object goes back", refused)
        cursor = Cursor(round_.epoch, round_.seq)
        batch = self._moved(changes, round_.position, cursor, exact=False)
        self._go_live()
        return batch

    # -- turns ------------------------------------------------------------------------------------

    def _go_live(self) -> None:
        assert self._cursor is not None
        self.phase = Phase.LIVE
        self.rounds = 0
        self._round = self._stage = None
        self._open.clear()
        self._pending.keep_after(*self._cursor)
        self._seen = Cursor(self._cursor.epoch, self._pending.newest_after(self._cursor.seq))

    def _restart(self) -> None:
        """Back to hello; what was staged stays and counts in the next round."""
        self.counts["restarts"] += 1
        self._abandon()

    def _abandon(self) -> None:
        self._round = None
        self._open.clear()
        self.phase = Phase.ASKING

    def _distrust(self, key: str | None) -> None:
        """Frames after our cursor do not fit: no replay, the difference must be told."""
        self._cursor = None
        if key is not None:
            self._stage = Stage(self.position.lineage, self._state.copy(), whole=False)
            self._stage.distrust(key)
        self._restart()

    def _ask_if_caught_up(self, theirs: Position) -> None:
        if theirs.lineage > 0 and not self.position.is_ahead_of(theirs):
            self.phase = Phase.ASKING

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def _read(self, decode: Callable[[bytes, FeedSettings], T], data: bytes) -> T | None:
        try:
            return decode(data, self.settings)
        except DecodeError as error:
            self._problem(error.reason)
            return None

    def _problem(self, reason: str, count: int = 1) -> None:
        """Counts it; only the first of its kind is worth a line."""
        if not self.problems[reason]:
            _LOG.warning("feed %s: %s (further ones are counted only)", self.name, reason)
        self.problems[reason] += count
