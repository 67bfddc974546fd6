"""How a node stands for an office of its pool."""

from __future__ import annotations

from actors.actor import Context
from bus.lease import Elector, JetStreamLeases


def elector_of(context: Context, office: str, ttl: float, renew: float) -> Elector:
    """The node's candidacy for `office`, a lease of the pool; `ttl` and `renew` in seconds."""
    return Elector(
        JetStreamLeases(context.buses["pool"]),
        office,
        context.node,
        ttl=ttl,
        renew=renew,
        clock=context.clock.monotonic,
    )
