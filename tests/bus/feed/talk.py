"""A publisher and a follower that talk directly, and what it costs them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from bus.feed import Batch, Change, FollowerCore, Item, PublisherCore


@dataclass
class Talk:
    """What went over the wire in a conversation."""

    batches: list[Batch] = field(default_factory=list)
    round_trips: int = 0
    up: int = 0
    down: int = 0

    @property
    def batch(self) -> Batch:
        assert len(self.batches) == 1
        return self.batches[0]


def converse(
    publisher: PublisherCore,
    follower: FollowerCore,
    *,
    between: Callable[[], list[bytes]] = list,
    limit: int = 200,
) -> Talk:
    """Until nothing is left to say. `between` makes frames while each answer is on its way."""
    talk = Talk()
    for _ in range(limit):
        take(follower, talk)
        requests = follower.next_requests()
        if not requests:
            return talk
        talk.round_trips += 1
        for request in requests:
            answer = publisher.answer(request.data, 0.0)
            for frame in between():
                follower.on_frame(frame)
            assert follower.on_answer(answer)
            talk.up += len(request.data)
            talk.down += len(answer)
    raise AssertionError("they talk for ever")


def take(follower: FollowerCore, talk: Talk) -> None:
    while (batch := follower.next_batch()) is not None:
        talk.batches.append(batch)


def hand_over(frames: list[bytes], follower: FollowerCore) -> list[Batch]:
    talk = Talk()
    for frame in frames:
        follower.on_frame(frame)
        take(follower, talk)
    return talk.batches


def endpoint_slice(name: str, endpoints: int, version: int, down: int | None = None) -> bytes:
    """Like a real one; the same `name` gives the same addresses."""
    chance = random.Random(name)
    rows = [
        {
            "addresses": [".".join(str(chance.randrange(256)) for _ in range(4))],
            "conditions": {"ready": i != down, "serving": i != down, "terminating": False},
            "nodeName": f"node-{chance.randrange(1000)}",
            "targetRef": {
                "kind": "Pod",
                "name": f"{name}-{chance.getrandbits(40):x}",
                "namespace": "default",
                "uid": f"{chance.getrandbits(128):x}",
            },
            "zone": "zone-1",
        }
        for i in range(endpoints)
    ]
    head = {"name": name, "namespace": "default", "resourceVersion": str(version)}
    return json.dumps({"kind": "EndpointSlice", "metadata": head, "endpoints": rows}).encode()


def slices(count: int, endpoints: int, version: int = 1_000_000) -> list[Change]:
    names = [f"web-{i:05x}" for i in range(count)]
    return [
        Change(f"default/{name}", version + i, endpoint_slice(name, endpoints, version + i))
        for i, name in enumerate(names)
    ]


def items_of(changes: list[Change]) -> dict[str, Item]:
    return {c.key: Item(c.version, c.data) for c in changes if c.data is not None}
