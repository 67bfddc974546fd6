"""Follows a site file while its site runs: good live edits go through, nothing else does."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from configs.diff import Diff, diff
from configs.errors import ConfigError
from configs.load import load
from configs.schema import AnySiteFile
from configs.watch import Watch


@dataclass(frozen=True)
class Applied:
    """The file is good and is now `config`. No changes: it is back to what runs."""

    config: AnySiteFile
    changes: Diff

    def __str__(self) -> str:
        return "; ".join(map(str, self.changes.live)) or "the file is good again, nothing changed"


@dataclass(frozen=True)
class Refused:
    """The file is good but changes keys that need a restart; none of the edit is applied."""

    config: AnySiteFile  # what the file says; the running one stays
    changes: Diff

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(change.key for change in self.changes.restart)

    def __str__(self) -> str:
        reason = f"needs a restart: {'; '.join(map(str, self.changes.restart))}"
        held = ", ".join(change.key for change in self.changes.live)
        return f"{reason} (and so not applied either: {held})" if held else reason


@dataclass(frozen=True)
class Broken:
    """The file is not valid, or gone; the last good config stays."""

    error: ConfigError

    def __str__(self) -> str:
        return str(self.error)


Result = Applied | Refused | Broken


class Follower:
    """The decision, without files: what each look at the file means for the running config."""

    def __init__(self, current: AnySiteFile) -> None:
        self.current = current
        self.problem: Broken | Refused | None = None

    def see(self, found: AnySiteFile | ConfigError) -> Result | None:
        """What to tell; None if it was told already."""
        result = self._judge(found)
        if isinstance(result, Applied):
            is_news = bool(result.changes) or self.problem is not None
            self.current, self.problem = result.config, None
        else:
            is_news = str(result) != str(self.problem)
            self.problem = result
        return result if is_news else None

    def _judge(self, found: AnySiteFile | ConfigError) -> Result:
        if isinstance(found, ConfigError):
            return Broken(found)
        changes = diff(self.current, found)
        return Refused(found, changes) if changes.restart else Applied(found, changes)


class ConfigWatcher:
    """An endless async iterator of what edits of `path` mean, seen well within a second.

        async with ConfigWatcher(path, config) as edits:
            async for result in edits: ...

    `current` is the config the site runs with (by default read from the file: ConfigError if it is
    not valid). A broken file is looked at again before that is told: it may be half-written.
    """

    def __init__(
        self, path: Path | str, current: AnySiteFile | None = None, *, settle: float = 0.2
    ) -> None:
        self.path = Path(path)
        self._settle = settle  # seconds a broken file is given to be completed
        self._follower = Follower(current or load(self.path))
        self._watch: Watch | None = None

    @property
    def current(self) -> AnySiteFile:
        """The last good config."""
        return self._follower.current

    @property
    def problem(self) -> Broken | Refused | None:
        """Why the file is not what runs; None while it is."""
        return self._follower.problem

    async def __aenter__(self) -> ConfigWatcher:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stops watching; idempotent."""
        watch, self._watch = self._watch, None
        if watch:
            await watch.aclose()

    def __aiter__(self) -> ConfigWatcher:
        return self

    async def __anext__(self) -> Result:
        while True:
            if self._watch is None:
                self._watch = await Watch(self.path).__aenter__()
            elif not await self._watch.changed():
                raise StopAsyncIteration
            result = self._follower.see(await self._look(self._watch))
            if result:
                return result

    async def _look(self, watch: Watch) -> AnySiteFile | ConfigError:
        found = await _try_load(self.path)
        deadline = asyncio.get_running_loop().time() + self._settle
        while isinstance(found, ConfigError) and await _changed_before(deadline, watch):
            found = await _try_load(self.path)
        return found


async def _changed_before(deadline: float, watch: Watch) -> bool:
    try:
        async with asyncio.timeout_at(deadline):
            return await watch.changed()
    except TimeoutError:
        return False


async def _try_load(path: Path) -> AnySiteFile | ConfigError:
    try:
        return await asyncio.to_thread(load, path)
    except ConfigError as error:
        return error
