"""The Enrolment actor: keeps the cloud bus's users as the directory says."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors.actor import Actor, Context
from actors.figures import Figure, Figures, one
from bus.errors import ServerFailed
from bus.server import reload, write_users
from cloud.enrolment.roster import Roster, read_roster
from configs.watch import Watch


@dataclass(frozen=True)
class EnrolmentSettings:
    directory: Path
    admin: str  # the site's own public key
    store: Path | None  # of the embedded server; None: an external one, whose users are not ours


class Enrolment(Actor[EnrolmentSettings]):
    def __init__(self, context: Context, settings: EnrolmentSettings) -> None:
        super().__init__(context, settings)
        self._roster = Roster({}, {})
        self._is_told = False  # a predecessor may have written, and died before it told the server
        self._error = ""  # why the server did not take the users
        context.metrics.register(Figures(*self._figures()))
        self._watch = Watch(settings.directory)

    def _figures(self) -> tuple[Figure, ...]:
        return (
            Figure(
                "atoll_enrolled_nodes",
                "Nodes let onto the cloud bus",
                one(lambda: len(self._roster.nodes)),
            ),
            Figure(
                "atoll_enrolment_faulty_files",
                "Key files that enrol nobody",
                one(lambda: len(self._roster.faults)),
            ),
        )

    async def on_start(self) -> None:
        self.settings.directory.mkdir(parents=True, exist_ok=True)
        await self._watch.__aenter__()
        await self._look()
        self.context.tasks.spawn("directory", self._follow())

    async def on_stop(self) -> None:
        await self._watch.aclose()

    async def _follow(self) -> None:
        while await self._watch.changed():
            await self._look()

    async def _look(self) -> None:
        roster = await asyncio.to_thread(read_roster, self.settings.directory, self.settings.admin)
        self._tell(roster)
        self._roster = roster
        await self._apply(roster)

    async def _apply(self, roster: Roster) -> None:
        store = self.settings.store
        if store is None:
            return
        users = roster.users(self.settings.admin)
        try:
            if await asyncio.to_thread(write_users, store, users) or not self._is_told:
                reload(store)
            self._is_told = True
            self._error = ""
        except (ServerFailed, OSError) as error:
            self._error = str(error)
            self.context.log.error("the bus keeps its old users: {}", error)

    def _tell(self, new: Roster) -> None:
        old, log = self._roster, self.context.log
        for node in sorted(new.nodes.keys() - old.nodes.keys()):
            log.info("{} is enrolled", node)
        for node in sorted(old.nodes.keys() - new.nodes.keys()):
            log.info("{} is revoked", node)
        for node in sorted(old.nodes.keys() & new.nodes.keys()):
            if old.nodes[node] != new.nodes[node]:
                log.info("{} has a new key", node)
        for file, why in new.faults.items():
            if old.faults.get(file) != why:
                log.error("{} enrols nobody: {}", self.settings.directory / file, why)

    def status(self) -> dict[str, Any]:
        return {
            "directory": str(self.settings.directory),
            "nodes": sorted(self._roster.nodes),
            "faults": dict(self._roster.faults),
            "error": self._error,
        }
