"""Every subject, joined here and nowhere else."""

from __future__ import annotations

from bus.feed.types import FeedSubjects

CLOUD_FEEDS = FeedSubjects(frames="feed.data.", sync="feed.sync.", tick="feed.tick")
"""The cloud's feeds, on the cloud bus."""

POOL_UP_FEEDS = FeedSubjects(frames="pool.up.data.", sync="pool.up.sync.", tick="pool.up.tick")
"""The same in the pool, as the leader hands them to the coordinator (fenced by `hub-leader`)."""

POOL_FEEDS = FeedSubjects(frames="pool.feed.data.", sync="pool.feed.sync.", tick="pool.feed.tick")
"""The coordinator's feeds, for all hubs of the pool (fenced by `coordinator`)."""


def api(pool: str, node: str) -> str:
    """A node's HTTP requests to ApiGate; the subject proves who asks."""
    return f"api.{pool}.{node}"


def beat(pool: str, node: str) -> str:
    """A node's heartbeats to the cloud."""
    return f"beat.{pool}.{node}"


def link(pool: str, node: str) -> str:
    """A node's echo to the cloud."""
    return f"link.{pool}.{node}"


def pool_beat(node: str) -> str:
    """A node's heartbeats to its coordinator."""
    return f"pool.beat.{node}"
