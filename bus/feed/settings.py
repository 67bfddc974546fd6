"""The bounds of a feed, with their units and reasons."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FeedSettings:
    """Bounds of one feed; both ends may differ, as long as `max_object` and `frame_bytes` agree."""

    max_object: int = 4 << 20  # bytes; etcd's own limit is 1.5 MiB. Half of the bus's max_payload
    frame_bytes: int = 512 << 10  # of uncompressed content; one larger object still goes alone
    chunk_bytes: int = 512 << 10  # of a sync answer, uncompressed: 40-100 KiB on the wire
    ring_bytes: int = 4 << 20  # recent frames kept for short gaps (tens of thousands of deltas)
    history_bytes: int = 8 << 20  # older versions kept as bases for deltas in a sync
    pending_bytes: int = 64 << 20  # frames that wait for a gap, a sync or a slow consumer
    queue_bytes: int = 8 << 20  # changes that wait behind the frame in flight
    hello_bytes: int = 32 << 10  # of frames replayed at once; a longer gap is told by difference
    window: int = 4  # sync requests outstanding: the follower's credit
    request_bytes: int = 64 << 10  # (key, version) pairs in one sync request
    compress_from: int = 256  # bytes of content; smaller gains nothing

    @property
    def content_limit(self) -> int:
        """What a message may hold at most, uncompressed: more is a decompression bomb."""
        return (
            max(self.frame_bytes, self.chunk_bytes, self.request_bytes) + self.max_object + _SLACK
        )


_SLACK = 1 << 20  # keys, versions and msgpack's own bytes around the objects
