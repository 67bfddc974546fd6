"""What a publisher remembers of its past, bounded in bytes: recent frames and older versions."""

from __future__ import annotations

from collections import OrderedDict, deque

from bus.feed.types import Item


class Ring:
    """The newest frames, without holes. The newest one is always kept."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._frames: deque[bytes] = deque()
        self._bytes = 0
        self._last = 0  # seq of the newest frame

    def add(self, seq: int, frame: bytes) -> None:
        self._frames.append(frame)
        self._bytes += len(frame)
        self._last = seq
        while self._bytes > self._limit and len(self._frames) > 1:
            self._bytes -= len(self._frames.popleft())

    def after(self, seq: int, limit: int) -> tuple[list[bytes], bool] | None:
        """Frames from `seq` + 1 on, of about `limit` bytes, and whether they are all there are.

        None where some of them are gone.
        """
        first = self._last - len(self._frames) + 1
        if not first - 1 <= seq <= self._last:
            return None
        found: list[bytes] = []
        size = 0
        for index in range(seq + 1 - first, len(self._frames)):
            frame = self._frames[index]
            if found and size + len(frame) > limit:
                return found, False
            found.append(frame)
            size += len(frame)
        return found, True


class History:
    """Older versions of objects: bases for deltas to followers that still hold them."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._versions: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._bytes = 0

    def add(self, key: str, item: Item) -> None:
        self._bytes -= len(self._versions.pop((key, item.version), b""))
        self._versions[key, item.version] = item.data
        self._bytes += len(item.data)
        while self._bytes > self._limit:
            _, data = self._versions.popitem(last=False)
            self._bytes -= len(data)

    def get(self, key: str, version: int) -> Item | None:
        data = self._versions.get((key, version))
        return None if data is None else Item(version, data)

    def clear(self) -> None:
        self._versions.clear()
        self._bytes = 0
