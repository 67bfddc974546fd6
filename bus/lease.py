"""Leases: who, of several, may act. Held in JetStream KV with a server-side TTL.

The recipe (measured in the design's facts-nats, section 4): a holder renews by compare-and-set on
its own last revision with a TTL; candidates hear the renewals, and when they fall silent for the
TTL take over by compare-and-set on whatever is stored, an expiry marker included. Only the server's
clock and each process's own monotonic clock count, so wall clocks may be hours apart.

A holder stops believing in itself at 0.8 of the TTL counted from *before* the renewal was sent,
which is before the server lets anybody else in. Whoever is paused beyond that finds `token` raising
LeaseLost; and receivers refuse its token once they have seen its successor's (`bus/fence.py`).
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import random
import secrets
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from bus.api import Bus, Message, Subscription
from bus.errors import BusDown, BusError, Conflict, LeaseLost
from bus.jetstream import EXPECT, TTL, NoStream, ensure_stream, last, store

log = logging.getLogger(__name__)

VALIDITY = 0.8  # of the TTL; see above
_CALL_SECONDS = 1.0
_MARKER_SECONDS = 1  # how long an expiry marker is kept
_SEQUENCE_BITS = 30


class Grant(NamedTuple):
    """A lease as held."""

    token: int  # grows from holder to holder, the same for all of one holder's renewals
    revision: int  # of the last renewal


class LeaseStore(Protocol):
    """Where leases are kept. All methods raise BusError where the store is out of reach."""

    async def acquire(self, name: str, holder: str, ttl: float) -> Grant | None:
        """The lease, if nobody holds it now; else None."""

    async def renew(self, name: str, holder: str, grant: Grant, ttl: float) -> Grant:
        """Raises Conflict if somebody else has it."""

    async def release(self, name: str, grant: Grant) -> None:
        """Lets others in at once. Does nothing if somebody else has it."""

    async def listen(self, name: str, heard: Callable[[str | None], None]) -> Subscription:
        """Calls `heard(holder)` at each renewal and `heard(None)` at each release."""


class JetStreamLeases:
    """The real store. TTLs are whole seconds in NATS, so they are rounded up."""

    def __init__(self, bus: Bus, bucket: str = "leases") -> None:
        self._bus = bus
        self._stream = f"KV_{bucket}"
        self._prefix = f"$KV.{bucket}."
        self._created: int | None = None
        self._id = secrets.token_hex(4)  # a restarted process of the same name is somebody else

    async def acquire(self, name: str, holder: str, ttl: float) -> Grant | None:
        created = await self._ensure()
        subject = self._prefix + name
        try:
            held = await last(self._bus, self._stream, subject, _CALL_SECONDS)
            if held is not None and not held.is_marker:
                return None
            expected = held.sequence if held is not None else 0
            revision = await self._write(subject, holder, expected, ttl)
        except Conflict:
            return None
        except NoStream:  # the bus lost its disk: begin anew next time
            self._created = None
            raise
        return Grant((created << _SEQUENCE_BITS) + revision, revision)

    async def renew(self, name: str, holder: str, grant: Grant, ttl: float) -> Grant:
        subject = self._prefix + name
        try:
            revision = await self._write(subject, holder, grant.revision, ttl)
        except Conflict:
            # Perhaps it was we who moved it, in a renewal whose answer got lost.
            held = await last(self._bus, self._stream, subject, _CALL_SECONDS)
            if held is None or held.is_marker or _read(held.data) != (holder, self._id):
                raise
            revision = await self._write(subject, holder, held.sequence, ttl)
        return grant._replace(revision=revision)

    async def release(self, name: str, grant: Grant) -> None:
        headers = {
            EXPECT: str(grant.revision),
            "KV-Operation": "DEL",
            TTL: _whole_seconds(_MARKER_SECONDS),
        }
        try:
            await store(self._bus, self._prefix + name, b"", headers, _CALL_SECONDS)
        except (Conflict, NoStream):
            return

    async def listen(self, name: str, heard: Callable[[str | None], None]) -> Subscription:
        def on_message(message: Message) -> None:
            value = _read(message.data)
            heard(value[0] if value is not None else None)

        return await self._bus.subscribe(self._prefix + name, on_message)

    async def _write(self, subject: str, holder: str, expected: int, ttl: float) -> int:
        value = json.dumps({"holder": holder, "id": self._id}).encode()
        headers = {EXPECT: str(expected), TTL: _whole_seconds(ttl)}
        return await store(self._bus, subject, value, headers, _CALL_SECONDS)

    async def _ensure(self) -> int:
        """When the bucket was made: part of every token, so that they grow across a lost disk."""
        if self._created is None:
            config = {
                "name": self._stream,
                "subjects": [self._prefix + ">"],
                "max_msgs_per_subject": 1,
                "max_bytes": 1 << 20,
                "storage": "file",
                "allow_msg_ttl": True,
                "subject_delete_marker_ttl": _MARKER_SECONDS * 1_000_000_000,
                "allow_rollup_hdrs": True,
                "allow_direct": True,
                "discard": "old",
            }
            self._created = await ensure_stream(self._bus, config, _CALL_SECONDS)
        return self._created


def _whole_seconds(ttl: float) -> str:
    return f"{max(1, math.ceil(ttl))}s"


def _read(data: bytes) -> tuple[str, str] | None:
    """(holder, instance) of a lease's value; None if it is none."""
    try:
        value = json.loads(data)
        return str(value["holder"]), str(value["id"])
    except (ValueError, KeyError, TypeError):
        return None


