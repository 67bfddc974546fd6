"""What runs in a Ray worker process: one host, and its log lines on their way to the site."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from actors import log
from actors.host import Connect, Host
from actors.runner import SettingsRefused
from actors.runtimes.ray_logs import LogSender
from actors.specs import HostSpec, LogSettings


class HostWorker:
    """A Ray async actor: its methods run in one event loop (uvloop, where Ray finds it)."""

    def __init__(self, spec: HostSpec, connect: Connect, log_socket: Path, colour: bool) -> None:
        sender = LogSender(log_socket)
        log.setup(spec.log, sender.write, site=spec.site, node=spec.node, colour=colour)
        self._host = Host(spec, connect)
        self._stopped = asyncio.Event()

    async def start(self) -> int:
        """Returns the pid when all actors have had their turn."""
        await self._host.start()
        return os.getpid()

    async def pid(self) -> int:
        return os.getpid()

    async def status(self) -> dict[str, Any]:
        return self._host.status()

    async def metrics(self) -> str:
        return self._host.metrics()

    async def configure(self, actor: str, settings: Any) -> str:
        """Empty, or why the settings were refused."""
        try:
            await self._host.configure(actor, settings)
        except SettingsRefused as refusal:
            return str(refusal)
        return ""

    async def set_log(self, settings: LogSettings) -> None:
        log.apply(settings)

    async def stop(self, deadline: float) -> None:
        try:
            await self._host.stop(deadline)
        finally:
            self._stopped.set()

    async def stopped(self) -> None:
        """Answers when `stop` has ended. That the call fails tells the site of our death."""
        await self._stopped.wait()
