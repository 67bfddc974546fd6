"""Load balancers of the cloud do not concern an edge node's kube-proxy.

OpenYurt's form since v1.5 (#1926): a LoadBalancer Service is kept unless it is annotated
`svc.openyurt.io/discard: "true"`. The annotation of before, `openyurt.io/skip-discard: "true"`,
still keeps a Service. Who wants all load balancers hidden, as before v1.5, writes a rule. The
tunnel server's internal Service is always hidden (#447).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edge.filters.steps import Depends, Object, annotations_of, part

DISCARD = "svc.openyurt.io/discard"
SKIP_DISCARD = "openyurt.io/skip-discard"
TUNNEL = "kube-system/x-tunnel-server-internal-svc"


@dataclass(frozen=True)
class DiscardCloudService:
    name: ClassVar[str] = "discardcloudservice"
    depends: ClassVar[Depends] = Depends.NOTHING

    def wants(self, key: str, raw: bytes) -> bool:
        return key == TUNNEL or DISCARD.encode() in raw

    def show(self, key: str, item: Object) -> Object | None:
        if key == TUNNEL:
            return None
        notes = annotations_of(item)
        is_balancer = part(item, "spec").get("type") == "LoadBalancer"
        is_discarded = notes.get(DISCARD) == "true" and notes.get(SKIP_DISCARD) != "true"
        return None if is_balancer and is_discarded else item
