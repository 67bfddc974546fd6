"""The rules of leases, without time passing: single rules, and many candidates in a bad world."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bus.lease_plan import JITTER, Acquire, Candidate, Entry, Read, Renew, Sleep

TTL, RENEW = 2.0, 0.5
FREE = Entry(7, epoch=1)
OTHER = Entry(8, "other", "them", 8, 1)


def candidate() -> Candidate:
    return Candidate("us", TTL, RENEW)


def leader(now: float = 0.0) -> Candidate:
    one = candidate()
    one.read(FREE, now)
    step = one.next(now)
    assert isinstance(step, Acquire)
    one.granted(step, Entry(9, "me", "us", 9, 1), now, now)
    return one


def test_knowing_nothing_it_asks() -> None:
    assert candidate().next(0.0) == Read()


def test_a_free_lease_is_taken_by_compare_and_set() -> None:
    one = candidate()
    one.read(FREE, 0.0)
    assert one.next(0.0) == Acquire(FREE, 0)


def test_a_lease_that_gets_free_is_taken_after_a_moment_that_differs() -> None:
    def chance() -> float:
        one = candidate()
        one.heard(OTHER, 0.0)
        one.heard(FREE._replace(revision=9), 1.0)
        step = one.next(1.0)
        assert isinstance(step, Sleep)
        assert 1.0 <= step.until <= 1.0 + JITTER
        return step.until

    assert len({chance() for _ in range(20)}) > 10


def test_of_a_crowd_few_try_before_they_hear_of_the_winner() -> None:
    chances = []
    for _ in range(100):
        one = candidate()
        one.heard(OTHER, 0.0)
        one.heard(FREE._replace(revision=9), 1.0)
        step = one.next(1.0)
        assert isinstance(step, Sleep)
        chances.append(step.until)
    heard = min(chances) + 0.002  # a round trip and the word of it
    assert sum(chance < heard for chance in chances) <= 15  # 3 on average


def test_a_held_lease_is_left_alone_until_its_holder_was_silent_for_a_ttl() -> None:
    one = candidate()
    one.heard(OTHER, 0.0)
    one.heard(OTHER._replace(revision=10), 1.0)
    one.heard(OTHER._replace(revision=10), 2.5)  # told again: no renewal
    step = one.next(2.9)
    assert isinstance(step, Sleep)
    assert 3.0 < step.until <= 3.0 + JITTER
    assert one.next(3.0) == Acquire(OTHER._replace(revision=10), 0)


def test_a_wiped_store_says_nothing_about_who_believes_to_lead() -> None:
    one = candidate()
    one.heard(OTHER, 0.0)
    one.heard(Entry(epoch=2), 1.0)
    assert one.next(1.0) == Sleep(TTL)
    assert one.next(TTL) == Acquire(Entry(epoch=2), 0)


def test_a_holder_renews_in_time_and_believes_for_less_than_the_ttl() -> None:
    one = leader(10.0)
    assert one.next(10.0) == Sleep(10.5)
    assert isinstance(one.next(10.5), Renew)
    assert one.is_leader(11.59)
    assert one.token(11.59) == 9
    assert not one.is_leader(11.6)
    assert one.token(11.6) is None
    assert not isinstance(one.next(11.6), Renew)


def test_validity_counts_from_before_the_write() -> None:
    one = leader(0.0)
    step = one.next(0.5)
    assert isinstance(step, Renew)
    one.granted(step, step.mine._replace(revision=10), began=0.5, now=1.4)
    assert one.is_leader(2.0)
    assert not one.is_leader(2.1)


def test_the_token_stays_the_same_through_renewals() -> None:
    one = leader()
    step = one.next(0.5)
    assert isinstance(step, Renew)
    one.granted(step, step.mine._replace(revision=33), 0.5, 0.5)
    assert one.token(0.5) == 9


def test_a_refused_renewal_is_looked_into() -> None:
    one = leader()
    one.refused(0.6)
    assert one.next(0.6) == Read()
    one.read(Entry(12, "me", "us", 9, 1), 0.6)  # it was ours: only the answer got lost
    step = one.next(0.6)
    assert isinstance(step, Renew)
    assert step.mine.revision == 12
    assert one.is_leader(0.6)


@pytest.mark.parametrize("found", [OTHER._replace(revision=12), Entry(epoch=2), Entry(12, epoch=1)])
def test_a_replaced_holder_knows(found: Entry) -> None:
    one = leader()
    one.refused(0.6)
    one.read(found, 0.6)
    assert not one.is_leader(0.6)


def test_word_of_a_successor_ends_the_belief_and_old_word_does_not() -> None:
    one = leader()
    one.heard(OTHER, 0.1)  # revision 8, we have 9
    assert one.is_leader(0.1)
    one.heard(OTHER._replace(revision=10), 0.2)
    assert not one.is_leader(0.2)
    assert one.holder(0.2) == "other"


def test_pausing_gives_up_at_once_and_hands_back() -> None:
    one = leader()
    one.pause(0.1)
    assert not one.is_leader(0.1)
    assert one.take_release() == Entry(9, "me", "us", 9, 1)
    assert one.take_release() is None
    assert one.next(100.0) == Sleep(math.inf)
    one.resume()
    assert isinstance(one.next(100.0), Acquire)


def test_what_was_granted_after_resigning_is_handed_back() -> None:
    one = leader()
    step = one.next(0.5)
    assert isinstance(step, Renew)
    one.resign(0.5, rest=1.0)
    one.take_release()
    one.granted(step, step.mine._replace(revision=20), 0.5, 0.6)
    assert not one.is_leader(0.6)
    released = one.take_release()
    assert released is not None
    assert released.revision == 20
    assert one.next(0.6) == Sleep(1.5)  # others get their turn


def test_who_loses_the_race_counts_the_winner_once() -> None:
    one = candidate()
    one.read(FREE, 0.0)
    assert isinstance(one.next(0.0), Acquire)
    one.heard(OTHER, 0.1)
    one.refused(0.1)
    assert one.next(0.3) == Read()
    one.read(OTHER, 0.3)
    assert one.transitions == 1
    assert isinstance(one.next(0.3), Sleep)


def test_status_counts_holders_not_renewals() -> None:
    one = candidate()
    one.heard(OTHER, 0.0)
    one.heard(OTHER._replace(revision=9), 1.0)
    assert (one.transitions, one.since, one.holder(1.0)) == (1, 0.0, "other")
    one.heard(Entry(10, "third", "x", 10, 1), 2.0)
    assert (one.transitions, one.since, one.holder(2.0)) == (2, 2.0, "third")
    assert one.holder(2.0 + TTL + RENEW + 0.01) is None


# -- many candidates: delays, lost requests and answers, pauses ------------------------------------


@dataclass
class Store:
    """A lease in a store that expires it after the ttl of its own clock."""

    entry: Entry = Entry(epoch=1)  # noqa: RUF009
    expires: float = math.inf
    told: list[Entry] = field(default_factory=list)  # since the last look

    def put(self, entry: Entry, now: float) -> Entry:
        self.entry = entry._replace(revision=self.entry.revision + 1, epoch=1)
        self.expires = now + TTL if entry.holder is not None else math.inf
        self.told.append(self.entry)
        return self.entry

    def expire(self, now: float) -> None:
        if now >= self.expires:
            self.put(Entry(), now)


@dataclass
class Process:
    plan: Candidate
    rng: random.Random
    asleep_until: float = 0.0
    asked: tuple[Read | Acquire | Renew, float] | None = None
    arrives: float = math.inf  # at the store
    answered: float = math.inf
    gives_up: float = math.inf
    answer: Entry | None = None  # None: refused
    mail: list[tuple[float, Entry]] = field(default_factory=list)

    def ask(self, now: float) -> None:
        step = self.plan.next(now)
        if isinstance(step, Sleep):
            return
        self.asked = step, now
        lost = self.rng.random() < 0.1
        self.arrives = math.inf if lost else now + self.rng.uniform(0.0, 0.4)
        lost = self.rng.random() < 0.1
        self.answered = math.inf if lost else self.arrives + self.rng.uniform(0.0, 0.4)
        self.gives_up = min(now + 1.0, step.until if isinstance(step, Renew) else math.inf)

    def hear(self, now: float) -> None:
        while self.mail and self.mail[0][0] <= now:
            self.plan.heard(self.mail.pop(0)[1], now)

    def conclude(self, now: float) -> None:
        assert self.asked is not None
        step, began = self.asked
        if now >= self.gives_up and self.answered > now:
            self.plan.failed(now)
        elif now < self.answered:
            return
        elif self.answer is None:
            self.plan.refused(now)
        elif isinstance(step, Read):
            self.plan.read(self.answer, now)
        else:
            self.plan.granted(step, self.answer, began, now)
        self.asked = None


def serve(store: Store, process: Process, name: str, now: float) -> None:
    """The process's request reaches the store (perhaps after the process gave up on it)."""
    process.arrives = math.inf
    if process.asked is None:
        return
    step = process.asked[0]
    if isinstance(step, Read):
        process.answer = store.entry
    elif isinstance(step, Acquire):
        token = store.entry.revision + 1
        wanted = Entry(0, name, process.plan.instance, token)
        fits = store.entry.revision == step.seen.revision
        process.answer = store.put(wanted, now) if fits else None
    else:
        fits = store.entry.revision == step.mine.revision
        process.answer = store.put(step.mine, now) if fits else None


