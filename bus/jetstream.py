"""JetStream over a `Bus`: its API is requests, its acknowledgements are answers.

So leases and tables need no second client, and a memory bus that answers alike would do. Sources:
NATS ADR-1 (JSON API), ADR-8 (KV), ADR-31 (direct get), ADR-43 (message TTL), ADR-50 (atomic batch).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bus.api import Bus, Message
from bus.errors import BusError, Conflict, DecodeError, NoResponders, RequestTimeout, StorageFull

WRONG_LAST_SEQUENCE = frozenset({10071, 10164})
_STREAM_NOT_FOUND = 10059
_FULL = frozenset({10023, 10028, 10047, 10077, 10122})
"""insufficient resources, resources exceeded, storage exceeded, stream store failed, max bytes."""

EXPECT = "Nats-Expected-Last-Subject-Sequence"
TTL = "Nats-TTL"
SEQUENCE = "Nats-Sequence"


class JetStreamError(BusError):
    """An error that JetStream reported and that none of the others names."""


class NoStream(BusError):
    """The stream is not there (yet, or no longer): make it, then try again."""


@dataclass(frozen=True)
class Stored:
    """The last message of a subject."""

    sequence: int
    data: bytes
    headers: Mapping[str, str]

    @property
    def is_marker(self) -> bool:
        """Whether it says that there is no value: deleted, purged or expired."""
        return "KV-Operation" in self.headers or "Nats-Marker-Reason" in self.headers


async def api(
    bus: Bus, call: str, body: Mapping[str, Any] | None, timeout: float
) -> dict[str, Any]:
    """One call of $JS.API. Raises NoStream, StorageFull, JetStreamError and what `request` does."""
    data = json.dumps(body).encode() if body is not None else b""
    return _checked(await bus.request(f"$JS.API.{call}", data, timeout=timeout), call)


async def ensure_stream(bus: Bus, config: Mapping[str, Any], timeout: float) -> int:
    """Makes the stream if it is not there; when it was made, in seconds since 1970 UTC."""
    try:
        info = await api(bus, f"STREAM.CREATE.{config['name']}", config, timeout)
    except JetStreamError:  # it exists with other settings
        info = await api(bus, f"STREAM.UPDATE.{config['name']}", config, timeout)
    return _seconds(str(info["created"]))


async def store(
    bus: Bus, subject: str, data: bytes, headers: Mapping[str, str], timeout: float
) -> int:
    """Publishes and waits for the acknowledgement; the message's sequence in its stream.

    Raises Conflict, StorageFull, NoStream, JetStreamError and what `request` does.
    """
    try:
        answer = await bus.request(subject, data, timeout=timeout, headers=headers)
    except NoResponders as error:
        raise NoStream(f"{subject}: no stream takes it") from error
    return int(_checked(answer, subject)["seq"])


async def last(bus: Bus, stream: str, subject: str, timeout: float) -> Stored | None:
    """The last message of a subject; None if there is none. Raises NoStream and as `request`."""
    try:
        answer = await bus.request(f"$JS.API.DIRECT.GET.{stream}.{subject}", b"", timeout=timeout)
    except NoResponders as error:
        raise NoStream(f"no stream {stream}") from error
    status = answer.headers.get("Status", "")
    if status == "404":
        return None
    if status:
        raise JetStreamError(f"{subject}: {status} {answer.headers.get('Description', '')}")
    return Stored(int(answer.headers[SEQUENCE]), answer.data, answer.headers)


def _checked(answer: Message, what: str) -> dict[str, Any]:
    try:
        body = json.loads(answer.data or b"{}")
    except ValueError as error:
        raise DecodeError(f"{what}: JetStream's answer is not JSON", answer.data) from error
    if "error" in body:
        raise _as_error(body["error"], what)
    return dict(body)


def _as_error(error: Mapping[str, Any], what: str) -> BusError:
    code, text = int(error.get("err_code", 0)), f"{what}: {error.get('description', error)}"
    if code in WRONG_LAST_SEQUENCE:
        return Conflict(text)
    if code == _STREAM_NOT_FOUND:
        return NoStream(text)
    if code in _FULL or "no space" in text or "insufficient" in text:
        return StorageFull(text)
    return JetStreamError(f"{text} (code {code})")


def _seconds(created: str) -> int:
    from datetime import datetime

    return int(datetime.fromisoformat(created[:19] + "+00:00").timestamp())


RETRIABLE = (RequestTimeout, NoStream)
