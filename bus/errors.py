"""What can go wrong on the bus. A class exists only where someone catches it."""

from __future__ import annotations


class BusError(Exception):
    """Base of everything the bus raises; foreign exceptions are its `__cause__`."""


class BusDown(BusError):
    """The link is not up (or went down during the call): nothing was buffered, try again later."""


class RequestTimeout(BusError):
    """No answer within the deadline; whether the request was acted on is unknown."""


class NoResponders(BusError):
    """Nobody listens on the subject: the request was certainly not acted on."""


class MessageTooLarge(BusError):
    """The payload is over the bus's bound; nothing was sent. The text names subject and size."""


class DecodeError(BusError):
    """Bytes that are not what the subject's contract says; `raw` keeps them."""

    def __init__(self, reason: str, raw: bytes) -> None:
        super().__init__(f"{reason} ({len(raw)} bytes)")
        self.reason = reason
        self.raw = raw


class Conflict(BusError):
    """A compare-and-set was refused: somebody else wrote first. The writer is fenced off."""


class LeaseLost(BusError):
    """The caller does not (or no longer) hold the lease that this act needs."""


class StreamBroken(BusError):
    """A stream ended before its end: the other side or the way to it is gone, or a frame was."""


class StorageFull(BusError):
    """JetStream has no room (or its disk fails): the write was refused, nothing was lost."""


class ServerFailed(BusError):
    """The embedded nats-server did not start, or does not answer; the text has its last words."""
