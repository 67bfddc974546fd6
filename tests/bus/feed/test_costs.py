"""What the wire carries, in bytes: the reason for all this. Rates are in `tests/bench`."""

from __future__ import annotations

import pytest

from bus.feed import Change, FollowerCore, Position, PublisherCore
from tests.bus.feed.talk import converse, endpoint_slice, hand_over, items_of, slices

START = 1_000_000


def in_step(count: int, endpoints: int) -> tuple[PublisherCore, FollowerCore]:
    publisher = PublisherCore("feed", 0xFFFF_FFFF)
    publisher.restore(items_of(slices(count, endpoints)), Position(1, START + count))
    follower = FollowerCore("feed")
    converse(publisher, follower)
    return publisher, follower


def flip(index: int, endpoints: int, version: int) -> Change:
    name = f"web-{index:05x}"
    data = endpoint_slice(name, endpoints, version, down=version % endpoints)
    return Change(f"default/{name}", version, data)


@pytest.mark.parametrize("endpoints", [20, 100])
def test_one_endpoint_flips(endpoints: int) -> None:
    publisher, follower = in_step(10, endpoints)
    sizes = []
    for version in range(START + 100, START + 150):
        change = flip(version % 10, endpoints, version)
        (frame,) = publisher.publish([change], Position(1, version)).frames
        assert len(hand_over([frame], follower)) == 1
        sizes.append(len(frame))
    assert sum(sizes) / len(sizes) < 120
    assert follower.items == publisher.items


def test_changes_that_go_together_cost_less() -> None:
    publisher, _ = in_step(100, 100)
    changes = [flip(i, 100, START + 200 + i) for i in range(100)]
    frames = publisher.publish(changes, Position(1, START + 300)).frames
    assert sum(map(len, frames)) / 100 < 70


def test_a_publisher_restarts_under_many_objects() -> None:
    publisher, follower = in_step(2000, 1)
    again = PublisherCore("feed", 2)
    again.restore(publisher.items, publisher.position)
    follower.ask()
    talk = converse(again, follower)
    assert (talk.round_trips, talk.up + talk.down < 100) == (1, True)


def test_a_restart_with_few_changes_costs_hashes_and_deltas() -> None:
    publisher, follower = in_step(2000, 1)
    for i in range(10):
        version = START + 5000 + i
        publisher.publish([flip(i * 190, 1, version)], Position(1, version))
    again = PublisherCore("feed", 2)
    again.restore(publisher.items, publisher.position)
    follower.ask()
    talk = converse(again, follower)
    assert len(talk.batch.changes) == 10
    assert talk.round_trips == 2
    assert talk.up + talk.down < 10_000


def test_a_fresh_follower_gets_everything_compressed() -> None:
    publisher, follower = in_step(500, 20)
    raw = sum(len(item.data) for item in publisher.items.values())
    assert follower.counts["answer_bytes"] < raw / 4
