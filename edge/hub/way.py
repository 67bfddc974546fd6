"""Which way a hub's requests go: by its own link, by one that it borrows, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from bus.borrow import KEY, KEY_HEADER
from bus.clock import awake_time
from bus.errors import BusDown, BusError
from bus.stream import Answering, Request, StreamClient
from edge.hub.borrowed import Borrowed

if TYPE_CHECKING:
    from loguru import Logger

    from edge.hub.sitekey import SiteKey


class Way(StrEnum):
    OWN = "own"
    BORROWED = "borrowed"
    NONE = "none"


@dataclass(frozen=True)
class WaySettings:
    steady: float = 2.0  # seconds that our link is up again before we leave a borrowed one
    linger: float = 10.0  # then, for what is under way on that; after it watches move, unseen
    first: float = 1.5  # requests wait so long for the first attempt to borrow, once ours is down


def choose_way(own_up: bool, own_steady: bool, borrowed_up: bool) -> Way:
    """Our own, unless it flaps and there is another."""
    if own_up and (own_steady or not borrowed_up):
        return Way.OWN
    return Way.BORROWED if borrowed_up else Way.NONE


class Ways:
    """Implements `bus.stream.Streams`. A change of ways breaks streams at most; asking again takes
    the new one, and whoever reads watches does that by himself."""

    def __init__(
        self,
        own: StreamClient,
        borrowed: Borrowed | None,
        log: Logger,
        settings: WaySettings | None = None,
        clock: Callable[[], float] = awake_time,
    ) -> None:
        """`borrowed` None: this node does not borrow."""
        self.settings = own.settings
        self.way = Way.NONE
        self.changes = 0
        self._own = own
        self._borrowed = borrowed
        self._log = log
        self._waits = settings or WaySettings()
        self._clock = clock
        self._own_since: float | None = None
        self._changed = asyncio.Condition()
        self._look = asyncio.Event()
        self._forget_link: Callable[[], None] = lambda: None
        if borrowed is not None:
            borrowed.on_change = self._on_change

    @property
    def bus(self) -> Ways:
        return self

    @property
    def is_up(self) -> bool:
        return self._choose() is not Way.NONE

    @property
    def open_streams(self) -> int:
        lent = self._borrowed.open_streams if self._borrowed is not None else 0
        return self._own.open_streams + lent

    @property
    def lender(self) -> str:
        return self._borrowed.lender if self._borrowed is not None else ""

    async def start(self, spawn: Callable[..., object], site: SiteKey | None = None) -> None:
        """`site`: learns from our own link who the cloud is."""
        await self._own.start()
        self._forget_link = self._own.bus.on_link(self._on_link)
        self._own_since = self._clock() if self._own.is_up else None
        if self._borrowed is not None:
            await self._borrowed.start()
            spawn("borrowed link", self._borrowed.run())
        spawn("way", self._follow(spawn, site))

    async def stop(self) -> None:
        self._forget_link()
        if self._borrowed is not None:
            await self._borrowed.stop()
        await self._own.stop()

    async def wait_up(self, timeout: float | None = None) -> None:
        """Returns once there is a way. Raises BusDown after `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout), self._changed:
                await self._changed.wait_for(lambda: self.is_up)
        except TimeoutError as error:
            raise BusDown(f"no way to the cloud after {timeout} s") from error

    @asynccontextmanager
    async def open(self, request: Request, body: bytes = b"") -> AsyncIterator[Answering]:
        """Raises BusError: BusDown where certainly nobody acts on it."""
        await self._until_tried()
        if self._choose() is Way.BORROWED and self._borrowed is not None:
            async with self._borrowed.open(request, body) as lent:
                yield lent
            return
        async with self._own.open(request, body) as answer:
            yield answer

    async def _until_tried(self) -> None:
        """Ours has just gone: whether there is another is known in a moment."""

        def is_known() -> bool:
            return self.is_up or self._borrowed is None or self._borrowed.is_tried

        if is_known():
            return
        try:
            async with asyncio.timeout(self._waits.first), self._changed:
                await self._changed.wait_for(is_known)
        except TimeoutError:
            return

    # -- choosing ---------------------------------------------------------------------------------

    def _choose(self) -> Way:
        lent = self._borrowed is not None and self._borrowed.is_up
        return choose_way(self._own.is_up, self._own_for() >= self._waits.steady, lent)

    def _own_for(self) -> float:
        return self._clock() - self._own_since if self._own_since is not None else -1.0

    def _on_link(self, is_up: bool) -> None:
        self._own_since = self._clock() if is_up else None
        if not is_up and self._borrowed is not None:
            self._borrowed.want(True)
        self._on_change()

    def _on_change(self) -> None:
        self._look.set()

    async def _follow(self, spawn: Callable[..., object], site: SiteKey | None) -> None:
        learned: float | None = None  # of which time that our link came up
        while True:
            self._look.clear()
            await self._settle()
            if site is not None and self._own_since not in (None, learned):
                learned = self._own_since
                spawn("site key", self._learn(site))
            try:
                async with asyncio.timeout(self._due()):
                    await self._look.wait()
            except TimeoutError:
                continue

    async def _settle(self) -> None:
        way = self._choose()
        if way is not self.way:
            self._log.info("the way to the cloud: {} (was: {})", way.value, self.way.value)
            self.way = way
            self.changes += 1
        if self._borrowed is not None:
            if not self._own.is_up:
                self._borrowed.want(True)
            elif self._is_moved():
                self._borrowed.want(False)
        async with self._changed:
            self._changed.notify_all()

    def _is_moved(self) -> bool:
        bound = self._waits.steady + self._waits.linger if self.lender else self._waits.steady
        return self._own_for() >= bound

    def _due(self) -> float | None:
        """Until time alone may change something."""
        own = self._own_for()
        if own < 0 or self._borrowed is None:
            return None
        bounds = (self._waits.steady, self._waits.steady + self._waits.linger)
        return next((bound - own + 0.01 for bound in bounds if own < bound), None)

    async def _learn(self, site: SiteKey) -> None:
        try:
            async with self._own.open(Request(KEY, "/")) as answer:
                for name, value in answer.headers:
                    if name == KEY_HEADER and answer.status == 200:
                        site.told_by_cloud(value)
        except BusError as error:
            self._log.debug("the cloud site's key: {}", error)
