"""Waiting for a cache to get somewhere, without polling."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Progress:
    """Wakes those who wait for a condition each time something moved."""

    def __init__(self) -> None:
        self._moved = asyncio.Event()

    def moved(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()

    async def wait_for(self, reached: Callable[[], bool], timeout: float) -> bool:
        """Whether `reached()` became true within `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                while not reached():
                    await self._moved.wait()
        except TimeoutError:
            return reached()
        return True
