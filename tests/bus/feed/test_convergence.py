"""Whatever is lost, repeated, reordered, damaged or restarted: followers end as their publisher.

One machine, two profiles: a quick one always, a long one under the `nightly` marker.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from bus.feed import FeedSettings, FollowerCore, Item, Position
from bus.feed.tick import decode_tick, encode_tick
from tests.bus.feed.model import BIG, TINY, Consumer, Publisher, Source

KEYS = st.sampled_from([f"default/web-{i}" for i in range(12)])
ACTS = st.sampled_from(["put"] * 5 + ["delete"] * 2 + ["recreate", "advance", "large", "too large"])
STEPS = st.lists(st.tuples(ACTS, KEYS), min_size=1, max_size=6)
FAULTS = st.sampled_from(["lose"] * 3 + ["repeat", "overtake", "overtake", "truncate", "flip"])
UPSETS = st.sampled_from(
    ["roll back", "relist", "restart publisher", "restart follower", "store", "move", "cut", "cut"]
)
CYCLES = st.sampled_from([0, 0, 1, 2, 5])
PUBLISH = st.none() | st.tuples(st.integers(1, 40), st.booleans())
WIDE = FeedSettings(max_object=2000)
ROUNDS_TO_HEAL = 60


class Convergence(RuleBasedStateMachine):
    """Two publishers of one source, one follower, and a wire that does what it likes."""

    @initialize(tiny=st.booleans(), count=st.integers(0, 40), settle=st.booleans())
    def begin(self, tiny: bool, count: int, settle: bool) -> None:
        self.settings = TINY if tiny else WIDE
        self.source = Source(self.settings.max_object)
        for i in range(count):
            self.source.put(f"kube-system/dns-{i}")
        self.epoch = 0
        self.publishers = [Publisher(self.source, self._new_epoch(), self.settings) for _ in "ab"]
        self.attached = 0
        self.wire: list[tuple[str, bytes]] = []
        self.outstanding: list[int] = []
        self.stored: tuple[dict[str, Item], Position, bytes] = ({}, Position(), b"")
        self._new_follower()
        if settle:
            self.pump(0, len(self.source.log), coalesce=False)
            self.converse(50)

    def _new_epoch(self) -> int:
        self.epoch += 1
        return self.epoch

    def _new_follower(self) -> None:
        self.follower = FollowerCore("feed", self.settings)
        self.outstanding = []
        self.wire = [(kind, data) for kind, data in self.wire if kind in ("frame", "tick")]

    @property
    def publisher(self) -> Publisher:
        return self.publishers[self.attached]

    @property
    def consumer(self) -> Consumer:
        if getattr(self, "_consumer_of", None) is not self.follower:
            self._consumer_of = self.follower
            self._consumer = Consumer(self.source, self.follower)
        return self._consumer

    # -- the source -------------------------------------------------------------------------------

    @rule(
        acts=st.lists(st.tuples(ACTS, KEYS), min_size=1, max_size=12),
        publish=PUBLISH,
        cycles=CYCLES,
    )
    def change(
        self, acts: list[tuple[str, str]], publish: tuple[int, bool] | None, cycles: int
    ) -> None:
        for act, key in acts:
            self._act(act, key)
        if publish is not None:
            for which in (0, 1):
                self.pump(which, *publish)
        self.converse(cycles)

    def _act(self, act: str, key: str) -> None:
        source = self.source
        if act == "advance":
            source.advance(2)
        elif act == "delete":
            source.delete(key)
        elif act == "recreate":
            source.delete(key)
            source.put(key)
        else:
            source.put(key, size={"put": 0, "large": 600, "too large": BIG}[act])

    # -- publishers -------------------------------------------------------------------------------

    @rule(which=st.integers(0, 1), steps=st.integers(1, 40), coalesce=st.booleans())
    def pump(self, which: int, steps: int, coalesce: bool) -> None:
        self._send(which, self.publishers[which].pump(steps, coalesce))

    def relist(self, which: int) -> None:
        self._send(which, self.publishers[which].relist())

    def restart_publisher(self, which: int, back: int) -> None:
        frames = self.publishers[which].restart(self._new_epoch(), back // 2, bool(back % 2))
        self._send(which, frames)

    @rule()
    def tick(self) -> None:
        core = self.publisher.core
        if core.is_ready:
            self.wire.append(("tick", encode_tick([core.tick_entry(0.5)])))

    def _send(self, which: int, frames: list[bytes]) -> None:
        if which == self.attached:
            self.wire += [("frame", frame) for frame in frames]

    # -- the wire ---------------------------------------------------------------------------------

    @rule(count=st.integers(1, 6))
    def deliver(self, count: int) -> None:
        for _ in range(min(count, len(self.wire))):
            self._deliver(*self.wire.pop(0))

    @rule(cycles=st.integers(1, 8))
    def converse(self, cycles: int) -> None:
        """Undisturbed for a while: a sync gets somewhere, or to its end."""
        for _ in range(cycles):
            self.work()
            self.deliver(len(self.wire))

    @rule(steps=st.lists(STEPS, min_size=1, max_size=10), pace=st.integers(1, 3))
    def change_during_sync(self, steps: list[list[tuple[str, str]]], pace: int) -> None:
        """Each question is answered by a publisher that has moved on since the last one."""
        for step in steps:
            for act, key in step:
                self._act(act, key)
            self.pump(self.attached, len(self.source.log), coalesce=True)
            self.work()
            self.deliver(pace)

    @rule(faults=st.lists(st.tuples(FAULTS, st.integers(0, 99)), min_size=1, max_size=8))
    def disturb(self, faults: list[tuple[str, int]]) -> None:
        for fault, where in faults:
            if self.wire:
                self._disturb(fault, where % len(self.wire), where / 100)

    def _disturb(self, fault: str, index: int, part: float) -> None:
        kind, data = self.wire[index]
        at = int(part * len(data))
        if fault == "lose":
            del self.wire[index]
        elif fault == "repeat":
            self.wire.append((kind, data))
        elif fault == "overtake":
            self.wire.insert(0, self.wire.pop(index))
        elif fault == "truncate":
            self.wire[index] = (kind, data[:at])
        elif fault == "flip" and data:
            self.wire[index] = (kind, data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :])

    @rule(junk=st.binary(max_size=40), kind=st.sampled_from(["frame", "tick", "request", "answer"]))
    def junk(self, junk: bytes, kind: str) -> None:
        self.wire.append((kind, junk))

    def _deliver(self, kind: str, data: bytes) -> None:
        if kind == "frame":
            self.follower.on_frame(data)
        elif kind == "tick":
            self._deliver_tick(data)
        elif kind == "request":
            self.wire.append(("answer", self.publisher.core.answer(data, 0.0)))
        else:
            self.follower.on_answer(data)

    def _deliver_tick(self, data: bytes) -> None:
        try:
            entries = decode_tick(data)
        except Exception as error:
            assert type(error).__name__ == "DecodeError"  # noqa: PT017
            return
        for entry in entries:
            if self.follower.on_tick(entry):
                assert (entry.epoch, entry.seq) == self.follower._cursor

    # -- the follower -----------------------------------------------------------------------------

    @rule(count=st.integers(1, 3))
    def take(self, count: int) -> None:
        for _ in range(count):
            self._take()

    @rule()
    def work(self) -> None:
        while self._take():
            pass
        for request in self.follower.next_requests():
            self.outstanding.append(request.id)
            self.wire.append(("request", request.data))

    def _take(self) -> bool:
        consumer = self.consumer
        batch = self.follower.next_batch()
        if batch is not None:
            consumer.take(batch)
        return batch is not None

    @precondition(lambda self: self.outstanding)
    @rule(where=st.integers(0, 9))
    def time_out(self, where: int) -> None:
        self.follower.on_failed(self.outstanding.pop(where % len(self.outstanding)))

    def cut(self, changes: int) -> None:
        """The link is gone while things happen, and then it is back."""
        for i in range(changes):
            self._act("delete" if i % 5 == 4 else "put", f"default/web-{(changes * i) % 12}")
        self.pump(self.attached, changes, coalesce=False)
        self.wire.clear()
        self.follower.ask()

    def move(self) -> None:
        self.attached = 1 - self.attached
        self.follower.turn()

    def store(self) -> None:
        follower = self.follower
        self.stored = (dict(follower.items), follower.position, follower.upstream)

    def restart_follower(self, restored: bool) -> None:
        self._new_follower()
        if restored and self.stored[1].lineage:
            self.follower.restore(*self.stored)

    # -- what is rare: as one rule, or nothing else would get far --------------------------------

    @rule(what=UPSETS, by=st.integers(0, 20), which=st.integers(0, 1))
    def upset(self, what: str, by: int, which: int) -> None:
        happen: dict[str, Callable[[], None]] = {
            "roll back": lambda: self.source.roll_back(by),
            "relist": lambda: self.relist(which),
            "restart publisher": lambda: self.restart_publisher(which, by),
            "restart follower": lambda: self.restart_follower(restored=by > 4),
            "store": self.store,
            "move": self.move,
            "cut": lambda: self.cut(by),
        }
        happen[what]()

    # -- the end ----------------------------------------------------------------------------------

    def teardown(self) -> None:
        if not hasattr(self, "source"):
            return
        self._send(self.attached, self.publisher.pump(len(self.source.log), coalesce=False))
        for _ in range(ROUNDS_TO_HEAL):
            self._heal_once()
            if self.follower.is_live and self.follower.position == self.source.position:
                break
        assert self.follower.is_live
        assert self.follower.position == self.source.position
        assert dict(self.follower.items) == self.source.items
        assert dict(self.publisher.core.items) == self.source.items

    def _heal_once(self) -> None:
        for request_id in self.outstanding:
            self.follower.on_failed(request_id)
        self.outstanding = []
        self.tick()
        for _ in range(100):
            self.deliver(len(self.wire))
            self.work()
            if not self.wire:
                break


def run(profile: settings) -> None:
    run_state_machine_as_test(Convergence, settings=profile)


ALLOWED = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]


def test_followers_converge() -> None:
    run(settings(max_examples=100, stateful_step_count=50, deadline=None, database=None))


@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_followers_converge_over_many_histories() -> None:
    run(
        settings(
            max_examples=2500,
            stateful_step_count=100,
            deadline=None,
            database=None,
            suppress_health_check=ALLOWED,
        )
    )