def live(process: Process, store: Store, name: str, now: float) -> None:
    """What a process gets done at one moment."""
    rng = process.rng
    if process.arrives <= now:
        serve(store, process, name, now)
    if now < process.asleep_until:
        return
    if rng.random() < 0.002:
        process.asleep_until = now + rng.uniform(0.0, 4.0)  # SIGSTOP
        return
    process.hear(now)
    if process.asked is not None:
        process.conclude(now)
    if process.asked is None:
        released = process.plan.take_release()
        if released is not None and released.revision == store.entry.revision:
            store.put(Entry(), now)
        if rng.random() < 0.005:
            process.plan.resign(now, rest=0.5)
        process.ask(now)


def world(seed: int, seconds: float) -> Iterator[tuple[float, list[Process]]]:
    rng = random.Random(seed)
    store = Store()
    processes = [Process(Candidate(f"i{n}", TTL, RENEW), rng) for n in range(4)]
    for tick in range(int(seconds * 50)):
        now = tick / 50
        store.expire(now)
        for number, process in enumerate(processes):
            live(process, store, f"n{number}", now)
        for process in processes:
            late = process.mail[-1][0] if process.mail else now
            process.mail += [(max(late, now + rng.uniform(0, 0.3)), e) for e in store.told]
        store.told.clear()
        yield now, processes


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1 << 32))
def test_at_most_one_believes_and_tokens_only_grow(seed: int) -> None:
    highest, led = 0, 0
    for now, processes in world(seed, 60.0):
        tokens = [t for process in processes if (t := process.plan.token(now)) is not None]
        assert len(tokens) <= 1, f"{tokens} lead at {now}"
        for token in tokens:
            led += 1
            assert token >= highest
            highest = token
    assert led > 300, "somebody leads most of the time"
