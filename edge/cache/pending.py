"""What waits to be written, bounded, and which views have missed a write. No I/O."""

from __future__ import annotations

import asyncio
from collections import Counter

from edge.cache.ops import Op


class Pending:
    def __init__(self, limit: int) -> None:
        self._limit = limit  # bytes
        self._ops: list[Op] = []
        self._waiters: list[asyncio.Future[bool]] = []
        self.weight = 0
        self.frozen: set[int] = set()
        self.counts: Counter[str] = Counter()

    @property
    def is_empty(self) -> bool:
        return not self._ops and not self._waiters

    def add(self, op: Op) -> bool:
        """False: it is dropped, since its view missed something or for want of room."""
        if op.view in self.frozen and not op.is_whole:
            return False
        weight = op.weight
        if self._ops and self.weight + weight > self._limit:  # one alone may be as large as it is
            self.counts["writes.dropped"] += 1
            self.freeze(op.view)
            return False
        self.frozen.discard(op.view)
        self._ops.append(op)
        self.weight += weight
        return True

    def freeze(self, view: int) -> None:
        """What continues the view is worth nothing, up to the next that is whole by itself."""
        if not view:
            return
        kept: list[Op] = []
        is_frozen = True
        for op in self._ops:
            if op.view == view:
                is_frozen = is_frozen and not op.is_whole
                if is_frozen:
                    self.weight -= op.weight
                    continue
            kept.append(op)
        self._ops = kept
        if is_frozen:
            self.frozen.add(view)

    def wait(self) -> asyncio.Future[bool]:
        """Resolved with the batch that has all added so far."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        return waiter

    def take(self) -> tuple[list[Op], list[asyncio.Future[bool]]]:
        ops, waiters = self._ops, self._waiters
        self._ops, self._waiters, self.weight = [], [], 0
        return ops, waiters
