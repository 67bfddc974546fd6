"""Items with order-independent hashes over (key, version), kept up to date change by change.

Keys fall into `FINE` buckets; a coarser view of 2^k buckets is a fold of these, so that both ends
of a sync can look at the number that suits the feed's size.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from zlib import crc32

from bus.feed.types import Item

FINE = 1024  # buckets; 8 KB of hashes at most in a sync
_MASK = (1 << 64) - 1
_PER_BUCKET = 8  # items; a bucket that differs costs that many (key, version) pairs


def bucket_of(key: str, buckets: int) -> int:
    return crc32(key.encode()) & (buckets - 1)


def buckets_for(count: int) -> int:
    """How many buckets suit `count` items: a power of two up to FINE."""
    wanted = max(1, count // _PER_BUCKET)
    return min(FINE, 1 << (wanted - 1).bit_length())


class State:
    """A set of items; `items` is the mapping itself, shared by reference: read it, only."""

    def __init__(self, items: Mapping[str, Item] | None = None) -> None:
        self.items: dict[str, Item] = {}
        self.bytes = 0
        self._sums = [0] * FINE
        self._keys: list[set[str]] = [set() for _ in range(FINE)]
        for key, item in (items or {}).items():
            self.put(key, item)

    def copy(self) -> State:
        twin = State()
        twin.items = self.items.copy()
        twin.bytes = self.bytes
        twin._sums = self._sums.copy()
        twin._keys = [keys.copy() for keys in self._keys]
        return twin

    def put(self, key: str, item: Item) -> None:
        old = self.items.get(key)
        name = key.encode()
        bucket = crc32(name) & (FINE - 1)
        total = self._sums[bucket] + _digest(name, item.version)
        if old is None:
            self._keys[bucket].add(key)
        else:
            total -= _digest(name, old.version)
            self.bytes -= len(old.data)
        self._sums[bucket] = total & _MASK
        self.bytes += len(item.data)
        self.items[key] = item

    def remove(self, key: str) -> None:
        """Idempotent."""
        old = self.items.pop(key, None)
        if old is None:
            return
        name = key.encode()
        bucket = crc32(name) & (FINE - 1)
        self._keys[bucket].discard(key)
        self._sums[bucket] = (self._sums[bucket] - _digest(name, old.version)) & _MASK
        self.bytes -= len(old.data)

    def root(self) -> int:
        return sum(self._sums) & _MASK

    def hashes(self, buckets: int) -> list[int]:
        folded = [0] * buckets
        for index, total in enumerate(self._sums):
            folded[index & (buckets - 1)] += total
        return [total & _MASK for total in folded]

    def keys_in(self, bucket: int, buckets: int) -> set[str]:
        """The keys of one bucket of the coarser view."""
        if buckets == FINE:
            return self._keys[bucket]
        return set().union(*self._keys[bucket::buckets])


def _digest(name: bytes, version: int) -> int:
    content = b"%d/%b" % (version, name)
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "little")
