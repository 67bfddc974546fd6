"""What a candidate for a lease does next: pure, without a clock or a store of its own.

Times are seconds of one monotonic clock. The rules, and why at most one holder believes in itself:

* A holder believes for 0.8 of the ttl, counted from *before* it sent the write that was granted.
* The store forgets a lease no sooner than a ttl after it took that write. A candidate takes over by
  compare-and-set only on word that the lease is free, or when it first heard of the stored revision
  a ttl ago and that revision is still the stored one (so nobody renewed; the compare proves it).
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import NamedTuple

VALIDITY = 0.8  # of the ttl
JITTER = 0.1  # seconds over which candidates spread when a lease gets free
_RETRY = 0.1  # seconds between tries of a holder whose store does not answer
_CANDIDATE_RETRY = 0.5


class Entry(NamedTuple):
    """What a store holds for a lease. Revisions are compared within one epoch only."""

    revision: int = 0  # 0: nothing was ever there
    holder: str | None = None  # None: the lease is free
    instance: str = ""  # tells candidates of one name apart
    token: int = 0  # the holder's fencing token
    epoch: int = 0  # which life of the store; a wiped one begins another


@dataclass(frozen=True, slots=True)
class Sleep:
    until: float


@dataclass(frozen=True, slots=True)
class Read:
    """Ask the store what it holds."""


@dataclass(frozen=True, slots=True)
class Acquire:
    """Take the lease by compare-and-set on `seen`."""

    seen: Entry
    term: int


@dataclass(frozen=True, slots=True)
class Renew:
    mine: Entry
    until: float  # when our own validity ends
    term: int


Step = Sleep | Read | Acquire | Renew


class Candidate:
    """The state of one candidate: tell it what happened, ask it what to do (`next`)."""

    def __init__(self, instance: str, ttl: float, renew: float) -> None:
        self.instance = instance
        self.ttl = ttl
        self.renew = renew
        self.paused = False
        self.transitions = 0  # changes of holder that we saw
        self.since = -math.inf  # when the last one was
        self.seen: Entry | None = None
        self.seen_at = -math.inf
        self._mine: Entry | None = None
        self._valid_until = -math.inf
        self._renew_at = -math.inf
        self._not_before = -math.inf  # no step as a candidate sooner
        self._term = 0  # answers to what an earlier one asked for come too late
        self._in_doubt = False  # whether a write was refused
        self._to_release: Entry | None = None

    # -- questions ---------------------------------------------------------------------------------

    def is_leader(self, now: float) -> bool:
        return self._mine is not None and now < self._valid_until

    def token(self, now: float) -> int | None:
        return self._mine.token if self._mine is not None and now < self._valid_until else None

    def holder(self, now: float) -> str | None:
        """Who holds it, as last heard; None if free, or nobody renewed it for too long."""
        if self.seen is None or now - self.seen_at > self.ttl + self.renew:
            return None
        return self.seen.holder

    def next(self, now: float) -> Step:
        if self._mine is not None and now >= self._valid_until:
            self._lose()
        if self._mine is not None:
            if self._in_doubt:
                return Read()
            if now < self._renew_at:
                return Sleep(min(self._renew_at, self._valid_until))
            return Renew(self._mine, self._valid_until, self._term)
        return self._next_as_candidate(now)

    def _next_as_candidate(self, now: float) -> Step:
        if self.paused:
            return Sleep(math.inf)
        if now < self._not_before:
            return Sleep(self._not_before)
        if self.seen is None or self._in_doubt:
            return Read()
        is_free = self.seen.holder is None or self.seen.instance == self.instance
        if is_free or now >= self.seen_at + self.ttl:
            return Acquire(self.seen, self._term)
        # A bit later than the store's own word, which comes about now.
        return Sleep(self.seen_at + self.ttl + random.uniform(0.5, 1.0) * JITTER)

    def take_release(self) -> Entry | None:
        """What is to be given back to the store; asked once."""
        entry, self._to_release = self._to_release, None
        return entry

    # -- what happened -----------------------------------------------------------------------------

    def heard(self, entry: Entry, now: float) -> None:
        """The store holds this now (told by a watch: perhaps late, perhaps again)."""
        if self._mine is not None:
            self._heard_as_holder(self._mine, entry, now)
        elif self._note(entry, now) and entry.holder is None:
            self._not_before = max(self._not_before, now + random.uniform(0.0, JITTER))

    def _heard_as_holder(self, mine: Entry, entry: Entry, now: float) -> None:
        if entry.instance == self.instance:
            return
        if entry.epoch != mine.epoch:
            self._renew_at = now  # the store was wiped: the renewal will tell
        elif entry.revision > mine.revision:
            self._lose()
            self._note(entry, now)

    def read(self, entry: Entry, now: float) -> None:
        """The store said, when asked, that it holds this."""
        mine, self._in_doubt = self._mine, False
        if mine is None:
            self._note(entry, now)
        elif entry.instance == self.instance and entry.epoch == mine.epoch:
            # It was we who moved it, in a renewal whose answer got lost. Renew again, on that.
            self._mine = mine._replace(revision=entry.revision)
            self._renew_at = now
        else:
            self._lose()
            self._note(entry, now)

    def granted(self, step: Acquire | Renew, entry: Entry, began: float, now: float) -> None:
        """The store did what `step` wants; `began` is when it was asked."""
        if step.term != self._term:  # we resigned meanwhile
            self._to_release = entry
            return
        self._mine = entry
        self._valid_until = began + VALIDITY * self.ttl
        self._renew_at = began + self.renew
        self._note(entry, now)

    def refused(self, now: float) -> None:
        """The store holds something else than what we thought: it is to be read."""
        self._in_doubt = True
        self._not_before = now + random.uniform(0.5, 1.0) * JITTER

    def failed(self, now: float) -> None:
        """The store did not answer."""
        self._renew_at = now + _RETRY
        self._not_before = now + random.uniform(0.5, 1.0) * _CANDIDATE_RETRY

    def store_is_up(self, now: float) -> None:
        """It can be reached again: no need to wait."""
        self._renew_at = min(self._renew_at, now)
        self._not_before = min(self._not_before, now + random.uniform(0.0, JITTER))

    def resign(self, now: float, rest: float = 0.0) -> None:
        """Gives up what is held, and stands back for `rest` seconds."""
        if self._mine is not None:
            self._to_release = self._mine
        self._lose()
        self._not_before = max(self._not_before, now + rest)

    def pause(self, now: float) -> None:
        self.paused = True
        self.resign(now)

    def resume(self) -> None:
        self.paused = False

    def _lose(self) -> None:
        self._mine = None
        self._in_doubt = False
        self._term += 1

    def _note(self, entry: Entry, now: float) -> bool:
        """Remembers what the store holds; whether that is news."""
        before = self.seen
        if before is not None:
            if (entry.epoch, entry.revision) == (before.epoch, before.revision):
                return False  # told again: it is as old as it was
            if entry.holder is None and entry.epoch != before.epoch and before.holder is not None:
                # The store was wiped: that says nothing about who believes to hold the lease.
                self._not_before = max(self._not_before, self.seen_at + self.ttl)
        if before is None or (entry.holder, entry.token) != (before.holder, before.token):
            self.transitions += entry.holder is not None
            self.since = now
        self.seen, self.seen_at = entry, now
        return True
