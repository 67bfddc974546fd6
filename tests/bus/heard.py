"""A handler that keeps what it is given, and lets tests wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from bus.api import Message

SOON = 5.0  # seconds; a deadline, not a wait


class Heard(list[Message]):
    def __init__(self) -> None:
        super().__init__()
        self._more = asyncio.Event()

    def __call__(self, message: Message) -> None:
        self.append(message)
        self._more.set()

    async def until(self, enough: Callable[[], bool]) -> None:
        """Looks again at each message."""
        async with asyncio.timeout(SOON):
            while not enough():
                self._more.clear()
                await self._more.wait()

    async def at_least(self, number: int) -> None:
        await self.until(lambda: len(self) >= number)
