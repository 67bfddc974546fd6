"""How large, how lazy and how forgetful the disk cache is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

MIB = 1 << 20


def nobody(_component: str) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """Units and reasons beside each."""

    limit: int = 256 * MIB
    """Bytes of the database in use. What nobody reads goes first; feeds are never evicted."""
    linger: float = 0.05
    """Seconds that a write waits for company: one transaction, one run over the flash."""
    queue: int = 64 * MIB
    """Bytes waiting to be written. Beyond, writes are dropped and their views freeze."""
    settle: float = 5.0
    """Seconds without writes after which all is forced to the medium (see `database`)."""
    settle_latest: float = 60.0
    """Seconds after which it is forced though writes do not pause: what a power cut may take."""
    missing_age: float = 300.0
    """Seconds for which a remembered 404 holds. What was missing then may exist by now."""
    touch_every: float = 3600.0
    """Seconds between notes on disk that something is read: a read shall not wear the flash."""
    critical: Callable[[str], bool] = nobody
    """Whether a component's views are evicted after all others'. Asked from the writing thread."""