class MemoryLeases:
    """The same contract in memory, for tests; share one object between candidates."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._held: dict[str, tuple[str, Grant, float]] = {}
        self._revision = 0
        self._listeners: dict[object, tuple[str, Callable[[str | None], None]]] = {}

    async def acquire(self, name: str, holder: str, ttl: float) -> Grant | None:
        held = self._held.get(name)
        if held is not None and held[2] > self._clock():
            return None
        self._revision += 1
        return self._put(name, holder, Grant(self._revision, self._revision), ttl)

    async def renew(self, name: str, holder: str, grant: Grant, ttl: float) -> Grant:
        held = self._held.get(name)
        if held is None or held[1].revision != grant.revision or held[2] <= self._clock():
            raise Conflict(f"lease {name}: held by somebody else")
        self._revision += 1
        return self._put(name, holder, grant._replace(revision=self._revision), ttl)

    async def release(self, name: str, grant: Grant) -> None:
        held = self._held.get(name)
        if held is not None and held[1].revision == grant.revision:
            del self._held[name]
            self._tell(name, None)

    async def listen(self, name: str, heard: Callable[[str | None], None]) -> Subscription:
        token = object()
        self._listeners[token] = (name, heard)
        return _Forget(lambda: self._listeners.pop(token, None))

    def _put(self, name: str, holder: str, grant: Grant, ttl: float) -> Grant:
        self._held[name] = (holder, grant, self._clock() + ttl)
        self._tell(name, holder)
        return grant

    def _tell(self, name: str, holder: str | None) -> None:
        for watched, heard in list(self._listeners.values()):
            if watched == name:
                heard(holder)


class _Forget:
    def __init__(self, forget: Callable[[], object]) -> None:
        self._forget = forget

    async def unsubscribe(self) -> None:
        self._forget()


class Elector:
    """One candidate for one lease. `run()` campaigns and renews until cancelled.

    `on_change` listeners hear True and False, never twice the same; candidacy may be paused.
    """

    def __init__(
        self,
        store: LeaseStore,
        name: str,
        holder: str,
        *,
        ttl: float,
        renew: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if renew > ttl * VALIDITY / 2:
            raise ValueError(f"lease {name}: renew {renew} s is too seldom for a ttl of {ttl} s")
        self.name = name
        self.holder_name = holder
        self.transitions = 0  # changes of holder seen
        self._store = store
        self._ttl = ttl
        self._renew = renew
        self._clock = clock
        self._grant: Grant | None = None
        self._valid_until = -math.inf
        self._told = False
        self._listeners: list[Callable[[bool], None]] = []
        self._may_run = asyncio.Event()
        self._may_run.set()
        self._wake = asyncio.Event()
        self._holder: str | None = None
        self._since = clock()
        self._heard_at = clock()
        self._trouble = ""

    # -- what others ask --------------------------------------------------------------------------

    @property
    def is_leader(self) -> bool:
        return self._grant is not None and self._clock() < self._valid_until

    @property
    def token(self) -> int:
        """The fencing token. Raises LeaseLost if we do not hold the lease, as far as we know."""
        if self._grant is None or self._clock() >= self._valid_until:
            raise LeaseLost(f"lease {self.name} is not held by {self.holder_name} (any more)")
        return self._grant.token

    def holder(self) -> str | None:
        """Who holds it, as heard; None if nobody was heard for a TTL."""
        if self._clock() - self._heard_at > self._ttl + self._renew:
            return None
        return self._holder

    def status(self) -> dict[str, Any]:
        return {
            "holder": self.holder(),
            "is_leader": self.is_leader,
            "token": self._grant.token if self._grant is not None else None,
            "since_seconds": round(self._clock() - self._since, 1),
            "transitions": self.transitions,
        }

    def on_change(self, listener: Callable[[bool], None]) -> None:
        self._listeners.append(listener)

    # -- candidacy --------------------------------------------------------------------------------

    def pause(self) -> None:
        """Not a candidate for now; a held lease is given back at once."""
        self._may_run.clear()
        self._wake.set()

    def resume(self) -> None:
        self._may_run.set()
        self._wake.set()

    async def release(self) -> None:
        """Gives a held lease back; candidacy goes on. Never raises BusError."""
        grant, self._grant = self._grant, None
        self._tell()
        self._wake.set()
        if grant is not None:
            try:
                await self._store.release(self.name, grant)
            except BusError as error:
                log.debug("lease %s not released, it expires: %s", self.name, error)

    async def run(self) -> None:
        listening = await self._store.listen(self.name, self._on_heard)
        try:
            while True:
                await self._may_run.wait()
                if await self._campaign():
                    await self._hold()
        finally:
            await listening.unsubscribe()
            self._grant = None
            self._tell()

    async def _campaign(self) -> bool:
        """One try, and a wait if it failed; whether the lease is ours."""
        began = self._clock()
        try:
            grant = await self._store.acquire(self.name, self.holder_name, self._ttl)
        except BusError as error:
            self._note(error)
            await self._rest(self._renew * random.uniform(0.5, 1.0))
            return False
        if grant is None:
            await self._wait_for_chance()
            return False
        self._accept(grant, began)
        return True

    async def _wait_for_chance(self) -> None:
        """Until the holder was silent for a TTL, or released."""
        while True:
            silence = self._clock() - self._heard_at
            if self._holder is None or silence >= self._ttl:
                # Released or silent, yet the store still has it: word of a release comes before the
                # store has it, and a restarted store lets leases live on. Ask now and then.
                await self._rest(min(0.1, self._renew) * random.uniform(0.5, 1.0))
                return
            woken = await self._rest(self._ttl - silence + random.uniform(0.0, 0.05))
            if woken and (self._holder is None or not self._may_run.is_set()):
                return

    async def _hold(self) -> None:
        while self._may_run.is_set() and self._grant is not None:
            await self._rest(self._renew)
            if not self._may_run.is_set() or self._grant is None:
                break
            if not await self._renew_once(self._grant):
                break
        await self.release()

    async def _renew_once(self, grant: Grant) -> bool:
        """Whether we still hold it; tries on while our own clock says that we do."""
        while self._clock() < self._valid_until:
            began = self._clock()
            left = self._valid_until - began
            try:
                async with asyncio.timeout(left):
                    renewed = await self._store.renew(self.name, self.holder_name, grant, self._ttl)
            except Conflict:
                log.warning("lease %s lost: somebody else has it", self.name)
                return False
            except (BusError, TimeoutError) as error:
                self._note(error)
                await asyncio.sleep(min(0.1, left))
                continue
            if self._grant is None:  # released meanwhile
                return False
            self._accept(renewed, began)
            return True
        log.warning("lease %s lost: it could not be renewed in time", self.name)
        return False

    def _accept(self, grant: Grant, began: float) -> None:
        self._grant = grant
        self._valid_until = began + VALIDITY * self._ttl
        self._trouble = ""
        self._on_heard(self.holder_name)
        self._tell()

    def _on_heard(self, holder: str | None) -> None:
        self._heard_at = self._clock()
        if holder != self._holder:
            self._holder = holder
            self._since = self._clock()
            self.transitions += 1
            if holder is None:
                self._wake.set()

    async def _rest(self, seconds: float) -> bool:
        """Whether it was cut short by `_wake`."""
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return False
        self._wake.clear()
        return True

    def _tell(self) -> None:
        now = self.is_leader
        if now != self._told:
            self._told = now
            for listener in self._listeners:
                listener(now)

    def _note(self, error: Exception) -> None:
        if str(error) != self._trouble:
            self._trouble = str(error)
            # A link that is down is told by the connection itself.
            level = logging.DEBUG if isinstance(error, BusDown) else logging.INFO
            log.log(level, "lease %s: %s", self.name, error)
