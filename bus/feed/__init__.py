"""The feed protocol: a keyed, versioned set of bytes kept equal at many followers, as deltas.

A *feed* is one resource. Its publisher has an *epoch* (new at each start) and numbers its *frames*
by `seq`; a follower applies frame `last + 1`, anything else makes it *sync* by difference. A *tick*
about once a second shows a lost tail and carries the staleness clock. A *lineage* says which
history the versions belong to: it grows when the source was rolled back, and only then may
versions go back.

Promises: after any loss, duplication, reordering, truncation or restart, a follower that can reach
its publisher ends with the publisher's state; within one lineage a follower never goes back.

Open `types.py` first, then `publisher.py` and `follower.py` (pure cores), then `publishing.py` and
`following.py` (the same on a bus).
"""

from bus.feed.follower import FollowerCore
from bus.feed.following import FeedFollower
from bus.feed.publisher import PublisherCore
from bus.feed.publishing import FeedPublisher, Ticker
from bus.feed.settings import FeedSettings
from bus.feed.tick import TickEntry, decode_tick, encode_tick
from bus.feed.ticks import Ticks
from bus.feed.types import Batch, Change, FeedSubjects, Item, Position

__all__ = [
    "Batch",
    "Change",
    "FeedFollower",
    "FeedPublisher",
    "FeedSettings",
    "FeedSubjects",
    "FollowerCore",
    "Item",
    "Position",
    "PublisherCore",
    "TickEntry",
    "Ticker",
    "Ticks",
    "decode_tick",
    "encode_tick",
]
