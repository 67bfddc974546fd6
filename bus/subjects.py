"""Every subject, joined here and nowhere else; and what is a subject at all.

Names of pools, nodes and feeds become tokens. A name with a dot or a wildcard in it would change
who may say what (see `permissions.py`), so joining one raises ValueError.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from bus.feed.types import FeedSubjects

CLOUD_FEEDS = FeedSubjects(frames="feed.data.", sync="feed.sync.", tick="feed.tick")
"""The cloud's feeds, on the cloud bus."""

POOL_UP_FEEDS = FeedSubjects(frames="pool.up.data.", sync="pool.up.sync.", tick="pool.up.tick")
"""The same in the pool, as the leader hands them to the coordinator (fenced by `hub-leader`)."""

POOL_FEEDS = FeedSubjects(frames="pool.feed.data.", sync="pool.feed.sync.", tick="pool.feed.tick")
"""The coordinator's feeds, for all hubs of the pool (fenced by `coordinator`)."""

CATALOG = "catalog"
"""The feed that names all others of its site: keys are feeds, values their resources."""

INBOX = "_INBOX"
"""First token of all inboxes."""

_TOKEN = r"[^\s.*>\x00-\x20\x7f]+"
_IS_TOKEN = re.compile(_TOKEN)
_IS_SUBJECT = re.compile(rf"{_TOKEN}(?:\.{_TOKEN})*")
_IS_PATTERN = re.compile(rf"(?:(?:{_TOKEN}|\*)\.)*(?:{_TOKEN}|\*|>)")


@dataclass(frozen=True)
class StreamSubjects:
    """Where streams (`bus/stream`) are asked for and answered; the subject proves who asks."""

    prefix: str
    inboxes: str  # first tokens of where they are answered

    def ask(self, pool: str, node: str) -> str:
        """A node's requests, to whichever server takes them."""
        return f"{self.prefix}.{node_token(pool, node)}"

    @property
    def asked(self) -> str:
        """All nodes' requests, for servers to share."""
        return f"{self.prefix}.*.*"

    def ask_of(self, pool: str, node: str, server: str) -> str:
        """What a node says to that server which took its request, or shall take it."""
        return f"{self.ask(pool, node)}.{token(server)}"

    def asked_of(self, server: str) -> str:
        """All that is said to one server."""
        return f"{self.asked}.{token(server)}"

    def caller(self, subject: str) -> tuple[str, str]:
        """(pool, node) that a subject of these proves."""
        pool, node, *_ = subject.removeprefix(f"{self.prefix}.").split(".")
        return pool, node

    def inbox(self, pool: str, node: str) -> str:
        """What the subjects begin with on which a node is answered."""
        return f"{self.inboxes}.{node_token(pool, node)}"


CLOUD_STREAMS = StreamSubjects("api", INBOX)
"""Nodes' HTTP requests to ApiGate, on the cloud bus."""

POOL_STREAMS = StreamSubjects("pool.api", f"{INBOX}._lent")
"""The same of nodes without a link, to the pool's leader. With inboxes of their own: a node answers
there, more often and longer than the server lets it answer elsewhere."""


def api(pool: str, node: str) -> str:
    """A node's HTTP requests to ApiGate."""
    return CLOUD_STREAMS.ask(pool, node)


def beat(pool: str, node: str) -> str:
    """A node's heartbeats to the cloud."""
    return f"beat.{node_token(pool, node)}"


def link(pool: str, node: str) -> str:
    """A node's echo to the cloud."""
    return f"link.{node_token(pool, node)}"


def pool_beat(node: str) -> str:
    """A node's heartbeats to its coordinator."""
    return f"pool.beat.{token(node)}"


def node_token(pool: str, node: str) -> str:
    """What tells a node from all others on the cloud bus: two tokens."""
    return f"{token(pool)}.{token(node)}"


def token(name: str) -> str:
    """The name, if it can be one token of a subject. Raises ValueError."""
    if not _IS_TOKEN.fullmatch(name):
        raise ValueError(f"{name!r} cannot be a token of a subject")
    return name


def is_inbox(subject: str) -> bool:
    """Whether only answers go there (see `permissions.inbox_prefix`)."""
    return subject.startswith(INBOX + ".")


def check_subject(subject: str) -> None:
    """Raises ValueError if nothing can be published there."""
    if not _IS_SUBJECT.fullmatch(subject):
        raise ValueError(f"{subject!r} is not a subject")


def check_pattern(pattern: str) -> None:
    """Raises ValueError if it cannot be subscribed to."""
    if not _IS_PATTERN.fullmatch(pattern):
        raise ValueError(f"{pattern!r} is not a subject, nor a pattern of subjects")


def matches(pattern: str, subject: str) -> bool:
    """Whether a subscription to `pattern` hears what is published to `subject`.

    Also for a pattern as `subject`: whether the first allows all that the second does.
    """
    wanted, given = pattern.split("."), subject.split(".")
    for index, part in enumerate(wanted):
        if part == ">":
            return len(given) > index
        if index >= len(given) or given[index] == ">":
            return False
        if part not in ("*", given[index]):
            return False
    return len(wanted) == len(given)
