"""One round of sync by difference: which buckets to ask for, and as of when each is known.

Chunks are answered while the publisher goes on, so each bucket (or part of one, for chunks are
bounded) is exact as of its own seq. Frames after the hello are then applied in order, each change
only where its key was not already known as of a later seq. That needs no versions and no memory
of deletes: at the end the stage is the publisher's state at one seq.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from bus.feed.frames import Frame
from bus.feed.settings import FeedSettings
from bus.feed.stage import Stage
from bus.feed.state import bucket_of
from bus.feed.sync import Answer, AnswerKind, Diff

_PAIR_BYTES = 8  # a version and msgpack's own bytes
_BUCKET_BYTES = 6


class OutOfContract(Exception):
    """The publisher's answer makes no sense here. The round starts again."""


class Job(NamedTuple):
    """Buckets to ask for in one request; of the first one, only keys > `after`."""

    buckets: tuple[int, ...]
    after: str | None = None


class Round:
    def __init__(self, greeting: Answer, stage: Stage, settings: FeedSettings) -> None:
        self.epoch = greeting.epoch
        self.seq = greeting.seq  # frames up to here are in the stage
        self.need = greeting.seq  # frames up to here must be
        self.position = greeting.position
        self.stage = stage
        self.in_step = False  # the frame at `seq` was not the last of its step
        self._buckets = greeting.buckets
        self._settings = settings
        self._jobs = deque(self._plan(greeting))
        self._open: dict[int, Job] = {}
        self._known: dict[int, list[tuple[str | None, int]]] = {}  # per bucket: upto key, seq

    @property
    def is_collected(self) -> bool:
        return not self._jobs and not self._open

    @property
    def is_complete(self) -> bool:
        return self.is_collected and self.seq >= self.need and not self.in_step

    def next_request(self, request_id: int, window: int) -> Diff | None:
        """What to ask next; None while `window` are out or there is nothing more."""
        if not self._jobs or len(self._open) >= window:
            return None
        job = self._open[request_id] = self._jobs.popleft()
        wanted = [(bucket, self._versions(bucket)) for bucket in job.buckets]
        if job.after is not None and wanted:
            bucket, versions = wanted[0]
            wanted[0] = (bucket, {k: v for k, v in versions.items() if k > job.after})
        return Diff(request_id, self.epoch, self.stage.lineage, self._buckets, wanted, job.after)

    def give_back(self, request_id: int) -> None:
        """The request was lost: it is asked anew."""
        job = self._open.pop(request_id, None)
        if job is not None:
            self._jobs.appendleft(job)

    def on_chunk(self, answer: Answer) -> None:
        """Raises OutOfContract, BaseMismatch: then the round must start again."""
        job = self._open.pop(answer.id)
        self._check(job, answer)
        for bucket in job.buckets[: answer.done]:
            self._known.setdefault(bucket, []).append((None, answer.seq))
        if answer.done < len(job.buckets):
            if answer.upto is not None:
                partial = self._known.setdefault(job.buckets[answer.done], [])
                partial.append((answer.upto, answer.seq))
            self._jobs.appendleft(Job(job.buckets[answer.done :], answer.upto))
        self.need = max(self.need, answer.seq)
        for op in answer.ops:
            self.stage.apply(op, self._settings.max_object)

    def on_frame(self, frame: Frame) -> None:
        """The frame `seq` + 1. Raises BaseMismatch."""
        for op in frame.ops:
            if frame.seq > self._known_as_of(op[0]):
                self.stage.apply(op, self._settings.max_object)
        self.seq = frame.seq
        self.in_step = frame.more
        self.position = frame.position
        self.stage.lineage = frame.position.lineage

    def _check(self, job: Job, answer: Answer) -> None:
        if (answer.epoch, answer.position.lineage) != (self.epoch, self.stage.lineage):
            raise OutOfContract("chunk of another publisher")
        if answer.done > len(job.buckets) or not _got_on(job, answer):
            raise OutOfContract("chunk without progress")
        asked = set(job.buckets)
        if not all(bucket_of(op[0], self._buckets) in asked for op in answer.ops):
            raise OutOfContract("chunk with keys of other buckets")

    def _known_as_of(self, key: str) -> int:
        for upto, seq in self._known.get(bucket_of(key, self._buckets), ()):
            if upto is None or key <= upto:
                return seq
        return 0  # its bucket was equal at the hello: every frame since applies

    def _versions(self, bucket: int) -> dict[str, int]:
        items = self.stage.state.items
        return {key: items[key].version for key in self.stage.state.keys_in(bucket, self._buckets)}

    def _plan(self, greeting: Answer) -> Iterator[Job]:
        if greeting.kind is AnswerKind.EQUAL:
            return iter(())
        if greeting.kind is AnswerKind.SNAPSHOT:
            cost = greeting.total // greeting.buckets + 1
            costs = dict.fromkeys(range(greeting.buckets), cost)
            return _group(costs, self._settings.chunk_bytes)
        ours = self.stage.state.hashes(greeting.buckets)
        differing = (b for b, theirs in enumerate(greeting.hashes) if theirs != ours[b])
        return _group({b: self._cost(b) for b in differing}, self._settings.request_bytes)

    def _cost(self, bucket: int) -> int:
        keys = self.stage.state.keys_in(bucket, self._buckets)
        return _BUCKET_BYTES + sum(len(key) + _PAIR_BYTES for key in keys)


def _got_on(job: Job, answer: Answer) -> bool:
    if answer.done > 0:
        return True
    return answer.upto is not None and (job.after is None or answer.upto > job.after)


def _group(costs: dict[int, int], limit: int) -> Iterator[Job]:
    group: list[int] = []
    size = 0
    for bucket, cost in costs.items():
        if group and size + cost > limit:
            yield Job(tuple(group))
            group, size = [], 0
        group.append(bucket)
        size += cost
    if group:
        yield Job(tuple(group))
