"""One resource on its way from the API server to the pools: a reflector and a publisher."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from actors.kube.client import ClusterClient
from actors.kube.reflector import Reflector, ReflectorSettings, ResourceGone, SourceBatch
from actors.kube.resource import Resource
from bus.api import Bus
from bus.feed.publishing import FeedPublisher
from bus.feed.settings import FeedSettings
from bus.feed.types import FeedSubjects, Position
from cloud.feeds.memory import SourceMemory

if TYPE_CHECKING:
    from loguru import Logger

OVERSIZED_SHOWN = 20


@dataclass(frozen=True)
class Making:
    """What all sources are made with."""

    client: ClusterClient
    bus: Bus
    subjects: FeedSubjects
    feed: FeedSettings
    reflector: ReflectorSettings
    memory: SourceMemory
    spawn: Callable[[str, Coroutine[Any, Any, None]], asyncio.Task[None]]
    log: Logger


class SourceFeed:
    """`on_lineage` is called when this feed has entered a lineage; `on_gone` when its resource is
    served no more."""

    def __init__(
        self,
        resource: Resource,
        making: Making,
        on_lineage: Callable[[], None],
        on_gone: Callable[[SourceFeed], None],
    ) -> None:
        self.resource = resource
        self.lineage = making.memory.lineage
        self.is_over = False  # its resource is served no more: it hears of no change again
        self.oversized: dict[str, int] = {}  # key -> bytes of what is not carried
        self._making = making
        self._on_lineage = on_lineage
        self._on_gone = on_gone
        self.reflector = Reflector(
            making.client,
            resource,
            self._take,
            making.log,
            known=making.memory.known(resource.feed),
            settings=making.reflector,
        )
        self.publisher = FeedPublisher(
            making.bus, making.subjects, resource.feed, making.feed, age=self.reflector.age
        )
        self._reflecting: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<SourceFeed {self.resource.name} lineage={self.lineage} {self.reflector!r}>"

    def start(self) -> None:
        self.publisher.start(self._making.spawn)
        self._reflecting = self._making.spawn(f"reflect {self.resource.name}", self._reflect())

    async def stop(self) -> None:
        """Idempotent."""
        task, self._reflecting = self._reflecting, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        await self.publisher.stop()

    def follow_lineage(self) -> None:
        """Another feed saw the source go back: ours takes the new lineage with a whole state."""
        if self.lineage < self._making.memory.lineage:
            self.reflector.resync("rollback seen by another feed")

    async def _reflect(self) -> None:
        try:
            await self.reflector.run()
        except ResourceGone as error:
            self._making.log.warning("{}", error)
            self.is_over = True
            self._on_gone(self)

    async def _take(self, batch: SourceBatch) -> None:
        entered = batch.whole and self._enter_lineage(batch)
        self._making.memory.note(self.resource.feed, batch.version, self.reflector.uid)
        position = Position(self.lineage, batch.version)
        # A list tells what there is, not what came and went since the last one.
        publishing = self.publisher.publish(batch.changes, position, exact=not batch.whole)
        self._note_oversized(batch, await publishing)
        if entered:
            self._on_lineage()

    def _enter_lineage(self, batch: SourceBatch) -> bool:
        memory, before = self._making.memory, self.lineage
        self.lineage = memory.went_back(before) if batch.reset else memory.lineage
        return self.lineage != before

    def _note_oversized(self, batch: SourceBatch, refused: tuple[str, ...]) -> None:
        for change in batch.changes if refused or self.oversized else ():
            if change.key not in refused:
                self.oversized.pop(change.key, None)
            elif change.data is not None:
                if change.key not in self.oversized:
                    self._tell_oversized(change.key, len(change.data))
                self.oversized[change.key] = len(change.data)

    def _tell_oversized(self, key: str, size: int) -> None:
        self._making.log.error(
            "{} {} is not carried: {} bytes are over feeds.max_object, {}",
            self.resource.name,
            key,
            size,
            self._making.feed.max_object,
        )

    def status(self) -> dict[str, Any]:
        reflector = self.reflector
        age = reflector.age()
        return {
            "resource": self.resource.name,
            "objects": len(self.publisher.items),
            "lineage": self.lineage,
            "version": reflector.version,
            "age": None if age == float("inf") else round(age, 3),
            "error": reflector.stats.error,
            "relists": dict(reflector.stats.relists),
            "events": reflector.stats.events,
            "source_bytes": reflector.stats.bytes,
            "frames": self.publisher.frames,
            "frame_bytes": self.publisher.frame_bytes,
            "oversized": dict(list(self.oversized.items())[:OVERSIZED_SHOWN]),
        }
