"""What streams were sent last: the bases of deltas. Bounded; what is let go is sent whole again."""

from __future__ import annotations

from collections import OrderedDict

from bus.feed.types import Change, Item


class Memory:
    """Of all streams of one replica together."""

    def __init__(self, limit: int, each: int) -> None:
        self.limit = limit  # bytes of all
        self.each = each  # and of one stream
        self.used = 0
        self.evicted = 0  # objects whose next change goes whole

    def stream(self) -> Sent:
        return Sent(self)


class Sent:
    """One stream's objects as last sent, least recently changed first."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._items: OrderedDict[str, Item] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        return len(self._items)

    def base(self, key: str) -> Item | None:
        return self._items.get(key)

    def note(self, change: Change) -> None:
        self._drop(change.key)
        if change.data is None:
            return
        self._items[change.key] = Item(change.version, change.data)
        self._add(len(change.data))
        while self._items and self._is_over():
            self._drop(next(iter(self._items)))
            self._memory.evicted += 1

    def close(self) -> None:
        self._items.clear()
        self._add(-self._size)

    def _is_over(self) -> bool:
        """A stream that comes when all is used up keeps nothing; the others keep what they have."""
        return self._size > self._memory.each or self._memory.used > self._memory.limit

    def _drop(self, key: str) -> None:
        item = self._items.pop(key, None)
        if item is not None:
            self._add(-len(item.data))

    def _add(self, size: int) -> None:
        self._size += size
        self._memory.used += size
