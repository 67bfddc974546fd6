"""THE permission table: who may say and hear what on a bus.

The subject proves the sender, because the server checks it: a node publishes only under its own pool
and node tokens, and hears only the feeds and its own inbox. Nothing is shared under `_INBOX.>`, so
nobody can slip an answer to somebody else or read one.

|                 | may publish                                   | may subscribe to                 |
|-----------------|-----------------------------------------------|----------------------------------|
| cloud bus, node | its api/beat/link/up subjects, sync requests  | feeds, its own inbox and `down`  |
| cloud bus, site | everything (the site's own actors)            | everything                       |
| pool bus, node  | the pool's feeds (any node may be leader or   | everything of the pool's,        |
|                 | coordinator: leases fence them), its own beat,| its own inbox                    |
|                 | JetStream of the pool                         |                                  |

Answers: on the cloud bus only the site's actors answer. On the pool bus nodes answer each other's
sync requests, so they may publish into inboxes of their own pool.
"""

from __future__ import annotations

from typing import NamedTuple


class Permissions(NamedTuple):
    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


def inbox_prefix(pool: str, node: str) -> str:
    """Where answers to this node's requests come."""
    return f"_INBOX.{pool}.{node}"


def cloud_admin() -> Permissions:
    """The cloud site's own actors."""
    return Permissions((">",), (">",))


ADMIN_INBOX = "_INBOX.cloud"


def cloud_node(pool: str, node: str) -> Permissions:
    """A node of a pool, on the cloud bus."""
    own = f"{pool}.{node}"
    return Permissions(
        publish=(f"api.{own}", f"beat.{own}", f"link.{own}", f"up.{own}.>", "feed.sync.*"),
        subscribe=("feed.data.*", "feed.tick", f"down.{own}.>", f"{inbox_prefix(pool, node)}.>"),
    )


def pool_node(pool: str, node: str) -> Permissions:
    """A node of the pool, on the pool's own bus."""
    return Permissions(
        publish=(
            "pool.up.>",
            "pool.feed.>",
            f"pool.beat.{node}",
            f"_INBOX.{pool}.>",
            "$JS.API.>",
            "$JS.ACK.>",
            "$JS.FC.>",
            "$KV.>",
        ),
        subscribe=("pool.>", "$KV.leases.>", f"{inbox_prefix(pool, node)}.>"),
    )
