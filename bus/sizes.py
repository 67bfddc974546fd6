"""What a message weighs against the bus's bound."""

from __future__ import annotations

from collections.abc import Mapping

from bus.errors import MessageTooLarge

_HEADERS = len("NATS/1.0\r\n\r\n")
_HEADER = len(": \r\n")


def check_size(subject: str, data: bytes, headers: Mapping[str, str] | None, limit: int) -> None:
    """Raises MessageTooLarge; the server counts headers too, and hangs up on whoever sends more."""
    size = len(data)
    if headers:
        size += _HEADERS
        for name, value in headers.items():
            size += len(name.encode()) + len(value.encode()) + _HEADER
    if size > limit:
        raise MessageTooLarge(f"{subject}: {size} bytes, the bus takes {limit} at most")
