"""Keeps one nats-server running: guarded, restarted when it crashes, stopped in order."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import random
import signal
import sys
from collections.abc import Callable

import bus.guard
from bus.errors import ServerFailed
from bus.server.binary import nats_server
from bus.server.config import CONFIG, USERS, config_text, users_text
from bus.server.disk import DiskWatch
from bus.server.files import (
    PORT,
    STDERR,
    announced_port,
    forget_run,
    last_port,
    last_words,
    running_pid,
)
from bus.server.settings import ServerSettings, ServerUser
from bus.server.users import reload, write_users

log = logging.getLogger(__name__)

START_SECONDS = 20.0  # to accept connections; a large JetStream store is read first
STOP_SECONDS = 4.0  # after SIGTERM; then SIGKILL by the guard
_BACKOFF = (0.05, 5.0)  # seconds before a restart: first, largest
_CALM = 10.0  # seconds up after which a crash counts as the first again
_LOOK = 0.01  # seconds between looks for a port that opens; nothing tells us
_INFO_SECONDS = 1.0
_DISK_LOOK = 2.0  # seconds between looks at what the server says of its disk
_DISK_PAUSES = (5.0, 300.0)  # seconds between restarts that shall make it write again
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}
_ANY_PORT = -1

ExitListener = Callable[[str], None]


class EmbeddedServer:
    """Started from the wheel; listens on loopback unless told otherwise.

    It dies with us, however we die (see `bus.guard`). The port is the same at every restart, also
    of the whole site if it is still free.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        self.restarts = 0
        self.trouble = ""  # why it cannot write; it serves all the same
        self._port = 0
        self._guard: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None] | None = None
        self._disk: asyncio.Task[None] | None = None
        self._is_wanted = False  # its next end
        self._is_up = False
        self._listeners: list[ExitListener] = []

    def __repr__(self) -> str:
        return f"<EmbeddedServer {self.settings.name} {'up' if self._is_up else 'down'} {self.url}>"

    @property
    def url(self) -> str:
        """For clients of this machine; valid after `start`."""
        scheme = "tls" if self.settings.certificate is not None else "nats"
        host = _EVERYWHERE.get(self.settings.host, self.settings.host)
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self._port}"

    @property
    def pid(self) -> int | None:
        """nats-server's own; None while it is down."""
        return running_pid(self.settings.store)

    @property
    def is_up(self) -> bool:
        """Whether it accepts connections, as far as we know."""
        return self._is_up

    def on_exit(self, listener: ExitListener) -> None:
        """Calls `listener(last words)` each time the server ends unasked."""
        self._listeners.append(listener)

    # -- start and stop ---------------------------------------------------------------------------

    async def start(self) -> None:
        """Returns when it accepts connections. Raises ServerFailed with its last log lines."""
        assert self._watch is None, "stopped before it is started again"
        self.settings.store.mkdir(parents=True, exist_ok=True)
        (self.settings.store / USERS).write_text(users_text(self.settings.users))
        if self.settings.port:
            await self._launch(self.settings.port)
        else:
            await self._launch_where_free()
        (self.settings.store / PORT).write_text(str(self._port))
        self._watch = asyncio.create_task(self._keep_up(), name=f"bus {self.settings.name}")
        self._disk = asyncio.create_task(
            self._keep_writing(), name=f"bus {self.settings.name} disk"
        )

    async def stop(self) -> None:
        """In order; by force after a deadline. Idempotent."""
        tasks = [task for task in (self._disk, self._watch) if task is not None]
        self._disk = self._watch = None
        for task in tasks:
            task.cancel()
            await asyncio.wait([task])
        await self._end()

    async def set_users(self, users: tuple[ServerUser, ...]) -> None:
        """Takes effect within moments; who is no longer a user is hung up on.

        Raises ServerFailed and keeps the old ones if the server finds them wrong.
        """
        if await asyncio.to_thread(write_users, self.settings.store, users):
            reload(self.settings.store)

    async def _launch_where_free(self) -> None:
        """Where it was before, if that is free; else wherever the system says."""
        before = last_port(self.settings.store)
        if before:
            try:
                return await self._launch(before)
            except ServerFailed as error:
                if "address already in use" not in str(error):
                    raise
                log.warning("bus %s: port %d is taken meanwhile", self.settings.name, before)
        return await self._launch(_ANY_PORT)

    async def _launch(self, port: int) -> None:
        store = self.settings.store
        forget_run(store)
        (store / CONFIG).write_text(config_text(self.settings, port))
        try:
            self._guard = await self._spawn()
            async with asyncio.timeout(START_SECONDS):
                self._port = await self._until_ready()
        except TimeoutError as error:
            await self._end()
            text = f"not up after {START_SECONDS} s: {last_words(store)}"
            raise ServerFailed(text) from error
        except BaseException:
            await self._end()
            raise
        if port == _ANY_PORT:  # from now on this one, also if it restarts
            (store / CONFIG).write_text(config_text(self.settings, self._port))
        self._is_up = True

    async def _spawn(self) -> asyncio.subprocess.Process:
        store = self.settings.store
        guard = [sys.executable, "-I", "-S", str(bus.guard.__file__), "--grace", str(STOP_SECONDS)]
        server = [str(nats_server()), "-c", str(store / CONFIG)]
        with (store / STDERR).open("wb") as errors:
            return await asyncio.create_subprocess_exec(
                *guard,
                "--",
                *server,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=errors,
            )

    async def _until_ready(self) -> int:
        """The port, once the server greets there with JetStream."""
        while True:
            assert self._guard is not None
            if self._guard.returncode is not None:
                raise ServerFailed(f"nats-server ended at once: {last_words(self.settings.store)}")
            pid = self.pid
            port = announced_port(self.settings.store, pid) if pid is not None else 0
            if port and await _greets(self.settings.host, port):
                return port
            await asyncio.sleep(_LOOK)

    async def _end(self) -> None:
        self._is_up = False
        guard, self._guard = self._guard, None
        if guard is not None:
            assert guard.stdin is not None
            guard.stdin.close()  # the guard's word to stop
            await guard.wait()
        forget_run(self.settings.store)

    # -- crashes ----------------------------------------------------------------------------------

    async def _keep_up(self) -> None:
        clock = asyncio.get_running_loop().time
        crashes = 0
        while True:
            began = clock()
            if self._guard is not None:
                await self._guard.wait()
                self._crashed()
            crashes = 1 if clock() - began > _CALM else crashes + 1
            await self._restart(crashes)

    def _crashed(self) -> None:
        self._is_up = False
        if self._is_wanted:
            self._is_wanted = False
            return
        words = last_words(self.settings.store)
        log.error("bus %s: nats-server ended unasked: %s", self.settings.name, words)
        for listener in self._listeners:
            try:
                listener(words)
            except Exception:
                log.exception("bus %s: an exit listener failed", self.settings.name)

    async def _restart(self, crashes: int) -> None:
        """One try; where it fails there is no guard afterwards."""
        self.restarts += 1
        first, largest = _BACKOFF
        delay = min(largest, first * 2.0 ** min(crashes - 1, 12))
        await asyncio.sleep(delay * random.uniform(0.75, 1.25))
        try:
            await self._launch(self._port)
            log.info("bus %s: nats-server is back at %s", self.settings.name, self.url)
        except (ServerFailed, OSError) as error:
            log.error("bus %s: nats-server did not come back: %s", self.settings.name, error)

    # -- a disk that refuses ----------------------------------------------------------------------

    async def _keep_writing(self) -> None:
        """Says what is wrong with the disk, and restarts the server once it may be right again."""
        disk = DiskWatch(self.settings.store)
        first, largest = _DISK_PAUSES
        pause = first
        while True:
            await asyncio.sleep(_DISK_LOOK)
            self._note_trouble(disk.look())
            if not self.trouble:
                pause = first
            elif disk.has_room():
                self._recycle()
                await asyncio.sleep(pause)
                pause = min(largest, pause * 2)

    def _note_trouble(self, complaint: str) -> None:
        if complaint and not self.trouble:
            log.error(
                "bus %s: nats-server cannot write to %s, so nothing is stored and no lease held; "
                "it starts anew once there is room: %s",
                self.settings.name,
                self.settings.store,
                complaint,
            )
        self.trouble = complaint or self.trouble

    def _recycle(self) -> None:
        """Ends nats-server; `_keep_up` starts it again."""
        pid = self.pid
        if pid is None:
            return
        log.info("bus %s: there is room, nats-server starts anew", self.settings.name)
        self.trouble = ""
        self._is_wanted = True
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)


async def _greets(host: str, port: int) -> bool:
    """Whether the server there says INFO, and has JetStream."""
    try:
        async with asyncio.timeout(_INFO_SECONDS):
            reader, writer = await asyncio.open_connection(_EVERYWHERE.get(host, host), port)
            with contextlib.closing(writer):
                verb, _, info = (await reader.readline()).partition(b" ")
        return verb == b"INFO" and bool(json.loads(info).get("jetstream"))
    except (OSError, ValueError):
        return False
