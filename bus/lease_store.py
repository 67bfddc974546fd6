"""Where leases are kept: JetStream KV with a TTL that the server keeps, or memory.

Everything is compare-and-set on revisions (recipe: the design's facts-nats, section 4). The token
is the lease's revision when it was acquired, above the bucket's time of creation (so that tokens
grow across a wiped disk).
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from bus.api import Bus, Subscription
from bus.errors import BusDown, Conflict
from bus.jetstream import (
    EXPECT,
    OPERATION,
    TTL,
    NoStream,
    Stored,
    ensure_stream,
    kv_stream,
    kv_subject,
    last,
    store,
)
from bus.lease_plan import Entry
from bus.ordered import OrderedConsumer

log = logging.getLogger(__name__)

_CALL_SECONDS = 1.0
_MARKER_SECONDS = 1  # how long an expiry marker is kept
_EPOCH_BITS = 21  # 2e6 revisions per ms of the bucket's age: epochs never overlap
_NS = 1_000_000_000

Heard = Callable[[Entry], None]


class LeaseStore(Protocol):
    """Where leases are kept. All methods raise BusError where the store is out of reach."""

    def lasts(self, ttl: float) -> float:
        """The ttl as the store can keep it: never shorter."""

    async def read(self, name: str) -> Entry:
        """What it holds now."""

    async def try_acquire(
        self, name: str, holder: str, instance: str, ttl: float, seen: Entry
    ) -> Entry:
        """Takes the lease if the store still holds `seen`. Raises Conflict."""

    async def renew(self, name: str, mine: Entry, ttl: float) -> Entry:
        """Raises Conflict if the store does not hold `mine` (any more)."""

    async def release(self, name: str, mine: Entry) -> None:
        """Lets others in at once. Does nothing if somebody else has it."""

    async def watch(self, name: str, heard: Heard) -> Subscription:
        """Calls `heard` with what it holds and with each change, in order; some may come twice."""

    def on_up(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Calls it whenever the store can be reached again; returns the un-registration."""


class JetStreamLeases:
    """The real store. TTLs are whole seconds in NATS, one at least, so they are rounded up."""

    def __init__(self, bus: Bus, bucket: str = "leases", replicas: int = 1) -> None:
        self._bus = bus
        self._bucket = bucket
        self._stream = kv_stream(bucket)
        self._replicas = replicas
        self._epoch = 0  # when the bucket was made, in ms
        self._highest: dict[str, int] = {}  # token heard of, by lease

    def lasts(self, ttl: float) -> float:
        return float(max(1, math.ceil(ttl)))

    async def read(self, name: str) -> Entry:
        epoch = await self._ensure()
        found = await last(self._bus, self._stream, self._subject(name), _CALL_SECONDS)
        return self._entry(name, found) if found is not None else Entry(epoch=epoch)

    async def try_acquire(
        self, name: str, holder: str, instance: str, ttl: float, seen: Entry
    ) -> Entry:
        epoch = await self._ensure()
        if seen.epoch != epoch:
            raise Conflict(f"lease {name}: the bucket was made anew")
        # Normally below the token that we get. Above it if the server's clock went back meanwhile.
        value = {"holder": holder, "instance": instance, "floor": self._highest.get(name, 0) + 1}
        revision = await self._write(name, value, seen.revision, ttl)
        token = self._token(name, revision, value)
        return Entry(revision, holder, instance, token, epoch)

    async def renew(self, name: str, mine: Entry, ttl: float) -> Entry:
        value = {"holder": mine.holder, "instance": mine.instance, "token": mine.token}
        try:
            revision = await self._write(name, value, mine.revision, ttl)
        except NoStream:
            if await self._ensure() == mine.epoch:
                raise
            raise Conflict(f"lease {name}: the bucket was made anew") from None
        return mine._replace(revision=revision)

    async def release(self, name: str, mine: Entry) -> None:
        try:
            await self._delete(name, mine.revision)
        except NoStream:
            return
        except Conflict:
            # Perhaps it was we who moved it, in a renewal that was cancelled.
            now = await self.read(name)
            if now.instance == mine.instance:
                with suppress(Conflict):
                    await self._delete(name, now.revision)

    async def watch(self, name: str, heard: Heard) -> Subscription:
        def on_begin(count: int) -> None:
            if not count:
                heard(Entry(epoch=self._epoch))

        consumer = OrderedConsumer(
            self._bus,
            self._stream,
            self._subject(name),
            on_begin=on_begin,
            on_message=lambda stored: heard(self._entry(name, stored)),
            prepare=self._ensure,
        )
        consumer.start()
        return _Ended(consumer.stop)

    def on_up(self, listener: Callable[[], None]) -> Callable[[], None]:
        return self._bus.on_link(lambda up: listener() if up else None)

    # -- in the bucket -----------------------------------------------------------------------------

    def _subject(self, name: str) -> str:
        return kv_subject(self._bucket, name)

    def _entry(self, name: str, stored: Stored) -> Entry:
        value = _value(stored)
        if value is None:
            return Entry(stored.sequence, epoch=self._epoch)
        token = self._token(name, stored.sequence, value)
        return Entry(stored.sequence, value["holder"], value["instance"], token, self._epoch)

    def _token(self, name: str, revision: int, value: dict[str, Any]) -> int:
        """Of a renewal: as it says. Of an acquisition: follows from its revision."""
        made = (self._epoch << _EPOCH_BITS) + revision
        token = int(value.get("token", 0)) or max(made, int(value.get("floor", 0)))
        self._highest[name] = max(token, self._highest.get(name, 0))
        return token

    async def _write(self, name: str, value: dict[str, Any], expected: int, ttl: float) -> int:
        headers = {EXPECT: str(expected), TTL: f"{self.lasts(ttl):.0f}s"}
        data = json.dumps(value).encode()
        return await store(self._bus, self._subject(name), data, headers, _CALL_SECONDS)

    async def _delete(self, name: str, expected: int) -> None:
        headers = {EXPECT: str(expected), OPERATION: "DEL", TTL: f"{_MARKER_SECONDS}s"}
        await store(self._bus, self._subject(name), b"", headers, _CALL_SECONDS)

    async def _ensure(self) -> int:
        config = {
            "name": self._stream,
            "subjects": [self._subject(">")],
            "max_msgs_per_subject": 1,
            "max_bytes": 1 << 20,  # reserved: leases must go on where tables are full
            "storage": "file",
            "num_replicas": self._replicas,
            "allow_msg_ttl": True,
            "subject_delete_marker_ttl": _MARKER_SECONDS * _NS,
            "allow_rollup_hdrs": True,
            "allow_direct": True,
            "discard": "old",
        }
        self._epoch = await ensure_stream(self._bus, config, _CALL_SECONDS)
        return self._epoch


