"""Whom a hub follows. Pure: what was heard in, a choice out."""

from __future__ import annotations

from enum import StrEnum


class Source(StrEnum):
    POOL = "pool"  # the coordinator: the WAN is crossed once for all nodes
    CLOUD = "cloud"  # the feeds themselves, while the coordinator is gone
    NONE = "none"  # neither: serve what there is and say how old it is


def choose(pool_silence: float, cloud_up: bool, fallback_after: float) -> Source:
    """The coordinator, unless it was silent for `fallback_after` seconds (from start or last tick).

    The hold-back keeps a mere takeover from making every node of the pool sync over the WAN; hubs
    add jitter to it, so that a pool whose coordinator is gone does not ask the cloud in step.
    """
    if pool_silence < fallback_after:
        return Source.POOL
    return Source.CLOUD if cloud_up else Source.NONE
