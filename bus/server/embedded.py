"""Keeps one nats-server running: guarded, restarted when it crashes, stopped in order."""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import sys
from pathlib import Path

import bus.guard
from bus.errors import ServerFailed
from bus.server.binary import nats_server
from bus.server.config import CONFIG, LOG, PID, USERS, config_text, users_text
from bus.server.settings import ServerSettings, ServerUser
from bus.server.users import reload, write_users

log = logging.getLogger(__name__)

START_SECONDS = 10.0  # to accept connections; a large JetStream store is read first
STOP_SECONDS = 4.0  # after SIGTERM; then SIGKILL by the guard
_BACKOFF = (0.05, 5.0)  # seconds before a restart: first, largest
_CALM = 10.0  # seconds up after which a crash counts as the first again
_LOOK = 0.01  # seconds between looks for a port that opens
_PORT = "port"


class EmbeddedServer:
    """Started from the wheel; listens on loopback unless told otherwise.

    It dies with us, however we die (see `bus.guard`). The port is the same at every restart, also
    of the whole site if it is still free.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        self.restarts = 0
        self._port = 0
        self._guard: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """For clients; valid after `start`."""
        scheme = "tls" if self.settings.certificate is not None else "nats"
        host = self.settings.host
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self._port}"

    @property
    def pid(self) -> int | None:
        """nats-server's own; None while it is down."""
        try:
            return int((self.settings.store / PID).read_text())
        except (FileNotFoundError, ValueError):
            return None

    @property
    def is_up(self) -> bool:
        return self._guard is not None and self._guard.returncode is None

    async def start(self) -> None:
        """Returns when it accepts connections. Raises ServerFailed with its last log lines."""
        store = self.settings.store
        store.mkdir(parents=True, exist_ok=True)
        self._port = self.settings.port or self._free_port()
        (store / USERS).write_text(users_text(self.settings.users))
        (store / CONFIG).write_text(config_text(self.settings, self._port))
        try:
            await self._launch()
        except BaseException:
            await self._end()
            raise
        (store / _PORT).write_text(str(self._port))
        self._watch = asyncio.create_task(self._restart_forever(), name=f"bus {self.settings.name}")

    async def stop(self) -> None:
        """In order; by force after a deadline. Idempotent."""
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.cancel()
            await asyncio.wait([watch])
        await self._end()

    def set_users(self, users: tuple[ServerUser, ...]) -> None:
        """Takes effect within moments, for new connections. Raises ServerFailed, keeps the old."""
        if write_users(self.settings.store, users):
            reload(self.settings.store)

    def _free_port(self) -> int:
        """The one we had before, if it is free; else any."""
        try:
            before = int((self.settings.store / _PORT).read_text())
        except (FileNotFoundError, ValueError):
            before = 0
        return _bindable(self.settings.host, before) or _bindable(self.settings.host, 0)

    async def _launch(self) -> None:
        (self.settings.store / PID).unlink(missing_ok=True)
        server = [str(nats_server()), "-c", str(self.settings.store / CONFIG)]
        guard = [sys.executable, "-I", "-S", str(bus.guard.__file__), "--grace", str(STOP_SECONDS)]
        self._guard = await asyncio.create_subprocess_exec(
            *guard,
            "--",
            *server,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._until_accepting()
        except TimeoutError as error:
            raise ServerFailed(f"not up after {START_SECONDS} s: {self._last_words()}") from error

    async def _until_accepting(self) -> None:
        while not (self.pid and await _accepts(self.settings.host, self._port)):
            if not self.is_up:
                raise ServerFailed(f"nats-server ended at once: {self._last_words()}")
            await asyncio.sleep(_LOOK)

    async def _end(self) -> None:
        guard, self._guard = self._guard, None
        if guard is None:
            return
        assert guard.stdin is not None
        guard.stdin.close()  # the guard's word to stop
        await guard.wait()
        (self.settings.store / PID).unlink(missing_ok=True)

    async def _restart_forever(self) -> None:
        crashes = 0
        while True:
            assert self._guard is not None
            began = asyncio.get_running_loop().time()
            await self._guard.wait()
            calm = asyncio.get_running_loop().time() - began > _CALM
            crashes = 1 if calm else crashes + 1
            await self._restart(crashes)

    async def _restart(self, crashes: int) -> None:
        self.restarts += 1
        first, largest = _BACKOFF
        delay = min(largest, first * 2.0 ** min(crashes - 1, 12)) * random.uniform(0.75, 1.25)
        log.error(
            "bus %s: nats-server ended unasked, starts again in %.2f s: %s",
            self.settings.name,
            delay,
            self._last_words(),
        )
        await asyncio.sleep(delay)
        try:
            await self._launch()
        except ServerFailed as error:
            log.error("bus %s: %s", self.settings.name, error)
            await self._end()
            await self._restart(crashes + 1)

    def _last_words(self) -> str:
        return last_lines(self.settings.store / LOG)


def last_lines(path: Path, count: int = 3) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 4096))
            lines = file.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return "it wrote no log"
    return " | ".join(lines[-count:]) or "its log is empty"


def _bindable(host: str, port: int) -> int:
    """The port if it can be bound (0: one that can), else 0."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return 0
        return int(probe.getsockname()[1])


async def _accepts(host: str, port: int) -> bool:
    """Whether the server there says INFO."""
    try:
        reader, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    try:
        return (await reader.readline()).startswith(b"INFO")
    finally:
        writer.close()
