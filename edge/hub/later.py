"""Writes that wait for the API server: the queue, what it sees of objects, and its replay."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from actors.backoff import Backoff, RestartPolicy
from actors.kube.resource import Resource
from actors.kube.serve.api import RequestInfo, WriteResult
from bus.errors import BusDown
from edge.offline import Offline, Replayed, Upstream

if TYPE_CHECKING:
    from collections.abc import Callable

    from bus.stream import Streams
    from edge.hub.asked import Asked
    from edge.hub.local import LocalObjects
    from edge.mirror import Mirrors

_MOST_OFFERED = 1_000  # objects read from disk for a write that is under way
PAUSES = RestartPolicy(first=0.5, factor=2.0, ceiling=15.0, jitter=0.3, settle=30.0)


class NodeObjects:
    """Implements `edge.offline.Objects` over the mirrors, and what was read from disk just now."""

    def __init__(self, mirrors: Callable[[], Mirrors]) -> None:
        self._mirrors = mirrors
        self._offered: OrderedDict[tuple[str, str], bytes] = OrderedDict()

    def offer(self, resource: Resource, key: str, raw: bytes) -> None:
        """For `get`, where no mirror has it."""
        place = (resource.name, key)
        self._offered[place] = raw
        self._offered.move_to_end(place)
        if len(self._offered) > _MOST_OFFERED:
            self._offered.popitem(last=False)

    def get(self, resource: Resource, key: str) -> bytes | None:
        held = ((m, m.cache.get(key)) for m in self._mirrors().of(resource))
        found = [(mirror.is_live, -mirror.age(), entry.raw) for mirror, entry in held if entry]
        if found:
            return max(found, key=lambda each: each[:2])[2]
        return self._offered.get((resource.name, key))

    def revise(self, resource: Resource, key: str, raw: bytes | None) -> None:
        for mirror in self._mirrors().of(resource):
            mirror.revise(key, raw)

    def restore(self, resource: Resource, key: str) -> None:
        for mirror in self._mirrors().of(resource):
            mirror.restore(key)


class Writer:
    """Implements `actors.kube.serve.api.Writer` for one request."""

    def __init__(self, later: Later, asked: Asked) -> None:
        self._later = later
        self._asked = asked

    async def write(self, info: RequestInfo, body: bytes, content_type: str) -> WriteResult:
        """Raises ApiError: also where it cannot be done later."""
        asked = self._asked
        result = await self._later.queue.write(
            info, body, content_type, asked.identity, asked.component
        )
        self._later.hurry()
        return result


class Later:
    """Implements `edge.mirror.mirror.LocalWrites`. `run` replays whenever it may be of use."""

    def __init__(self, queue: Offline, objects: NodeObjects) -> None:
        self.queue = queue
        self.last = Replayed()
        self._objects = objects
        self._work = asyncio.Event()

    def shown(self, resource: Resource, key: str, raw: bytes | None) -> bytes | None:
        return self.queue.on_server_object(resource, key, raw)

    def views(self, resource: Resource) -> Iterable[tuple[str, bytes | None]]:
        return self.queue.views(resource)

    def has_pending(self, asked: Asked) -> bool:
        """Whether it has to wait behind others: of its object; of all events, which keep their
        order."""
        if asked.resource.plural == "events" and self.queue.pending["events"]:
            return True
        return self.queue.has_pending(asked.resource, asked.key)

    def answered(self, asked: Asked, raw: bytes) -> None:
        """By the API server itself, to a write that did not have to wait."""
        self.queue.on_answer(asked.resource, asked.key, raw)

    async def writer(self, asked: Asked, local: LocalObjects) -> Writer:
        if asked.info.name and self._objects.get(asked.resource, asked.key) is None:
            known = await local.find(asked)
            if known is not None and known.raw is not None:
                self._objects.offer(asked.resource, asked.key, known.raw)
        return Writer(self, asked)

    async def remember_token(
        self, asked: Asked, body: bytes, content_type: str, answer: bytes
    ) -> None:
        await self.queue.remember(asked.info, body, content_type, answer, asked.identity)

    def hurry(self) -> None:
        """There may be something to replay."""
        self._work.set()

    async def run(self, streams: Streams, upstream: Upstream) -> None:
        self.hurry()
        while True:
            await self._work.wait()
            self._work.clear()
            await self._replay(streams, upstream)

    async def _replay(self, streams: Streams, upstream: Upstream) -> None:
        """Until nothing waits."""
        backoff = Backoff(PAUSES)
        while sum(self.queue.pending[what] for what in ("objects", "events")):
            with suppress(BusDown):
                await streams.bus.wait_up()
            self.last = await self.queue.replay(upstream)
            if not self.last.left:
                return
            await asyncio.sleep(_pause(self.last, backoff))


def _pause(done: Replayed, backoff: Backoff) -> float:
    """Seconds until another pass is of use."""
    if done.retry_in is not None and not done.is_cut:
        return max(done.retry_in, PAUSES.first)
    if done.sent or done.dropped:
        return PAUSES.first
    return backoff.failed(0.0)  # cut off, or the disk does not take what became of it
