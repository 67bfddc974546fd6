"""One actor's life inside its host: start, run, fail, back off, start anew; new settings; stop."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry

from actors.actor import Actor, Clock, Context, SystemClock
from actors.backoff import Backoff, RestartPolicy
from actors.specs import ActorSpec
from actors.tasks import OwnedTasks, bounded

if TYPE_CHECKING:
    from loguru import Logger

CONFIG_SECONDS = 5.0  # an actor may not hold up a reload longer than this
FAILED_STOP_SECONDS = 3.0  # what a failed actor gets to let go, before it starts anew
CANCEL_SECONDS = 1.0  # what tasks get to end once cancelled

MakeContext = Callable[[OwnedTasks, CollectorRegistry], Context]


class State(StrEnum):
    WAITING = "waiting"  # its turn to start has not come
    STARTING = "starting"
    RUNNING = "running"
    BACKOFF = "backoff"  # failed; starts anew soon
    CRASH_LOOPING = "crash-looping"  # the same, several times in a row
    STOPPING = "stopping"
    STOPPED = "stopped"


class SettingsRefused(Exception):
    """The actor goes on with its old settings; the text says which actor, and why."""


def describe(error: BaseException) -> str:
    """One line. A group of one (a TaskGroup's, mostly) says nothing: what is in it does."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"


def load(factory: str) -> type[Actor[Any]]:
    """Imports "package.module:Class"."""
    module, _, name = factory.partition(":")
    found = getattr(importlib.import_module(module), name)
    if not (isinstance(found, type) and issubclass(found, Actor)):
        raise TypeError(f"{factory} is no Actor class")
    return found


class ActorRunner:
    """Keeps one actor running until `stop`. Its actor is made anew at every start."""

    def __init__(
        self,
        spec: ActorSpec,
        make_context: MakeContext,
        log: Logger,
        policy: RestartPolicy | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.name = spec.name
        self.state = State.WAITING
        self.settings = spec.settings
        self.restarts = 0
        self.error = ""  # the last failure, kept after it has healed
        self.config_error = ""  # why the last settings were refused
        self.actor: Actor[Any] | None = None  # once it has started, until it fails or stops
        self.registry = CollectorRegistry()
        self._factory = spec.factory
        self._make_context = make_context
        self._log = log
        self._clock = clock or SystemClock()
        self._backoff = Backoff(policy or RestartPolicy())
        self._since = self._clock.wall()
        self._began = self._clock.monotonic()
        self._attempted = asyncio.Event()
        self._applying = asyncio.Lock()
        self._failure: asyncio.Future[BaseException] | None = None
        self._tasks: OwnedTasks | None = None
        self._unfinished: Actor[Any] | None = None  # what still needs its on_stop
        self._starting: asyncio.Task[None] | None = None
        self._life: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<ActorRunner {self.name} {self.state} restarts={self.restarts}>"

    # -- life

    def start(self) -> None:
        self._life = asyncio.create_task(self._run(), name=f"{self.name}:life")

    async def attempted(self, patience: float) -> None:
        """Returns when the first start has succeeded or failed, or after `patience` seconds."""
        try:
            await asyncio.wait_for(self._attempted.wait(), patience)
        except TimeoutError:
            self._log.info("still starting after {:.0f} s; the next one goes ahead", patience)

    async def _run(self) -> None:
        while True:
            self._began = self._clock.monotonic()
            error = await self._live()
            delay = self._note(error)
            await self._dismantle(FAILED_STOP_SECONDS)
            self._attempted.set()
            await asyncio.sleep(delay)
            self.restarts += 1

    async def _live(self) -> BaseException:
        """From making the actor to its failure, which is returned."""
        self._enter(State.STARTING)
        self._failure = asyncio.get_running_loop().create_future()
        try:
            actor = self._make()
        except Exception as error:
            self.registry = CollectorRegistry()  # a half-made actor's figures cannot be read
            self._log.opt(exception=error).error("cannot be made: {!r}", error)
            return error
        self._unfinished = actor
        assert self._tasks is not None
        self._starting = self._tasks.spawn("on_start", self._start(actor))
        return await self._failure

    def _make(self) -> Actor[Any]:
        # A new registry each time: metrics of the same names are registered again.
        self.registry = CollectorRegistry()
        self._tasks = OwnedTasks(self.name, self._log, self._failed)
        return load(self._factory)(self._make_context(self._tasks, self.registry), self.settings)

    async def _start(self, actor: Actor[Any]) -> None:
        given = self.settings
        try:
            await actor.on_start()
        except asyncio.CancelledError as error:
            if self.state is State.STARTING:
                raise RuntimeError("on_start was cancelled from within") from error
            raise
        if self.state is not State.STARTING:  # failed or stopped, and deaf to its cancellation
            return
        self.actor = actor
        self._enter(State.RUNNING)
        self._attempted.set()
        self._log.info("started in {:.2f} s", self._clock.monotonic() - self._began)
        await self._catch_up(actor, given)

    def _failed(self, _task: str, error: BaseException) -> None:
        if self._failure is not None and not self._failure.done():
            self._failure.set_result(error)
            # At once, not when `_run` wakes: until then `on_start` might call itself running.
            self._enter(State.BACKOFF)

    def _note(self, error: BaseException) -> float:
        """Records a failure; returns the delay before the next start."""
        self.actor = None
        self.error = describe(error)
        delay = self._backoff.failed(self._clock.monotonic() - self._began)
        self._enter(State.CRASH_LOOPING if self._backoff.is_looping else State.BACKOFF)
        self._log.warning(
            "{} (failure {} in a row); starts anew in {:.1f} s",
            self.state,
            self._backoff.failures,
            delay,
        )
        return delay

    async def _dismantle(self, seconds: float) -> None:
        """Ends what is left: `on_start` if it still runs, then `on_stop`, then the tasks."""
        self.actor = None
        if self._starting is not None and not self._starting.done():
            self._starting.cancel()
            await asyncio.wait({self._starting}, timeout=CANCEL_SECONDS)
        if self._unfinished is not None:
            await bounded(f"{self.name}:on_stop", self._unfinished.on_stop(), seconds, self._log)
            self._unfinished = None
        if self._tasks is not None:
            await self._tasks.close(CANCEL_SECONDS)

    async def stop(self, seconds: float) -> None:
        """Ends the actor; `on_stop` gets `seconds`. Idempotent."""
        if self.state is State.STOPPED:
            return
        self._enter(State.STOPPING)
        self._attempted.set()
        if self._life is not None:
            self._life.cancel()
            await asyncio.wait({self._life})
        began = self._clock.monotonic()
        await self._dismantle(seconds)
        self._enter(State.STOPPED)
        self._log.info("stopped in {:.2f} s", self._clock.monotonic() - began)

    def kill(self) -> None:
        """Ends it without `on_stop`: what a dead process would do."""
        self._enter(State.STOPPED)
        self.actor = self._unfinished = None
        for task in (self._life, self._starting):
            if task is not None:
                task.cancel()
        if self._tasks is not None:
            self._tasks.cancel()

    def _enter(self, state: State) -> None:
        self.state = state
        self._since = self._clock.wall()

    # -- settings

    async def configure(self, settings: Any) -> None:
        """Hands new settings to the actor. One that does not run gets them at its next start.

        Raises SettingsRefused; the old ones stay then.
        """
        async with self._applying:
            if settings == self.settings:
                return
            if self.actor is not None:
                await self._apply(self.actor, settings)
            self.settings = settings
            self.config_error = ""

    async def _apply(self, actor: Actor[Any], settings: Any) -> None:
        try:
            await asyncio.wait_for(actor.on_config(settings), CONFIG_SECONDS)
        except Exception as error:
            reason = (
                f"took over {CONFIG_SECONDS:.0f} s" if isinstance(error, TimeoutError) else error
            )
            self.config_error = f"{self.name}: {reason}"
            self._log.warning("refuses the new settings and keeps the old: {}", reason)
            raise SettingsRefused(self.config_error) from error
        self._log.info("took new settings")

    async def _catch_up(self, actor: Actor[Any], given: Any) -> None:
        """Applies settings that came while `on_start` ran with the `given` ones."""
        async with self._applying:
            if self.settings == given:
                return
            try:
                await self._apply(actor, self.settings)
            except SettingsRefused:
                self.settings = given

    # -- picture

    def status(self) -> dict[str, Any]:
        return {
            "state": str(self._shown()),
            "since": self._since,
            "restarts": self.restarts,
            "error": self.error,
            "config_error": self.config_error,
            "status": self._own_status(),
        }

    def _shown(self) -> State:
        """A crash loop stays visible while the next attempt runs."""
        trying = self.state in (State.STARTING, State.BACKOFF)
        return State.CRASH_LOOPING if trying and self._backoff.is_looping else self.state

    def _own_status(self) -> dict[str, Any]:
        if self.actor is None:
            return {}
        try:
            return self.actor.status()
        except Exception as error:  # a picture is never worth a failure
            self._log.opt(exception=error).warning("cannot tell its status: {!r}", error)
            return {"error": repr(error)}
