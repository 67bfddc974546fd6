"""The clock by which leases are held and data grows old."""

from __future__ import annotations

import time


def awake_time() -> float:
    """Monotonic, and it goes on while the machine sleeps (`time.monotonic` does not, on Linux)."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
