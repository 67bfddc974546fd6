"""The counting behind streams. Pure: time comes in as numbers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from bus.errors import StreamBroken

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Request:
    """What opens a stream: an HTTP request without its body."""

    method: str
    path: str  # as on the wire: escaped, with the query
    headers: Headers = ()
    identity: str = ""  # as whom to act; "": the node itself


@dataclass(frozen=True, kw_only=True)
class StreamSettings:
    """Units: seconds and bytes."""

    window: int = 512 * 1024  # a sender may be ahead of its reader by this
    chunk: int = 64 * 1024  # of one message: other streams get their turn between
    max_body: int = 3 * 1024 * 1024  # of a request; as upstream
    accept: float = 3.0  # until a server has taken a request
    head: float = 60.0  # until the answer begins; ApiGate itself gives up earlier
    # Nothing heard for so long: ask whether they are there, about 200 bytes. 5 s: with `patience`
    # a dead server is noticed in 7 s, and an hour of silence costs 144 KB, however many watches.
    silence: float = 5.0
    patience: float = 2.0  # for the answer to that
    # How often both sides compare counts: finds a lost last frame, which a link that is up hardly
    # ever loses. 30 s: a node's 50 watches cost 1.2 KB each time; every 10 s it was 430 KB an hour.
    check: float = 30.0
    abandoned: float = 90.0  # a client that has not named a stream for so long is gone
    max_streams: int = 2048  # of one server at a time; each holds a connection upstream

    def __post_init__(self) -> None:
        if not 0 < self.chunk <= self.window:
            raise ValueError("a chunk must fit into the window")


class Outgoing:
    """One direction of a stream, at its sender. Credits are totals, so a lost one is made good."""

    def __init__(self, granted: int = 0) -> None:
        self.frames = 0  # sent
        self._granted = granted
        self._sent = 0

    @property
    def room(self) -> int:
        return self._granted - self._sent

    def grant(self, total: int) -> None:
        self._granted = max(self._granted, total)

    def next(self, size: int = 0) -> int:
        """The sequence number of a frame with so many bytes of body."""
        if size > self.room:
            raise ValueError(f"{size} bytes with credit for {self.room}")
        self._sent += size
        self.frames += 1
        return self.frames - 1


class Incoming:
    """The same at its receiver."""

    def __init__(self, window: int) -> None:
        self.granted = window
        self._window = window
        self._expected = 0
        self._received = 0
        self._consumed = 0

    def take(self, sequence: int, size: int = 0) -> bool:
        """Whether the frame is the next one; False for one we had. Raises StreamBroken."""
        if sequence < self._expected:
            return False
        if sequence > self._expected:
            raise StreamBroken(f"frame {self._expected} was lost")
        self._received += size
        if self._received > self.granted:
            raise StreamBroken("the sender went beyond its credit")
        self._expected += 1
        return True

    def consume(self, size: int) -> int | None:
        """The new total to grant, each time it has become worth a message."""
        self._consumed += size
        total = self._consumed + self._window
        if total - self.granted < self._window // 2:
            return None
        self.granted = total
        return total

    def compare(self, frames: int) -> None:
        """The sender has sent so many. Raises StreamBroken if the last ones did not come."""
        if frames > self._expected:
            raise StreamBroken(f"frame {self._expected} was lost")


class Act(Enum):
    NOTHING = "nothing"
    ASK = "ask"  # whether they are there
    COMPARE = "compare"  # ask, and tell the counts of all streams
    GIVE_UP = "give up"


class Pulse:
    """Whether the other side lives, judged by what it says; one for all streams with it.

    Only an unanswered question is proof: we may have been held up ourselves.
    """

    def __init__(self, settings: StreamSettings, now: float) -> None:
        self._settings = settings
        self._heard = now
        self._asked: float | None = None  # the oldest question without an answer
        self._compared = now

    def heard(self, now: float) -> None:
        self._heard = now
        self._asked = None

    def silence(self, now: float) -> float:
        return max(0.0, now - self._heard)

    def look(self, now: float) -> Act:
        """What to do now; an ASK or COMPARE counts as done."""
        if self._asked is not None and now - self._asked >= self._settings.patience:
            return Act.GIVE_UP
        if now - self._compared >= self._settings.check:
            self._compared = now
            self._asked = now if self._asked is None else self._asked
            return Act.COMPARE
        if self._asked is None and now - self._heard >= self._settings.silence:
            self._asked = now
            return Act.ASK
        return Act.NOTHING

    def due(self, now: float) -> float:
        """Seconds until it is worth another look."""
        if self._asked is not None:
            soon = self._asked + self._settings.patience
        else:
            soon = self._heard + self._settings.silence
        return max(0.0, min(soon, self._compared + self._settings.check) - now)
