"""All mirrors of a hub: one for each scope, made when it is first read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from actors.kube.resource import Resource
from bus.clock import awake_time
from bus.stream import Streams
from edge.mirror.keeping import MirrorDisk
from edge.mirror.mirror import Headers, LocalWrites, Mirror, MirrorSettings, Spawn
from edge.mirror.scope import Scope

if TYPE_CHECKING:
    from loguru import Logger


class Mirrors:
    """`start` before use, `close` after it.

    What is on disk is read when its scope is first asked for: a restarted hub serves it at once,
    link or none, and goes on from its version.
    """

    def __init__(
        self,
        client: Streams,
        disk: MirrorDisk | None,
        settings: MirrorSettings | None = None,
        *,
        spawn: Spawn,
        log: Logger,
        clock: Callable[[], float] = awake_time,
        writes: LocalWrites | None = None,
    ) -> None:
        self.settings = settings or MirrorSettings()
        self.dropped = 0
        self.refused = 0  # for want of room
        self._client = client
        self._disk = disk
        self._spawn = spawn
        self._log = log
        self._clock = clock
        self._writes = writes
        self._mirrors: dict[tuple[str, ...], Mirror] = {}  # least recently used first
        self._closing: set[asyncio.Task[None]] = set()
        self._sweeper: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._sweeper = self._spawn("mirrors", self._sweep())

    async def close(self) -> None:
        """Idempotent."""
        sweeper, self._sweeper = self._sweeper, None
        if sweeper is not None:
            sweeper.cancel()
            await asyncio.wait([sweeper])
        while self._mirrors:
            await self._mirrors.pop(next(iter(self._mirrors))).close()
        if self._closing:
            await asyncio.wait(self._closing)

    def get(self, scope: Scope, headers: Headers = ()) -> Mirror | None:
        """The scope's mirror, or a wider one that is current: select from what it has.

        It follows from now on; `await mirror.filled(...)` before it is read. `headers`: of the
        request (Authorization, User-Agent); the newest are used at the next connection. None: too
        many are watched at a time, the request must go its own way.
        """
        mirror = self._wider(scope) or self._mirrors.get(scope.key) or self._make(scope)
        if mirror is None:
            return None
        self._mirrors[mirror.scope.key] = self._mirrors.pop(mirror.scope.key, mirror)
        mirror.used = self._clock()
        mirror.headers = tuple(headers) or mirror.headers
        mirror.start()
        return mirror

    def covering(self, scope: Scope) -> Mirror | None:
        """One that is there and filled, without making any: for single reads and short answers."""
        found = [m for m in self._mirrors.values() if m.scope.covers(scope) and m.cache.filled]
        return max(found, key=lambda m: (m.is_live, -m.age()), default=None)

    def of(self, resource: Resource) -> list[Mirror]:
        """Whoever reads it, by whatever selectors."""
        return [m for m in self._mirrors.values() if m.scope.resource.name == resource.name]

    @property
    def all(self) -> Mapping[tuple[str, ...], Mirror]:
        return self._mirrors

    def status(self) -> dict[str, Any]:
        return {
            str(mirror.scope): {
                "live": mirror.is_live,
                "age": mirror.age(),
                "objects": len(mirror.cache),
                "version": mirror.cache.version,
                "error": mirror.error,
            }
            for mirror in self._mirrors.values()
        }

    def _wider(self, scope: Scope) -> Mirror | None:
        for mirror in self._mirrors.values():
            is_other = mirror.scope.key != scope.key
            if is_other and mirror.is_live and mirror.scope.covers(scope):
                return mirror
        return None

    def _make(self, scope: Scope) -> Mirror | None:
        if len(self._mirrors) >= self.settings.most and not self._make_room():
            self.refused += 1
            self._log.warning("{} is not mirrored: {} are watched", scope, len(self._mirrors))
            return None
        return Mirror(
            scope,
            self._client,
            self._disk,
            self.settings,
            spawn=self._spawn,
            log=self._log,
            clock=self._clock,
            writes=self._writes,
        )

    def _make_room(self) -> bool:
        for key, mirror in self._mirrors.items():
            if not mirror.is_watched:
                del self._mirrors[key]
                self.dropped += 1
                mirror.cache.close()
                self._log.info("{} is not mirrored any more, for want of room", mirror.scope)
                task = self._spawn("mirror's end", mirror.close())
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)
                return True
        return False

    async def _sweep(self) -> None:
        every = min(self.settings.care, self.settings.idle / 4)
        while True:
            await asyncio.sleep(every)
            await self.look()

    async def look(self) -> None:
        """Ends the streams of those that nobody reads."""
        now = self._clock()
        for mirror in list(self._mirrors.values()):
            if mirror.is_watched:
                mirror.used = now
            mirror.care()
            if mirror.is_following and now - mirror.used > self.settings.idle:
                self._log.debug("{} is idle", mirror.scope)
                await mirror.pause()
