"""The hub: what a node's components talk to instead of the API server.

`sources.py` (pure) decides whom to follow: the coordinator, the cloud itself, or nobody. `feeds.py`
keeps one follower and one watch cache per resource, as the catalog feed names them. `backend.py`
lets `actors.kube.serve` read them, with their age. `actor.py` wires it and binds the port.
`requests.py` is where all other requests go; `secure` knows who asks and what he may read,
`seats.py` who comes first, `traffic.py` counts. /healthz, /readyz (feeds, disk) and /pods are on
the hub's own port; its figures are among those of the site (`health.listen`).

Promises to a client: the resourceVersions are the API server's own, never go back within one
history of the cluster, and a client may move between hubs and the API server with them. Data older
than `stale_after` is served with a Warning that says how old it is.
"""

from __future__ import annotations

from typing import NamedTuple


class Difference(NamedTuple):
    """Where a hub answers otherwise than the API server behind it."""

    name: str
    what: str
    why: str


DIFFERENCES = (
    Difference(
        "managedFields",
        "objects that are read from a mirror or a feed have none",
        "of no use to who only reads, and half of many objects: the WAN is paid for",
    ),
    Difference(
        "list version",
        "a list's own resourceVersion, and a bookmark's, is the newest known of its resource or of"
        " what is mirrored; the API server's is the newest of the cluster",
        "other resources' changes are not sent here; it is a version to watch from all the same",
    ),
    Difference(
        "history",
        "410 Expired for a version from before the hub, or the component's filtered view, began to"
        " follow the resource",
        "the past is not brought over the WAN; clients list anew, from the hub",
    ),
    Difference(
        "identity",
        "a review of oneself tells of the node, or of who the component is by the site file",
        "ApiGate acts as them; who has a token of his own is himself",
    ),
)
"""All of them, while the API server can be asked; `tests/interop/differential` asserts that."""
