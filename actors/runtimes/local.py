"""The runtime for small devices and quick tests: all hosts in this process and event loop."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from actors.host import Connect, Host, connect
from actors.runtimes.api import HostGone
from actors.specs import HostSpec, LogSettings


class LocalHandle:
    def __init__(self, host: Host) -> None:
        self.name = host.spec.name
        self.pid = os.getpid()
        self._host = host
        self._died = asyncio.Event()
        self._reason = ""

    async def status(self) -> dict[str, Any]:
        return self._alive().status()

    async def metrics(self) -> str:
        return self._alive().metrics()

    async def configure(self, actor: str, settings: Any) -> None:
        await self._alive().configure(actor, settings)

    async def set_log(self, settings: LogSettings) -> None:
        """The process's own log: whoever owns the process has set it already."""

    async def stop(self, deadline: float) -> None:
        await self._host.stop(deadline)
        self._end("stopped")

    async def wait_exit(self) -> str:
        await self._died.wait()
        return self._reason

    def kill(self, reason: str = "killed") -> None:
        """What kill -9 is to a process: no goodbye."""
        self._host.kill()
        self._end(reason)

    def _end(self, reason: str) -> None:
        self._reason = self._reason or reason
        self._died.set()

    def _alive(self) -> Host:
        if self._died.is_set():
            raise HostGone(f"host {self.name}: {self._reason}")
        return self._host


class LocalRuntime:
    name = "local"

    def __init__(self, connect: Connect = connect) -> None:
        self._connect = connect
        self._handles: set[LocalHandle] = set()

    async def start(self) -> None:
        """Nothing to make ready."""

    async def start_host(self, spec: HostSpec) -> LocalHandle:
        host = Host(spec, self._connect)
        await host.start()
        handle = LocalHandle(host)
        self._handles.add(handle)
        return handle

    async def stop(self, deadline: float) -> None:
        while self._handles:
            await self._handles.pop().stop(deadline)

    def kill(self) -> None:
        while self._handles:
            self._handles.pop().kill()
