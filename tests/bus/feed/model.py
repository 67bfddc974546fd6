"""A source with a known past, publishers that trail it, and a consumer that checks every batch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from bus.feed import Batch, Change, FollowerCore, Item, Position, PublisherCore
from bus.feed.settings import FeedSettings

State = dict[str, Item]
FILLER = b'{"apiVersion":"v1","kind":"Service","spec":{"ports":[{"port":80},{"port":443}]}}'
BIG = 3000  # bytes; over max_object of TINY
TINY = FeedSettings(
    max_object=2000,
    frame_bytes=300,
    chunk_bytes=300,
    ring_bytes=1500,
    history_bytes=1000,
    pending_bytes=4000,
    window=2,
    request_bytes=60,
)


def content(key: str, version: int, lineage: int, size: int = 0) -> bytes:
    return b"%s|%d|%d|%s|" % (key.encode(), version, lineage, FILLER) + b"x" * size


def difference(old: State, new: State, version: int) -> list[Change]:
    """What turns `old` into `new`, as a reflector's re-list tells it."""
    gone = [Change(key, version, None) for key in old.keys() - new.keys()]
    puts = [Change(key, *item) for key, item in new.items() if old.get(key) != item]
    return gone + puts


@dataclass
class Source:
    """What happened, step by step; `truth` tells the state at every position there ever was."""

    limit: int
    position: Position = field(default_factory=lambda: Position(1, 1))
    items: State = field(default_factory=dict)
    truth: dict[Position, State] = field(default_factory=dict)
    log: list[tuple[list[Change], Position]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.truth[self.position] = {}
        self.log.append(([], self.position))

    def put(self, key: str, size: int = 0) -> None:
        version = self.position.version + 1
        data = content(key, version, self.position.lineage, size)
        if len(data) <= self.limit:
            self.items[key] = Item(version, data)
        else:
            self.items.pop(key, None)  # as the protocol has it: nobody is shown an old version
        self._step([Change(key, version, data)])

    def delete(self, key: str) -> None:
        self.items.pop(key, None)
        self._step([Change(key, self.position.version + 1, None)])

    def advance(self, by: int) -> None:
        self._step([], by)

    def roll_back(self, by: int) -> None:
        """A backup is restored: an older state, and versions are given out once more."""
        past = [p for p in self.truth if p.lineage == self.position.lineage]
        past = sorted(past, key=lambda p: p.version)[-1 - by :]
        old = past[0]
        self.items = dict(self.truth[old])
        self.position = Position(self.position.lineage + 1, old.version)
        self.truth[self.position] = dict(self.items)
        self.log.append(([], self.position))

    def _step(self, changes: list[Change], by: int = 1) -> None:
        self.position = Position(self.position.lineage, self.position.version + by)
        self.truth[self.position] = dict(self.items)
        self.log.append((changes, self.position))


class Publisher:
    """A publisher core that has seen the source's log up to `at`."""

    def __init__(self, source: Source, epoch: int, settings: FeedSettings) -> None:
        self.source = source
        self.settings = settings
        self.core = PublisherCore("feed", epoch, settings)
        self.at = -1

    def pump(self, steps: int, coalesce: bool) -> list[bytes]:
        frames: list[bytes] = []
        waiting: list[Change] = []
        end = min(len(self.source.log), self.at + 1 + steps)
        for index in range(self.at + 1, end):
            changes, position = self.source.log[index]
            if position.lineage != self.core.position.lineage:
                frames += self._publish(waiting, self.core.position)
                waiting, changes = [], self._turn_into(position)
                frames += self._publish(changes, position)
                continue
            waiting += changes
            if not coalesce or index == end - 1 or self._turns_at(index + 1):
                frames += self._publish(waiting, position)
                waiting = []
        self.at = max(self.at, end - 1)
        return frames

    def relist(self) -> list[bytes]:
        """Jumps to the newest state by a list, as after a broken watch."""
        self.at = len(self.source.log) - 1
        position = self.source.log[-1][1]
        return self._publish(self._turn_into(position), position, exact=False)

    def restart(self, epoch: int, back: int, restored: bool) -> list[bytes]:
        """A new process, which may know a little less than the old one did."""
        self.core = PublisherCore("feed", epoch, self.settings)
        self.at = max(0, self.at - back)
        position = self.source.log[self.at][1]
        if restored:
            self.core.restore(dict(self.source.truth[position]), position)
            return self.core.announce()
        return self._publish(self._turn_into(position), position)

    def check(self) -> None:
        if self.core.is_ready:
            assert dict(self.core.items) == self.source.truth[self.core.position]

    def _turns_at(self, index: int) -> bool:
        return self.source.log[index][1].lineage != self.core.position.lineage

    def _turn_into(self, position: Position) -> list[Change]:
        items = dict(self.core.items)
        return difference(items, self.source.truth[position], position.version)

    def _publish(
        self, changes: Iterable[Change], position: Position, exact: bool = True
    ) -> list[bytes]:
        if position.lineage == 0:
            return []
        frames = self.core.publish(changes, position, exact).frames
        self.check()
        return frames


class Consumer:
    """Takes batches as a watch cache does, and checks every promise at each of them."""

    def __init__(self, source: Source, follower: FollowerCore) -> None:
        self._truth = source.truth
        self._follower = follower
        self._items: State = dict(follower.items)
        self._position = follower.position
        self._versions = {key: item.version for key, item in self._items.items()}
        self.batches = 0

    def take(self, batch: Batch) -> None:
        self.batches += 1
        assert batch.position.is_ahead_of(self._position)
        known = self._position.lineage > 0
        turned = known and batch.position.lineage != self._position.lineage
        assert batch.reset is turned
        if batch.position.lineage == self._position.lineage:
            self._check_versions(batch)
            if batch.exact:
                self._check_named(batch)
        else:
            self._versions.clear()
        for change in batch.changes:
            self._apply(change)
        self._position = batch.position
        assert self._items == self._truth[batch.position]
        assert dict(self._follower.items) == self._items
        assert self._follower.position == batch.position

    def _check_versions(self, batch: Batch) -> None:
        """List versions only grow: what a watcher saw lets it resume anywhere."""
        versions = [change.version for change in batch.changes]
        assert versions == sorted(versions)
        assert all(self._position.version < v <= batch.position.version for v in versions)

    def _check_named(self, batch: Batch) -> None:
        """Whoever was between is brought to the end by the changes behind its version alone."""
        lineage, end = batch.position.lineage, batch.position.version
        for version in range(self._position.version + 1, end):
            between = self._truth.get(Position(lineage, version))
            if between is None:
                continue
            state: dict[str, Item | None] = dict(between)
            for key, at, data in batch.changes:
                if at > version:
                    state[key] = None if data is None else Item(at, data)
            found = {key: item for key, item in state.items() if item is not None}
            assert found == self._truth[batch.position]

    def _apply(self, change: Change) -> None:
        last = self._versions.get(change.key, -1)
        assert change.version > last
        self._versions[change.key] = change.version
        if change.data is None:
            assert change.key in self._items
            del self._items[change.key]
        else:
            self._items[change.key] = Item(change.version, change.data)
