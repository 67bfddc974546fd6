"""THE permission table: who may say and hear what on a bus.

The subject proves the sender, because the server checks it: a node publishes only under its own
pool and node tokens, and hears only the feeds and its own inbox. So ApiGate may act as exactly the
node that the subject names, and nobody reads another one's answers.

  who               may publish                            may subscribe to
  ----------------  -------------------------------------  ------------------------------------
  node,             api/beat/link.<pool>.<node>            feed.data.*, feed.tick
  on the cloud bus  api.<pool>.<node>.<replica>            down.<pool>.<node>.>
                    up.<pool>.<node>.>                     its own inbox
                    feed.sync.* (requests)
  the cloud's own   everything                             everything
  actors
  node,             pool.up.>, pool.feed.>                 pool.>
  on its pool bus   pool.beat.<node>                       $KV.>
                    pool.api.<pool>.<node>                 its own inbox
                    pool.api.<pool>.<node>.<lender>        its own _INBOX._lent.<pool>.<node>.>
                    _INBOX._lent.> (answers)
                    JetStream of the pool's bus

* A message of a kind that only the cloud says (feed.data.*, feed.tick, down.*) cannot come from a
  node. On the pool bus any node may be leader or coordinator, so there leases and fences
  (`bus/fence.py`), not subjects, tell whose word counts.
* Answers: everybody may answer, once and within `ANSWER_SECONDS`, whoever's request the server gave
  him. Nobody may publish into an inbox otherwise. Who asks cannot make others speak for him:
  requests to be answered anywhere but in an inbox are dropped (`bus/delivery.py`).
* Who lends its link (`edge/leader`) answers with streams, for hours: to inboxes where any node of
  the pool may speak. What is said there is sealed between the borrower and ApiGate
  (`bus/borrow`), so a false word there breaks a stream, no more.
* Trust ends at the pool: its nodes share JetStream, where one could delete what another wrote. It
  is a copy; the truth is in the API server, which a node reaches only under its own name.
"""

from __future__ import annotations

from typing import NamedTuple

from bus.subjects import INBOX, POOL_STREAMS, api, beat, link, node_token, pool_beat, token

ANSWER_SECONDS = 60  # the longest request (a slow write through ApiGate) with room to spare

ADMIN_INBOX = f"{INBOX}._cloud"
"""Where answers to the cloud's own actors come; no pool can be called so."""


class Permissions(NamedTuple):
    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


def inbox_prefix(pool: str, node: str) -> str:
    """Where answers to this node's requests come."""
    return f"{INBOX}.{node_token(pool, node)}"


def cloud_admin() -> Permissions:
    """The cloud site's own actors."""
    return Permissions((">",), (">",))


def cloud_node(pool: str, node: str) -> Permissions:
    """A node of a pool, on the cloud bus."""
    own = node_token(pool, node)
    return Permissions(
        publish=(
            api(pool, node),
            f"{api(pool, node)}.*",  # to the replica that took a request
            beat(pool, node),
            link(pool, node),
            f"up.{own}.>",
            "feed.sync.*",
        ),
        subscribe=("feed.data.*", "feed.tick", f"down.{own}.>", f"{inbox_prefix(pool, node)}.>"),
    )


def pool_node(pool: str, node: str) -> Permissions:
    """A node of the pool, on the pool's own bus."""
    return Permissions(
        publish=(
            "pool.up.>",
            "pool.feed.>",
            pool_beat(token(node)),
            POOL_STREAMS.ask(pool, node),
            f"{POOL_STREAMS.ask(pool, node)}.*",  # to the lender that took a request
            f"{POOL_STREAMS.inboxes}.>",
            "$JS.API.>",
            "$JS.ACK.>",
            "$JS.FC.>",
            "$KV.>",
        ),
        subscribe=(
            "pool.>",
            "$KV.>",
            f"{inbox_prefix(pool, node)}.>",
            f"{POOL_STREAMS.inbox(pool, node)}.>",
        ),
    )
