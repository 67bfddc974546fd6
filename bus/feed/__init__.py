"""The feed protocol: a keyed, versioned set of bytes kept equal at many followers, as deltas.

A *feed* is one resource. Its publisher has an *epoch* (new at each start) and numbers its *frames*
by `seq`; a follower applies frame `last + 1`, anything else makes it *sync* by difference. A *tick*
about once a second shows a lost tail and carries the staleness clock. A *lineage* says which history
the versions belong to: it grows when the source was rolled back, and only then may versions go back.

Promises: after any loss, duplication, reordering, truncation or restart, a follower that can reach
its publisher ends with the publisher's state; within one lineage a follower never goes back.

Open `types.py` first, then `publisher.py` and `follower.py` (pure cores), then `shells.py` (the bus).
"""

from bus.feed.types import Batch, Change, FeedSubjects, Item, Position

__all__ = ["Batch", "Change", "FeedSubjects", "Item", "Position"]
