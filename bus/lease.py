"""Leases: who, of several, may act. Open `lease_plan.py` first: it decides; this runs it.

Promises: at most one holder at a time believes itself the leader; a dead one is replaced after its
ttl plus 0.1 s or so, one that resigned within 0.2 s; a paused process finds `token` raising
LeaseLost. Only the server's clock and each process's own monotonic clock count, so wall clocks may
be hours apart. Two things only fencing covers (`bus/fence.py`): a *server* whose wall clock jumps
ahead expires leases early, and one whose disk was wiped under a living holder lets newcomers in
until that holder's next renewal.

Tokens are larger from holder to holder, and the same through all of one holder's renewals. A
receiver goes by the highest it has seen.
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
from collections.abc import Callable
from typing import Any

from bus.clock import awake_time
from bus.errors import BusError, Conflict, LeaseLost
from bus.lease_plan import VALIDITY, Acquire, Candidate, Entry, Read, Renew, Sleep
from bus.lease_store import JetStreamLeases, LeaseStore, MemoryLeases

__all__ = ["Elector", "JetStreamLeases", "LeaseStore", "MemoryLeases"]

log = logging.getLogger(__name__)

_REST_SECONDS = 0.5  # after a voluntary release, so that others get their turn


class Elector:
    """One candidate for one lease. `run()` campaigns and renews until cancelled.

    `on_change` listeners hear True and False, never twice the same; candidacy may be paused. A
    holder named in two processes is two candidates.
    """

    def __init__(
        self,
        store: LeaseStore,
        name: str,
        holder: str,
        *,
        ttl: float,
        renew: float,
        clock: Callable[[], float] = awake_time,
    ) -> None:
        lasts = store.lasts(ttl)
        if renew > lasts * VALIDITY / 2:
            raise ValueError(f"lease {name}: renew {renew} s is too seldom for a ttl of {ttl} s")
        if lasts != ttl:
            log.info("lease %s: the store keeps a ttl of %s s as %s s", name, ttl, lasts)
        self.name = name
        self.holder_name = holder
        self._store = store
        self._clock = clock
        self._plan = Candidate(secrets.token_hex(8), lasts, renew)
        self._told = False
        self._listeners: list[Callable[[bool], None]] = []
        self._wake = asyncio.Event()
        self._trouble = ""

    # -- what others ask --------------------------------------------------------------------------

    @property
    def is_leader(self) -> bool:
        return self._plan.is_leader(self._clock())

    @property
    def token(self) -> int:
        """The fencing token. Raises LeaseLost if we do not hold the lease, as far as we know."""
        token = self._plan.token(self._clock())
        if token is None:
            raise LeaseLost(f"lease {self.name} is not held by {self.holder_name} (any more)")
        return token

    @property
    def transitions(self) -> int:
        """Changes of holder seen."""
        return self._plan.transitions

    def holder(self) -> str | None:
        """Who holds it, as heard; None if nobody was heard for a TTL."""
        return self._plan.holder(self._clock())

    def status(self) -> dict[str, Any]:
        now = self._clock()
        since = self._plan.since
        return {
            "holder": self._plan.holder(now),
            "is_leader": self._plan.is_leader(now),
            "token": self._plan.token(now),
            "since_seconds": round(now - since, 1) if since > -math.inf else None,
            "transitions": self._plan.transitions,
        }

    def on_change(self, listener: Callable[[bool], None]) -> None:
        self._listeners.append(listener)

    # -- candidacy --------------------------------------------------------------------------------

    def pause(self) -> None:
        """Not a candidate for now; a held lease is given up at once, others hear it by `run`."""
        self._plan.pause(self._clock())
        self._changed()

    def resume(self) -> None:
        self._plan.resume()
        self._changed()

    async def release(self) -> None:
        """Gives a held lease back; candidacy goes on a little later. Never raises BusError."""
        self._plan.resign(self._clock(), rest=_REST_SECONDS)
        self._changed()
        await self._give_back()

    async def run(self) -> None:
        forget = self._store.on_up(self._on_store_up)
        watching = await self._store.watch(self.name, self._on_heard)
        try:
            while True:
                await self._step()
        finally:
            forget()
            self._plan.resign(self._clock())
            self._tell()
            await watching.unsubscribe()
            await self._give_back()

    async def _step(self) -> None:
        await self._give_back()
        step = self._plan.next(self._clock())
        self._tell()
        if isinstance(step, Sleep):
            await self._rest(step.until)
            return
        try:
            await self._ask(step)
        except Conflict as error:
            log.debug("%s", error)
            self._plan.refused(self._clock())
        except (BusError, TimeoutError) as error:
            self._note(error)
            self._plan.failed(self._clock())
        else:
            self._trouble = ""
        self._tell()

    async def _ask(self, step: Read | Acquire | Renew) -> None:
        plan, began = self._plan, self._clock()
        if isinstance(step, Read):
            plan.read(await self._store.read(self.name), self._clock())
            return
        if isinstance(step, Acquire):
            entry = await self._store.try_acquire(
                self.name, self.holder_name, plan.instance, plan.ttl, step.seen
            )
        else:
            async with asyncio.timeout(step.until - began):
                entry = await self._store.renew(self.name, step.mine, plan.ttl)
        plan.granted(step, entry, began, self._clock())

    async def _give_back(self) -> None:
        entry = self._plan.take_release()
        if entry is None:
            return
        try:
            await self._store.release(self.name, entry)
        except BusError as error:
            log.debug("lease %s not given back, it expires: %s", self.name, error)

    # -- events -----------------------------------------------------------------------------------

    def _on_heard(self, entry: Entry) -> None:
        self._plan.heard(entry, self._clock())
        self._changed()

    def _on_store_up(self) -> None:
        self._plan.store_is_up(self._clock())
        self._changed()

    def _changed(self) -> None:
        self._tell()
        self._wake.set()

    async def _rest(self, until: float) -> None:
        """Until then, or until something happens."""
        left = until - self._clock()
        try:
            async with asyncio.timeout(left if left < math.inf else None):
                await self._wake.wait()
        except TimeoutError:
            return
        self._wake.clear()

    def _tell(self) -> None:
        now = self.is_leader
        if now == self._told:
            return
        self._told = now
        log.info("lease %s: %s %s", self.name, "held by" if now else "left by", self.holder_name)
        for listener in list(self._listeners):
            try:
                listener(now)
            except Exception:
                log.exception("a listener of lease %s failed", self.name)

    def _note(self, error: Exception) -> None:
        if str(error) != self._trouble:
            self._trouble = str(error)
            log.info("lease %s: %s", self.name, error or type(error).__name__)
