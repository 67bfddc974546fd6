"""The runtime of larger sites: each host is one Ray actor, that is one process.

Ray starts, places and watches; nothing on a data path is a Ray call. We restart ourselves (see
`actors.supervisor`), so that both runtimes restart alike: a host's actor has no restarts of Ray's.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil
from loguru import logger

from actors.host import Connect, connect
from actors.log import wants_colour
from actors.runner import SettingsRefused
from actors.runtimes.api import HostGone
from actors.runtimes.ray_head import SETTINGS, RayHead, process_token
from actors.runtimes.ray_logs import LogSink, to_own_log
from actors.specs import HostSpec, LogSettings

CALL_SECONDS = 3.0  # a host that is well answers in milliseconds; probes wait 5 s
CONNECT_SECONDS = 60.0
END_SECONDS = 2.0  # from a host's orderly stop to the end of its process
LAST_WORDS = 2000  # characters of a dead worker's stderr worth logging

_log = logger.bind(actor="runtime")


class RayHandle:
    def __init__(self, spec: HostSpec, worker: Any, lost: asyncio.Event, logs: Path) -> None:
        self.name = spec.name
        self.pid = 0
        self._worker = worker
        self._lost = lost  # set when Ray as a whole has died
        self._logs = logs  # directory of Ray's own log files
        self._stopped = False
        self._process: psutil.Process | None = None  # knows its pid from one used again later
        self._watch: asyncio.Task[str] | None = None

    async def start(self) -> None:
        self.pid = await self._call(self._worker.pid, timeout=CONNECT_SECONDS)
        self._process = psutil.Process(self.pid)
        self._watch = asyncio.create_task(self._watched(), name=f"ray:{self.name}:watch")
        start = asyncio.create_task(self._call(self._worker.start, timeout=None))
        try:
            await asyncio.wait({start, self._watch}, return_when=asyncio.FIRST_COMPLETED)
            if not start.done():
                raise HostGone(f"host {self.name}: {self._watch.result()}")
            start.result()
        finally:
            start.cancel()

    async def status(self) -> dict[str, Any]:
        status: dict[str, Any] = await self._call(self._worker.status)
        return status

    async def metrics(self) -> str:
        return str(await self._call(self._worker.metrics))

    async def configure(self, actor: str, settings: Any) -> None:
        refusal = await self._call(self._worker.configure, actor, settings, timeout=10.0)
        if refusal:
            raise SettingsRefused(refusal)

    async def set_log(self, settings: LogSettings) -> None:
        await self._call(self._worker.set_log, settings)

    async def stop(self, deadline: float) -> None:
        if self._stopped:
            return
        self._stopped = True
        try:
            await self._call(self._worker.stop, deadline, timeout=deadline + 1.0)
            # The only way to end a worker that runs its exit hooks.
            await self._call(self._worker.__ray_terminate__, timeout=END_SECONDS)
        except HostGone as gone:
            _log.debug("host {}: {}", self.name, gone)
        finally:
            if self._watch is not None:
                self._watch.cancel()
            if self._process and not await asyncio.to_thread(end_process, self._process):
                _log.error("host {}: process {} survived SIGKILL", self.name, self.pid)

    @property
    def is_over(self) -> bool:
        return self._stopped

    async def wait_exit(self) -> str:
        assert self._watch is not None
        return await asyncio.shield(self._watch)

    async def _watched(self) -> str:
        """Returns the reason once the worker has died."""
        from ray.exceptions import RayActorError

        async def died() -> str:
            try:
                await self._worker.stopped.remote()
            except RayActorError as error:
                return _reason(error)
            return "it was stopped"

        death = asyncio.create_task(died(), name=f"ray:{self.name}:death")
        lost = asyncio.create_task(self._lost.wait(), name=f"ray:{self.name}:lost")
        try:
            await asyncio.wait({death, lost}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            lost.cancel()
            death.cancel()
        return (death.result() if death.done() else "Ray has died") + self._last_words()

    def _last_words(self) -> str:
        """What the dead process wrote to its stderr: a fatal signal's trace, for one."""
        for path in self._logs.glob(f"worker-*-{self.pid}.err"):
            with contextlib.suppress(OSError):
                text = path.read_text(errors="replace")[-LAST_WORDS:].strip()
                return f"; its last words: {text}" if text else ""
        return ""

    async def _call(
        self, method: Any, *arguments: Any, timeout: float | None = CALL_SECONDS
    ) -> Any:
        from ray.exceptions import RayActorError

        if self._lost.is_set():
            raise HostGone(f"host {self.name}: Ray has died")
        try:
            return await asyncio.wait_for(_answer(method.remote(*arguments)), timeout)
        except RayActorError as error:
            raise HostGone(f"host {self.name}: {_reason(error)}") from error
        except TimeoutError as error:
            raise HostGone(f"host {self.name} did not answer within {timeout:.0f} s") from error


def end_process(process: psutil.Process) -> bool:
    """Waits a moment for a process to end, then kills it. False if even that did not help."""
    _, alive = psutil.wait_procs([process], timeout=END_SECONDS)
    if alive:
        process.kill()
        _, alive = psutil.wait_procs([process], timeout=END_SECONDS)
    return not alive


