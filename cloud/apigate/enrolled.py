"""Whose keys count right now: the enrolment directory, read again whenever it changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from cloud.enrolment.roster import Roster, read_roster
from configs.watch import watch


class Enrolled:
    def __init__(self, directory: Path, admin: str) -> None:
        self._directory = directory
        self._admin = admin
        self._roster = Roster({}, {})

    def key_of(self, pool: str, node: str) -> str | None:
        return self._roster.nodes.get(f"{pool}/{node}")

    async def follow(self, on_change: Callable[[], None]) -> None:
        async for _ in watch(self._directory):
            self._roster = await asyncio.to_thread(read_roster, self._directory, self._admin)
            on_change()