def _value(stored: Stored) -> dict[str, Any] | None:
    """A lease's value; None where it is free (or nothing that we wrote: then it is taken over)."""
    if stored.is_marker:
        return None
    try:
        value = json.loads(stored.data)
        return {**value, "holder": str(value["holder"]), "instance": str(value["instance"])}
    except (ValueError, KeyError, TypeError):
        log.warning("%s: not a lease: %.80r", stored.subject, stored.data)
        return None


class _Ended:
    """A subscription that ends by calling something."""

    def __init__(self, end: Callable[[], Any]) -> None:
        self._end = end

    async def unsubscribe(self) -> None:
        ended = self._end()
        if ended is not None:
            await ended


class MemoryLeases:
    """The same contract in memory, for tests; share one object between candidates.

    It keeps any ttl exactly. Expiry is told to watchers when somebody asks.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.is_up = True
        self._clock = clock
        self._held: dict[str, tuple[Entry, float]] = {}
        self._revision = 0
        self._epoch = 1
        self._watchers: dict[object, tuple[str, Heard]] = {}
        self._up_listeners: dict[object, Callable[[], None]] = {}

    def cut(self) -> None:
        """Out of reach, for everybody, until `heal`."""
        self.is_up = False

    def heal(self) -> None:
        self.is_up = True
        for listener in list(self._up_listeners.values()):
            listener()
        for name, _ in list(self._watchers.values()):
            self._tell(name)

    def wipe(self) -> None:
        """As if the disk was lost."""
        self._held.clear()
        self._epoch += 1
        self._revision = 0

    def lasts(self, ttl: float) -> float:
        return ttl

    async def read(self, name: str) -> Entry:
        self._check()
        return self._now(name)

    async def try_acquire(
        self, name: str, holder: str, instance: str, ttl: float, seen: Entry
    ) -> Entry:
        self._check()
        if self._now(name)[0::4] != seen[0::4]:
            raise Conflict(f"lease {name}: changed meanwhile")
        token = (self._epoch << _EPOCH_BITS) + self._revision + 1
        return self._put(name, Entry(0, holder, instance, token), ttl)

    async def renew(self, name: str, mine: Entry, ttl: float) -> Entry:
        self._check()
        if self._now(name) != mine:
            raise Conflict(f"lease {name}: held by somebody else")
        return self._put(name, mine, ttl)

    async def release(self, name: str, mine: Entry) -> None:
        self._check()
        if self._now(name).instance == mine.instance:
            self._put(name, Entry(), math.inf)

    async def watch(self, name: str, heard: Heard) -> Subscription:
        token = object()
        self._watchers[token] = (name, heard)
        if self.is_up:
            heard(self._now(name))
        return _Ended(lambda: self._watchers.pop(token, None) and None)

    def on_up(self, listener: Callable[[], None]) -> Callable[[], None]:
        token = object()
        self._up_listeners[token] = listener
        return lambda: self._up_listeners.pop(token, None) and None

    def _check(self) -> None:
        if not self.is_up:
            raise BusDown("the store of leases is out of reach")

    def _now(self, name: str) -> Entry:
        entry, until = self._held.get(name, (Entry(epoch=self._epoch), math.inf))
        if until <= self._clock():
            entry = self._put(name, Entry(), math.inf)
        return entry

    def _put(self, name: str, entry: Entry, ttl: float) -> Entry:
        self._revision += 1
        entry = entry._replace(revision=self._revision, epoch=self._epoch)
        self._held[name] = entry, self._clock() + ttl
        self._tell(name)
        return entry

    def _tell(self, name: str) -> None:
        for watched, heard in list(self._watchers.values()):
            if watched == name and self.is_up:
                heard(self._now(name))
