"""Events go an hour after they were last written, as with kube-apiserver's --event-ttl."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from itertools import islice
from typing import Any

from actors.kube.watchcache import Entry
from cloud.apiserver.registry import Edit, Registry, Storage

Object = dict[str, Any]
EVENTS = "events"
SLICE = 100  # objects deleted in one commit


class Expiry:
    """Knows when each event was last written; those of earlier runs count from the start."""

    def __init__(
        self,
        registry: Registry,
        ttl: float = 3600.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._ttl = ttl
        self._now = monotonic
        self._written: dict[str, float] = {}  # the longest untouched first
        registry.listen(self._on_commit)

    def load(self) -> None:
        now = self._now()
        for entry in self._registry.storages[EVENTS].cache.snapshot().entries:
            self._written[entry.key] = now

    def _on_commit(
        self, storage: Storage, key: str, obj: Object | None, _before: Entry | None
    ) -> None:
        if storage.name == EVENTS:
            self._written.pop(key, None)
            if obj is not None:
                self._written[key] = self._now()

    async def run(self) -> None:
        """Until cancelled."""
        pause = self._ttl / 10
        while True:
            await asyncio.sleep(pause)
            pause = 0 if self.sweep() else self._ttl / 10

    def sweep(self) -> int:
        """Delete some of those whose time is over; how many."""
        storage, over = self._registry.storages[EVENTS], self._now() - self._ttl
        keys = [key for key, written in islice(self._written.items(), SLICE) if written <= over]
        self._registry.commit([Edit(storage, key, None) for key in keys])
        return len(keys)
