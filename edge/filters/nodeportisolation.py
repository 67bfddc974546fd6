"""Node ports are open in the pools that the Service names. OpenYurt's form since v1.3 (#1183).

`nodeport.openyurt.io/listen` of a NodePort or LoadBalancer Service is a list of pools: `a` opens
it there, `-a` does not, `*` opens it in all that are not named. Of several entries for one pool the
first counts; a pool that nothing speaks of is closed, so an empty list closes it everywhere. A node
in no pool opens all, as Kubernetes does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edge.filters.inputs import Inputs
from edge.filters.steps import Depends, Object, annotations_of, part

LISTEN = "nodeport.openyurt.io/listen"


@dataclass(frozen=True)
class NodePortIsolation:
    inputs: Inputs
    name: ClassVar[str] = "nodeportisolation"
    depends: ClassVar[Depends] = Depends.SELF

    def wants(self, key: str, raw: bytes) -> bool:
        return LISTEN.encode() in raw

    def show(self, key: str, item: Object) -> Object | None:
        listen = annotations_of(item).get(LISTEN)
        pool = self.inputs.pool_of(self.inputs.node)
        if listen is None or not pool:
            return item
        if part(item, "spec").get("type") not in ("NodePort", "LoadBalancer"):
            return item
        return item if is_open(listen, pool) else None


def is_open(listen: str, pool: str) -> bool:
    """Whether a list of pools opens `pool`."""
    opened: dict[str, bool] = {}
    for entry in listen.split(","):
        name = entry.strip()
        opened.setdefault(name.removeprefix("-"), not name.startswith("-"))
    return opened.get(pool, opened.get("*", False))
