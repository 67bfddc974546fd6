"""Bounds of what waits for the API server."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class OfflineSettings:
    """Units: bytes and seconds."""

    node: str = ""  # whose Node, CSINode and pods count as our own
    max_entries: int = 5_000  # writes of objects that wait, one per object and writer
    max_events: int = 2_000  # of them; the oldest go first
    max_bytes: int = 32 << 20  # of objects that wait; they are in memory, too
    max_body: int = 1 << 20  # of one write; etcd takes little more
    max_reports: int = 1_000  # what could not be replayed; the oldest go first
    max_tokens: int = 1_000  # of service accounts
    token_margin: float = 10.0  # a token that ends so soon is of no use any more
    retry_after: int = 5  # what a client is told whose write cannot be kept
    backoff: float = 1.0  # before the second attempt of a write that the API server could not do
    max_backoff: float = 60.0
    refusals: int = 5  # attempts that end in 401 or 403; a server that has just started says so
    conflicts: int = 5  # plans made anew in a row, because the object moves on meanwhile
    failures: int = 3  # answers 429 or 5xx in a row that end a pass
