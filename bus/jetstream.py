"""JetStream over a `Bus`: its API is requests, its acknowledgements are answers.

So leases and tables need no second client, and nats-py keeps one home. Sources: NATS ADR-1 (JSON
API), ADR-8 (KV), ADR-17 (ordered consumer), ADR-31 (direct get), ADR-43 (message TTL), ADR-50
(atomic batch publish); error codes as nats-server 2.15 was seen to send them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bus.api import Bus, Message
from bus.errors import BusError, Conflict, DecodeError, NoResponders, StorageFull

EXPECT = "Nats-Expected-Last-Subject-Sequence"
TTL = "Nats-TTL"
OPERATION = "KV-Operation"

_WRONG_LAST_SEQUENCE = frozenset({10071, 10164})
_STREAM_NOT_FOUND = 10059
# insufficient resources, storage resources exceeded, stream store failed ("maximum bytes exceeded",
# "no space left on device"), account resources exceeded, stream maximum above the limit.
_FULL = frozenset({10002, 10023, 10028, 10047, 10077, 10122})
_SEQUENCE = "Nats-Sequence"


def kv_stream(bucket: str) -> str:
    """The stream behind a KV bucket."""
    return f"KV_{bucket}"


def kv_subject(bucket: str, key: str) -> str:
    """Where a key's values are published; `key` may be a pattern."""
    return f"$KV.{bucket}.{key}"


class JetStreamError(BusError):
    """An error that JetStream reported and that no other class names."""

    def __init__(self, text: str, code: int = 0) -> None:
        super().__init__(text)
        self.code = code


class NoStream(BusError):
    """The stream is not there (yet, or no longer): make it, then try again."""


@dataclass(frozen=True, slots=True)
class Stored:
    """One message as a stream holds it. Without a message `sequence` is 0."""

    subject: str
    sequence: int
    data: bytes
    headers: Mapping[str, str]
    pending: int = 0  # how many more there were when it was sent

    @property
    def is_marker(self) -> bool:
        """Whether it says that there is no value: deleted, purged or expired."""
        return OPERATION in self.headers or "Nats-Marker-Reason" in self.headers


async def api(
    bus: Bus, call: str, body: Mapping[str, Any] | None, timeout: float
) -> dict[str, Any]:
    """One call of $JS.API. Raises NoStream, StorageFull, JetStreamError and what `request` does."""
    data = json.dumps(body).encode() if body is not None else b""
    try:
        answer = await bus.request(f"$JS.API.{call}", data, timeout=timeout)
    except NoResponders as error:
        raise NoStream(f"{call}: no JetStream there") from error
    return checked(answer, call)


async def ensure_stream(bus: Bus, config: Mapping[str, Any], timeout: float) -> int:
    """Makes the stream, or brings its settings up to date; when it was made (ms since 1970 UTC).

    Its `max_bytes` is only ever raised: a stream above its maximum would refuse even deletions.
    Raises StorageFull where the server cannot reserve its `max_bytes`.
    """
    name = config["name"]
    # Creating what exists already would do, but not on a server whose storage is all reserved.
    try:
        info = await api(bus, f"STREAM.INFO.{name}", None, timeout)
    except NoStream:
        info = await api(bus, f"STREAM.CREATE.{name}", config, timeout)
    else:
        reserved = info["config"].get("max_bytes", 0)
        if "max_bytes" in config and reserved > config["max_bytes"]:
            config = {**config, "max_bytes": reserved}
        if any(info["config"].get(key) != value for key, value in config.items()):
            info = await api(bus, f"STREAM.UPDATE.{name}", config, timeout)
    return _milliseconds(str(info["created"]))


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
    acknowledged = checked(answer, subject)
    if not isinstance(acknowledged.get("seq"), int):
        raise DecodeError(f"{subject}: not an acknowledgement", answer.data)
    return int(acknowledged["seq"])


async def last(bus: Bus, stream: str, subject: str, timeout: float) -> Stored | None:
    """The last message of a subject; None if there is none. Raises NoStream and as `request`."""
    call = f"$JS.API.DIRECT.GET.{stream}.{subject}"
    try:
        answer = await bus.request(call, b"", timeout=timeout)
    except NoResponders as error:
        raise NoStream(f"no stream {stream}") from error
    status = answer.headers.get("Status", "")
    if status == "404":
        return None
    if status:
        raise JetStreamError(f"{subject}: {status} {answer.headers.get('Description', '')}")
    return Stored(subject, int(answer.headers[_SEQUENCE]), answer.data, answer.headers)


def checked(answer: Message, what: str) -> dict[str, Any]:
    """JetStream's JSON answer; its errors raised. An empty answer is {}."""
    try:
        body = json.loads(answer.data or b"{}")
    except ValueError as error:
        raise DecodeError(f"{what}: JetStream's answer is not JSON", answer.data) from error
    if "error" in body:
        raise _as_error(body["error"], what)
    return dict(body)


def _as_error(error: Mapping[str, Any], what: str) -> BusError:
    code = int(error.get("err_code", 0))
    text = f"{what}: {error.get('description', error)} (code {code})"
    if code in _WRONG_LAST_SEQUENCE:
        return Conflict(text)
    if code == _STREAM_NOT_FOUND:
        return NoStream(text)
    if code in _FULL:
        return StorageFull(text)
    return JetStreamError(text, code)


def _milliseconds(created: str) -> int:
    """RFC 3339 with up to nine decimals, which `fromisoformat` reads only in part on 3.11."""
    whole, _, fraction = created.rstrip("Z").partition(".")
    seconds = datetime.fromisoformat(f"{whole}+00:00").timestamp()
    return int(seconds) * 1000 + int(fraction[:3].ljust(3, "0"))
