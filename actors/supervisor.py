"""Keeps one host up on a runtime: starts it, notices its death, starts a new one with backoff."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from loguru import logger

from actors.actor import Clock, SystemClock
from actors.backoff import Backoff, RestartPolicy
from actors.runner import SettingsRefused, State
from actors.runtimes.api import HostGone, HostHandle, Runtime
from actors.specs import ActorSpec, HostSpec

if TYPE_CHECKING:
    from loguru import Logger


class HostSupervisor:
    """One host. `spec` is what the next start gets; `on_change` hears of starts and deaths."""

    def __init__(
        self,
        runtime: Runtime,
        spec: HostSpec,
        on_change: Callable[[], None] = lambda: None,
        policy: RestartPolicy | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.spec = spec
        self.state = State.WAITING
        self.restarts = 0
        self.error = ""  # the last death, kept after it has healed
        self.refused: dict[str, str] = {}  # actor -> why it refused its last settings
        self.handle: HostHandle | None = None
        self._runtime = runtime
        self._on_change = on_change
        self._clock = clock or SystemClock()
        self._backoff = Backoff(policy or RestartPolicy())
        self._attempted = asyncio.Event()
        self._configuring = asyncio.Lock()
        self._life: asyncio.Task[None] | None = None
        self._log: Logger = logger.bind(site=spec.site, node=spec.node, actor=f"host {spec.name}")

    def __repr__(self) -> str:
        return f"<HostSupervisor {self.spec.name} {self.state} restarts={self.restarts}>"

    @property
    def pid(self) -> int | None:
        return self.handle.pid if self.handle is not None else None

    async def start(self) -> None:
        """Returns when the first start has succeeded or failed; goes on trying either way."""
        self._life = asyncio.create_task(self._run(), name=f"supervise:{self.spec.name}")
        # A bug of ours in there must not leave the caller waiting.
        attempted = asyncio.create_task(self._attempted.wait())
        try:
            await asyncio.wait({attempted, self._life}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            attempted.cancel()

    async def _run(self) -> None:
        while True:
            self._enter(State.STARTING)
            began = self._clock.monotonic()
            reason = await self._live()
            delay = self._backoff.failed(self._clock.monotonic() - began)
            self._note(reason, delay)
            await asyncio.sleep(delay)
            self.restarts += 1

    async def _live(self) -> str:
        """From start to death; returns the reason of that."""
        spec = self.spec
        try:
            handle = await self._runtime.start_host(spec)
        except HostGone as gone:
            return str(gone)
        except Exception as error:
            self._log.opt(exception=error).error("cannot be started: {!r}", error)
            return repr(error)
        self.handle = handle
        self._enter(State.RUNNING)
        self._log.info("runs, pid {}", handle.pid)
        try:
            await self._catch_up(spec)
            return await handle.wait_exit()
        finally:
            if self.state is State.RUNNING:  # not when we are stopped: then it still lives
                self.handle = None
                await handle.stop(0.0)

    def _note(self, reason: str, delay: float) -> None:
        self.error = reason
        self._enter(State.CRASH_LOOPING if self._backoff.is_looping else State.BACKOFF)
        self._log.error(
            "died: {} (failure {} in a row); starts anew in {:.1f} s",
            reason,
            self._backoff.failures,
            delay,
        )

    def _enter(self, state: State) -> None:
        self.state = state
        if state is not State.STARTING:
            self._attempted.set()
        self._on_change()

    async def stop(self, deadline: float) -> None:
        """Orderly within `deadline` seconds, by force beyond. Idempotent."""
        if self.state is State.STOPPED:
            return
        self.state = State.STOPPING
        if self._life is not None:
            self._life.cancel()
            await asyncio.wait({self._life})
        if self.handle is not None:
            await self.handle.stop(deadline)
            self.handle = None
        self._enter(State.STOPPED)

    # -- settings

    async def configure(self, spec: HostSpec) -> dict[str, str]:
        """Hands each actor whose settings differ its new ones; returns who refused, and why.

        An actor that refuses keeps its old settings, also at a restart of the host.
        """
        async with self._configuring:
            if spec.log != self.spec.log:
                await self._set_log(spec)
            taken = [await self._configured(old, spec) for old in self.spec.actors]
            self.spec = replace(self.spec, actors=tuple(taken), log=spec.log)
            return dict(self.refused)

    async def _set_log(self, spec: HostSpec) -> None:
        if self.handle is not None:
            try:
                await self.handle.set_log(spec.log)
            except HostGone:  # the next start takes it from the spec
                return

    async def _configured(self, old: ActorSpec, spec: HostSpec) -> ActorSpec:
        """The actor's spec after it was offered what `spec` says."""
        new = next((actor for actor in spec.actors if actor.name == old.name), old)
        if new.settings == old.settings:
            self.refused.pop(old.name, None)
            return old
        try:
            if self.handle is not None:
                await self.handle.configure(new.name, new.settings)
        except SettingsRefused as refusal:
            self.refused[old.name] = str(refusal)
            return old
        except HostGone as gone:  # the next start takes them from the spec
            self._log.debug("settings of {} wait for the next start: {}", new.name, gone)
        self.refused.pop(old.name, None)
        return new

    async def _catch_up(self, started: HostSpec) -> None:
        """Settings that came while the host started with those of `started`."""
        if self.spec is not started:
            wanted, self.spec = self.spec, started
            await self.configure(wanted)

    # -- picture

    async def status(self) -> dict[str, Any]:
        """The host's own picture, or what is known without it."""
        picture = await self._picture()
        return {
            **picture,
            "name": self.spec.name,
            "state": picture.get("state", str(self._shown())),
            "ready": bool(picture.get("ready")) and self.state is State.RUNNING,
            "pid": self.pid,
            "restarts": self.restarts,
            "error": self.error,
        }

    async def _picture(self) -> dict[str, Any]:
        if self.handle is None or self.state is not State.RUNNING:
            return {}
        try:
            return await self.handle.status()
        except HostGone as gone:
            return {"state": "silent", "silence": str(gone)}

    def _shown(self) -> State:
        trying = self.state in (State.STARTING, State.BACKOFF)
        return State.CRASH_LOOPING if trying and self._backoff.is_looping else self.state

    async def metrics(self) -> str:
        if self.handle is None:
            return ""
        try:
            return await self.handle.metrics()
        except HostGone:
            return ""
