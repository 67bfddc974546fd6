"""A mirror on the node's disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from bus.feed.types import Change, Item
from edge.mirror.follow import Step
from edge.mirror.scope import Scope

if TYPE_CHECKING:
    from loguru import Logger

    from edge.cache import ListQuery, View


class MirrorDisk(Protocol):
    """What is needed of `edge.cache.DiskCache`."""

    async def list(self, component: str, query: ListQuery) -> View | None: ...
    def replace(
        self, component: str, query: ListQuery, version: int, items: Mapping[str, Item],
        *, went_back: bool = False,
    ) -> None: ...  # fmt: skip
    def apply(
        self, component: str, query: ListQuery, changes: Sequence[Change], version: int
    ) -> bool: ...


class Keeper:
    """Of one mirror. What the disk missed it gets anew as a whole, at the next `care`."""

    def __init__(self, disk: MirrorDisk | None, scope: Scope, log: Logger) -> None:
        self._disk = disk
        self._scope = scope
        self._log = log
        self._is_frozen = False

    async def load(self) -> View | None:
        """Only what was this very scope's: it is whole, and its version is the API server's."""
        if self._disk is None:
            return None
        view = await self._disk.list(self._scope.component, self._scope.query)
        if view is None or view.query != self._scope.query:
            return None
        self._log.debug("{} on disk: version {}, {:.0f} s old", self._scope, view.version, view.age)
        return view

    def note(self, step: Step, items: Mapping[str, Item], version: int) -> None:
        if step.is_whole:
            self._write(items, version, step.went_back)
        else:
            self._apply(step.changes, version)

    def care(self, items: Mapping[str, Item], version: int) -> None:
        """Of a mirror that is current: the disk shall know that."""
        if self._is_frozen:
            self._write(items, version)
        else:
            self._apply((), version)

    def _apply(self, changes: Sequence[Change], version: int) -> None:
        if self._disk is not None and not self._is_frozen:
            is_kept = self._disk.apply(self._scope.component, self._scope.query, changes, version)
            self._is_frozen = not is_kept

    def _write(self, items: Mapping[str, Item], version: int, went_back: bool = False) -> None:
        if self._disk is None:
            return
        self._is_frozen = False
        component, query = self._scope.component, self._scope.query
        self._disk.replace(component, query, version, items, went_back=went_back)