async def _answer(reference: Any) -> Any:
    return await reference


def _reason(error: Exception) -> str:
    """Ray's texts have twenty lines; the first says it."""
    return str(error).strip().split("\n", 1)[0]


class RayRuntime:
    name = "ray"

    def __init__(
        self,
        connect: Connect = connect,
        environment: Mapping[str, str] | None = None,
        write_logs: Callable[[bytes], None] = to_own_log,
    ) -> None:
        self._connect = connect
        self._environment = dict(environment or {})
        self._write_logs = write_logs
        self._head: RayHead | None = None
        self._sink: LogSink | None = None
        self._lost = asyncio.Event()
        self._starting = asyncio.Lock()
        self._handles: set[RayHandle] = set()

    async def start(self) -> None:
        """Also brings up a new Ray after the old one died. Raises HostGone if that fails."""
        async with self._starting:
            if self._head is None or not self._head.is_alive:
                await self._bring_up()

    async def _bring_up(self) -> None:
        loop, lost = asyncio.get_running_loop(), asyncio.Event()

        def on_exit(reason: str) -> None:
            _log.error("{}: every host is lost and starts anew", reason)
            loop.call_soon_threadsafe(lost.set)

        began = loop.time()
        old = self._head, self._sink
        head = self._head = RayHead(self._environment, on_exit)
        self._sink = LogSink(head.directory / "log", self._write_logs)
        self._lost = lost
        # Letting go of a Ray that died takes seconds; meanwhile the new one comes up.
        connecting = asyncio.create_task(_replace(old, head), name="ray:connect")
        try:
            await asyncio.shield(connecting)
        except BaseException:
            await asyncio.shield(self._abandon(connecting))
            raise
        _log.info("Ray is up at {} after {:.1f} s", head.address, loop.time() - began)

    async def _abandon(self, connecting: asyncio.Task[None]) -> None:
        """After a failed or cancelled start: nothing of it stays."""
        if self._head is not None and not self._head.address:
            await asyncio.to_thread(self._head.stop)  # it need not come up any more
        # To break off `ray.init` halfway would leave its thread trying for 20 s.
        await asyncio.wait({connecting})
        if not connecting.cancelled() and (error := connecting.exception()):
            _log.debug("the start that was given up: {!r}", error)
        await self._let_go()

    async def _let_go(self) -> None:
        head, self._head = self._head, None
        sink, self._sink = self._sink, None
        await _discard((head, sink))

    async def start_host(self, spec: HostSpec) -> RayHandle:
        await self.start()
        assert self._head is not None
        assert self._sink is not None
        self._handles = {handle for handle in self._handles if not handle.is_over}
        worker = await asyncio.to_thread(_create, spec, self._connect, self._sink.path)
        logs = self._head.directory / "session_latest" / "logs"
        handle = RayHandle(spec, worker, self._lost, logs)
        self._handles.add(handle)
        try:
            await handle.start()
        except BaseException:
            self._handles.discard(handle)
            await asyncio.shield(handle.stop(0.0))
            raise
        return handle

    async def stop(self, deadline: float) -> None:
        await asyncio.gather(*(handle.stop(deadline) for handle in self._handles))
        self._handles.clear()
        await self._let_go()

    def kill(self) -> None:
        if self._head is not None:
            self._head.kill()


Held = tuple[RayHead | None, LogSink | None]


async def _replace(old: Held, head: RayHead) -> None:
    letting_go = asyncio.create_task(_discard(old), name="ray:discard")
    try:
        await asyncio.to_thread(head.start)
    finally:
        await letting_go
    await asyncio.to_thread(_connect, head.address)


async def _discard(held: Held) -> None:
    """Lets go of a Ray, dead or alive; its log lines come through to the last."""
    head, sink = held
    if head is not None:
        await asyncio.to_thread(_disconnect)
        await asyncio.to_thread(head.stop)
    if sink is not None:
        await asyncio.to_thread(sink.close)


def _connect(address: str) -> None:
    os.environ.update(SETTINGS)  # before the import: Ray reads some of them only then
    process_token()
    import ray

    # Ray warns that it cannot set a SIGTERM handler in a thread: signals are ours anyway.
    logging.getLogger("ray").setLevel(logging.ERROR)
    # It prints every death of a worker to stdout, where programs read our JSON. We log deaths.
    ray._private.worker.print_to_stdstream = _to_debug_log
    ray.init(address=address, namespace="atoll", log_to_driver=False, configure_logging=False)


def _to_debug_log(data: Mapping[str, Any], *_: Any, **__: Any) -> None:
    _log.debug("Ray says: {}", " / ".join(map(str, data.get("lines", ()))))


def _disconnect() -> None:
    import ray

    ray.shutdown()


def _create(spec: HostSpec, connect: Connect, log_socket: Path) -> Any:
    import ray

    from actors.runtimes.ray_worker import HostWorker

    remote = ray.remote(num_cpus=0, max_restarts=0)(HostWorker)
    return remote.remote(spec, connect, log_socket, wants_colour())
