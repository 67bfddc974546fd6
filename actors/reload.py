"""Hot reload: follows the site file and says what became of each edit."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from loguru import logger

from configs.reload import Applied, ConfigWatcher, Result
from configs.schema import AnySiteFile

Apply = Callable[[AnySiteFile], Awaitable[dict[str, str]]]


class Reloader:
    """`apply` hands a good edit to the site and returns who refused it, and why."""

    def __init__(self, path: Path, config: AnySiteFile, apply: Apply) -> None:
        self.problem = ""  # why the file is not what runs
        self.refused: dict[str, str] = {}
        self._path = path
        self._loaded = time.time()
        self._apply = apply
        self._config = config
        self._log = logger.bind(site=config.name, actor="config")

    async def run(self) -> None:
        async with ConfigWatcher(self._path, self._config) as edits:
            async for edit in edits:
                await self.take(edit)

    async def take(self, edit: Result) -> None:
        """Applies one edit, or says why not. A failure leaves the old settings in force."""
        if not isinstance(edit, Applied):
            self.problem = str(edit)
            self._log.error("{} is not applied: {}", self._path, edit)
            return
        try:
            self.refused = await self._apply(edit.config)
        except Exception as error:  # a composition root that cannot take it: all stays as it was
            self.problem = f"cannot be applied: {error}"
            self._log.opt(exception=error).error("{} {}", self._path, self.problem)
            return
        self.problem = ""
        self._loaded = time.time()
        self._log.info("applied: {}", edit)
        for who, why in self.refused.items():
            self._log.warning("{} keeps its old settings: {}", who, why)

    def status(self) -> dict[str, Any]:
        refusals = "; ".join(f"{who} refused: {why}" for who, why in self.refused.items())
        return {
            "path": str(self._path),
            "loaded": datetime.fromtimestamp(self._loaded, UTC).isoformat(timespec="seconds"),
            "error": self.problem or refusals,
        }
