"""Toy actors for the tests of hosts, runtimes and sites. They write what happens to a journal."""

from __future__ import annotations

import asyncio
import importlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors.actor import Actor
from actors.specs import ActorSpec, HostSpec


@dataclass(frozen=True)
class ToySettings:
    journal: Path
    word: str = ""
    start_seconds: float = 0.0
    stop_seconds: float = 0.0
    fail_on: str = ""  # "start", "task", "stop", "status"
    refuse: str = ""  # settings with this word are refused


class Journal:
    """A file of lines, so that it is the same in whichever process an actor runs."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, line: str) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def lines(self) -> list[str]:
        return self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []


class Toy(Actor[ToySettings]):
    async def on_start(self) -> None:
        self._note("starting")
        await asyncio.sleep(self.settings.start_seconds)
        if self.settings.fail_on == "start":
            raise RuntimeError("toy cannot start")
        if self.settings.fail_on == "task":
            self.context.tasks.spawn("worker", self._fail())
        else:
            self.context.tasks.spawn("worker", self._work())
        self._note("started")

    async def on_config(self, settings: ToySettings) -> None:
        if settings.word and settings.word == self.settings.refuse:
            raise ValueError(f"word {settings.word!r} is not for me")
        self.settings = settings
        self._note(f"config {settings.word}")

    async def on_stop(self) -> None:
        self._note("stopping")
        await asyncio.sleep(self.settings.stop_seconds)
        if self.settings.fail_on == "stop":
            raise RuntimeError("toy cannot stop")
        self._note("stopped")

    def status(self) -> dict[str, Any]:
        if self.settings.fail_on == "status":
            raise RuntimeError("toy has no picture")
        return {"word": self.settings.word, "pid": os.getpid()}

    async def _work(self) -> None:
        await asyncio.Event().wait()

    async def _fail(self) -> None:
        await asyncio.sleep(0)
        raise RuntimeError("toy worker broke")

    def _note(self, what: str) -> None:
        Journal(self.settings.journal).add(f"{self.context.actor} {what}")


class Stubborn(Toy):
    """Does not let itself be cancelled while it stops, for a while."""

    async def on_stop(self) -> None:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            self._note("cancelled")
            raise


class Surroundings(Actor[None]):
    """Tells what its process is made of."""

    def status(self) -> dict[str, Any]:
        packages = ("actors", "bus", "cloud", "configs", "edge")
        files = {name: str(importlib.import_module(name).__file__) for name in packages}
        return {"files": files, "loop": type(asyncio.get_running_loop()).__module__}


def toy(name: str, journal: Path, factory: str = "Toy", **settings: Any) -> ActorSpec:
    return ActorSpec(name, f"tests.actors.samples:{factory}", ToySettings(journal, **settings))


def host(directory: Path, *actors: ActorSpec, name: str = "node-1") -> HostSpec:
    return HostSpec(name, "pool-a", name, directory / name, actors, stop_deadline=3.0)
