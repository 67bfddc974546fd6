"""A program in a process of its own, in a machine of the lab: what it says, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections import deque
from pathlib import Path

import psutil

from tests.support.netns import Machine, die_with_us

REPOSITORY = Path(__file__).parents[2]
_KEPT = 4000  # lines
_LONGEST = 1 << 20  # bytes of a line


class Process:
    """Its standard error is read line by line, so `says` needs no polling. Dies when we do."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self.lines: deque[str] = deque(maxlen=_KEPT)
        self.said = 0  # lines so far
        self._process = process
        self._more = asyncio.Event()
        self._ended = asyncio.Event()
        self._reading = asyncio.create_task(self._read(), name=f"read {name}")

    @classmethod
    async def start(cls, name: str, machine: Machine | None, *command: str) -> Process:
        """None: on this machine as it is."""
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            limit=_LONGEST,
            preexec_fn=machine.enter if machine else die_with_us,
        )
        return cls(name, process)

    @classmethod
    async def python(cls, name: str, machine: Machine, *arguments: str) -> Process:
        return await cls.start(name, machine, sys.executable, *arguments)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.returncode is None

    async def says(self, text: str, timeout: float = 30.0, since: int = 0) -> str:
        """The first line with `text` from line number `since` on."""
        try:
            async with asyncio.timeout(timeout):
                while True:
                    for line in self.since(since):
                        if text in line:
                            return line
                    if self._ended.is_set():
                        raise AssertionError(f"{self.name} ended without {text!r}:\n{self.tail()}")
                    self._more.clear()
                    await self._more.wait()
        except TimeoutError:
            raise AssertionError(
                f"{self.name}: no {text!r} in {timeout} s:\n{self.tail()}"
            ) from None

    def since(self, number: int) -> list[str]:
        """The lines from line `number` on, as far as they are kept."""
        lost = self.said - len(self.lines)
        return list(self.lines)[max(0, number - lost) :]

    def tail(self, count: int = 40) -> str:
        return "\n".join(f"  {self.name}| {line}" for line in list(self.lines)[-count:])

    def tell(self, *lines: str) -> None:
        """To its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write("".join(f"{line}\n" for line in lines).encode())

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def kill(self) -> None:
        """-9, and the proof that it is gone."""
        self.send(signal.SIGKILL)
        await self.ended(5.0)
        assert not psutil.pid_exists(self.pid), f"{self.name} is still there"

    async def ended(self, timeout: float) -> int:
        """The exit code, once it has ended."""
        try:
            return await asyncio.wait_for(self._process.wait(), timeout)
        except TimeoutError:
            raise AssertionError(f"{self.name} runs on:\n{self.tail()}") from None

    async def stop(self, timeout: float = 20.0) -> int:
        """In order: SIGTERM and end of its standard input. Idempotent."""
        if self.is_running:
            self.send(signal.SIGTERM)
        try:
            return await self.ended(timeout)
        finally:
            await self.close()

    async def close(self) -> None:
        """By force if it still runs; never raises."""
        if self.is_running:
            with contextlib.suppress(ProcessLookupError):
                self.send(signal.SIGKILL)
            await self._process.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._reading

    async def _read(self) -> None:
        assert self._process.stderr is not None
        async for raw in self._process.stderr:
            self.lines.append(raw.decode(errors="replace").rstrip("\n"))
            self.said += 1
            self._more.set()
        self._ended.set()
        self._more.set()
