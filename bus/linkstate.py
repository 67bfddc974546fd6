"""Whether a link is up, and who wants to know."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from bus.api import LinkListener
from bus.errors import BusDown

log = logging.getLogger(__name__)


class LinkState:
    """Down at first; listeners hear each change once, in the loop."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._is_up = False
        self._is_closed = False
        self._settled = asyncio.Event()  # up, or closed for good
        self._listeners: dict[object, LinkListener] = {}

    @property
    def is_closed(self) -> bool:
        return self._is_closed

    def on_change(self, listener: LinkListener) -> Callable[[], None]:
        token = object()
        self._listeners[token] = listener

        def forget() -> None:
            self._listeners.pop(token, None)

        return forget

    async def wait(self, timeout: float | None, why: Callable[[], str]) -> None:
        """Raises BusDown after `timeout` seconds (None: never), or when closed."""
        try:
            async with asyncio.timeout(timeout):
                await self._settled.wait()
        except TimeoutError as error:
            text = f"{self._name} bus: not up after {timeout} s: {why()}"
            raise BusDown(text) from error
        if self._is_closed:
            raise self.down()

    def down(self) -> BusDown:
        """What callers hear while it is down."""
        return BusDown(f"{self._name} bus: {'closed' if self._is_closed else 'the link is down'}")

    def set(self, up: bool) -> None:
        if up == self._is_up:
            return
        self._is_up = up
        if up:
            self._settled.set()
        elif not self._is_closed:
            self._settled.clear()
        for listener in list(self._listeners.values()):
            try:
                listener(up)
            except Exception:
                log.exception("%s bus: a link listener failed", self._name)

    def close(self) -> None:
        self._is_closed = True
        self._settled.set()
