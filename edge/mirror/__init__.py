"""Mirrors: what a node's components list and watch, by one upstream watch however many they are.

A *scope* is who reads what: identity, resource, namespace, selectors. Its mirror holds a WatchCache
that one stream from ApiGate keeps current (`cloud.apigate.mirroring`): differences only, deltas
where both ends know the former object. It is kept on disk, and serves with an honest age whatever
becomes of the link. Differently selected lists never mix.

Objects come without `managedFields`.

Start with `mirrors.py` (`Mirrors.get`). `scope.py` and `follow.py` are pure: what may share a
mirror, and what the stream does to its contents; `mirror.py` runs one, `keeping.py` keeps it on
disk, `brief.py` is for writes whose result a mirror will have.
"""

from __future__ import annotations

from edge.mirror.mirror import Mirror, MirrorSettings
from edge.mirror.mirrors import Mirrors
from edge.mirror.scope import Scope, scope_of

__all__ = ["Mirror", "MirrorSettings", "Mirrors", "Scope", "scope_of"]
