"""What the feeds must know again after a restart, in one small JSON file.

* the cluster's identity, the lineage, and how far each feed was: so that a cluster which was
  exchanged or restored while we were away is noticed, and pools are told to take what it has;
* the resources last found: so that a restart does not take a resource from the pools only because
  the API server is not up yet.

The file is written at most once a second, at once when the lineage grows, by rename. A version may
therefore be remembered up to a second too low, never too high. If the file is lost, the lineage is
taken from the clock, so that it is higher than any before.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from actors.kube.reflector import Known
from actors.kube.resource import Resource

if TYPE_CHECKING:
    from loguru import Logger

SAVE_SECONDS = 1.0


class _File(msgspec.Struct):
    lineage: int
    kube_system_uid: str = ""
    versions: dict[str, int] = {}
    resources: dict[str, Resource] = {}  # by the name in the site file
    catalog: int = 0


class SourceMemory:
    def __init__(self, path: Path, log: Logger, wall: Callable[[], float]) -> None:
        self._path = path
        self._log = log
        self._wall = wall
        self._changed = asyncio.Event()
        self._writing = threading.Lock()
        self._taken = 0  # states so far; they are written in this order, or left out
        self._written = 0
        self._kept = self._load()

    def __repr__(self) -> str:
        return f"<SourceMemory lineage={self.lineage} {self._kept.versions}>"

    @property
    def lineage(self) -> int:
        return self._kept.lineage

    @property
    def resources(self) -> Mapping[str, Resource]:
        return self._kept.resources

    def known(self, feed: str) -> Known:
        """What a reflector compares the source with."""
        return Known(self._kept.kube_system_uid, self._kept.versions.get(feed, 0))

    def note(self, feed: str, version: int, uid: str) -> None:
        """`feed` is about to tell `version` of the cluster `uid` ("": unknown)."""
        self._kept.versions[feed] = version
        self._kept.kube_system_uid = uid or self._kept.kube_system_uid
        self._changed.set()

    def went_back(self, seen: int) -> int:
        """The lineage for a feed of lineage `seen` whose source went back: one more, unless another
        feed has noticed the same before. It is on disk before anybody hears of it."""
        if self._kept.lineage <= seen:
            self._kept.lineage = max(seen + 1, int(self._wall()))
            self._kept.versions = {}
            self.save()
        return self._kept.lineage

    def keep_resources(self, resources: Mapping[str, Resource]) -> None:
        if self._kept.resources != resources:
            self._kept.resources = dict(resources)
            self._changed.set()

    def next_catalog(self) -> int:
        """A version for a change of the catalog: above all before, whatever the clock does."""
        self._kept.catalog = max(self._kept.catalog + 1, int(self._wall() * 1000))
        self.save()
        return self._kept.catalog

    async def run(self) -> None:
        """Saves what changes, in a thread: on a busy disk an fsync holds whoever waits for it."""
        while True:
            await self._changed.wait()
            await asyncio.to_thread(self._save, *self._as_it_is())
            await asyncio.sleep(SAVE_SECONDS)

    def save(self) -> None:
        """A disk that refuses stops nothing: only a later rollback may go unnoticed."""
        self._save(*self._as_it_is())

    def _as_it_is(self) -> tuple[int, bytes]:
        self._changed.clear()
        self._taken += 1
        return self._taken, msgspec.json.encode(self._kept)

    def _save(self, number: int, text: bytes) -> None:
        """What was taken earlier never replaces what was taken later."""
        try:
            with self._writing:
                if number > self._written:
                    self._write(text)
                    self._written = number
        except OSError as error:
            self._log.error("cannot save what the feeds know, {}: {}", self._path, error)

    def _write(self, text: bytes) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        partial = self._path.with_suffix(".partial")
        with partial.open("wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self._path)

    def _load(self) -> _File:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=_File)
        except FileNotFoundError:
            return _File(lineage=int(self._wall()))
        except (OSError, msgspec.DecodeError) as error:
            self._log.error("starts a new lineage: {} cannot be read: {}", self._path, error)
            return _File(lineage=int(self._wall()))
