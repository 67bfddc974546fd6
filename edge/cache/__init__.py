"""The hub's disk cache: what the node's components have read, for when nobody can be asked.

One stored copy per object, however many components read it. A *view* is one component's list (or
single read) by one query: its members, its resourceVersion and when it was last known current. So
differently selected lists stay apart, and a list that was never read is unknown, never empty. The
pool's feeds are kept whole, with their positions, for a restart with nobody to follow.

Promises: nothing is served but what was written (checksums of every row, and of every view's
members); after a power cut a view is as old as it says, and whole, or unknown. Errors of the disk
never reach a caller: writes fail softly and reads go on.

Start with `store.py` (`DiskCache`). `plan.py` decides, `rows.py` is the format, `tables.py` the
SQL, `disk.py` the two threads, `database.py` the file and its repair.
"""

from __future__ import annotations

from edge.cache.plan import ListQuery, list_query
from edge.cache.reading import FeedState, Found, Missing, View
from edge.cache.settings import CacheSettings
from edge.cache.store import DiskCache
from edge.cache.tables import Document

__all__ = [
    "CacheSettings",
    "DiskCache",
    "Document",
    "FeedState",
    "Found",
    "ListQuery",
    "Missing",
    "View",
    "list_query",
]
