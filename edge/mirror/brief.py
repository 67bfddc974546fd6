"""Writes whose result a mirror will have: the answer need not bring it.

    headers += (BRIEF,)                            # if `wants_brief`
    body = await whole_of(answer_body, mirror)     # the object; None: GET it

The object then is the mirror's: without `managedFields`. The WAN carries it once, as a delta.
"""

from __future__ import annotations

from actors.kube.brief import BRIEF, identified, is_marked
from actors.kube.resource import key_of
from edge.mirror.mirror import Mirror

__all__ = ["BRIEF", "is_marked", "wants_brief", "whole_of"]

SECONDS = 1.0  # a mirror's change takes milliseconds, and the WAN's delay


def wants_brief(method: str, accept: str, mirror: Mirror | None) -> bool:
    """Whether a short answer will do. Only for JSON: the mirror has nothing else."""
    is_json = "application/json" in accept or "*/*" in accept or not accept
    return (
        method in ("POST", "PUT", "PATCH")
        and is_json
        and "as=" not in accept
        and mirror is not None
        and mirror.is_live
    )


async def whole_of(brief: bytes, mirror: Mirror, timeout: float = SECONDS) -> bytes | None:
    """The object at just the version that the write made.

    None where the mirror is behind, or already has a newer one, or the object has left its scope.
    """
    named = identified(brief)
    if named is None:
        return None
    namespace, name, _, version = named
    key = key_of(namespace, name)

    def has_come() -> bool:
        entry = mirror.cache.get(key)
        return entry is not None and entry.version >= version

    await mirror.progress.wait_for(has_come, timeout)
    entry = mirror.cache.get(key)
    return entry.raw if entry is not None and entry.version == version else None
