"""Writes that a node's components make while the API server cannot be reached.

A write is applied to the object as it is known here (clients read what they wrote), queued on disk
before its client is answered, and replayed after the cut. `policy.py` is the table of what is
queued and what is refused, with a Status that says so; `plan.py` is how it is replayed: newest wins
for status, the server's state for all else. What cannot be replayed is reported (`Report`s, counts,
an Event `OfflineWriteDropped` on the object), never lost in silence.

Promises: an answered write survives a power cut; it is replayed once in effect, though maybe sent
twice; objects in the order of their first writes, then events in theirs; the writes of one object
in order, as the identities that made them. Bounded: the oldest events go first, and are counted;
what waits of other objects is never dropped, a write without room is refused (507).

Open first: `offline.py` (`Offline`), then `writing.py` (one write), `chain.py` (the writes of one
object), `plan.py`, `replay.py`. `entry.py` is what waits, `merge.py` how states differ and fit,
`store.py` the file, `book.py` the bounds.
"""

from __future__ import annotations

from edge.offline.api import Objects, Replayed, Upstream
from edge.offline.offline import Offline
from edge.offline.reports import REASON, Report
from edge.offline.settings import OfflineSettings

__all__ = [
    "REASON",
    "Objects",
    "Offline",
    "OfflineSettings",
    "Replayed",
    "Report",
    "Upstream",
]
