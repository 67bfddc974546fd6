"""Service accounts' tokens that the API server gave while it could be asked. Pure.

Offline the same request gets the same token again, while it is valid; never one made here.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from edge.cache.rows import identity
from edge.offline.entry import decoded, encoded
from edge.offline.merge import Object


class Token(msgspec.Struct, frozen=True, kw_only=True):
    id: int
    until: float  # seconds since 1970
    answer: bytes  # the TokenRequest as the API server answered


def token_id(who: str, namespace: str, name: str, request: Object) -> int:
    """The same one for all that a token depends on, and for whom it was made."""
    spec = request.get("spec") or {}
    bound = spec.get("boundObjectRef") or {}
    asked = {
        "audiences": sorted(map(str, spec.get("audiences") or ())),
        "seconds": spec.get("expirationSeconds"),
        "bound": [bound.get(part) or "" for part in ("kind", "apiVersion", "name", "uid")],
    }
    return identity("token", who, namespace, name, msgspec.json.encode(asked).decode())


def token_of(number: int, answer: bytes) -> Token | None:
    """None for what holds no token, or does not say until when it is valid."""
    try:
        status: dict[str, Any] = decoded(answer).get("status") or {}
    except (msgspec.DecodeError, msgspec.ValidationError):
        return None
    until = _seconds(status.get("expirationTimestamp"))
    if not status.get("token") or until is None:
        return None
    return Token(id=number, until=until, answer=encoded(decoded(answer)))


def _seconds(text: Any) -> float | None:
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
