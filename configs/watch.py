"""Wakes up when files or directories change: the one home of watchfiles.

Level-triggered: a `Watch` says only *that* something may have changed; the reader looks for itself.
It survives what people and Kubernetes do to files: editors that write beside and rename over,
symlinks swapped anywhere along the path (a ConfigMap's `..data`), directories removed, replaced, or
not there yet. Not seen: the rename of a directory above the file's own and its links' directories.
"""

from __future__ import annotations

import asyncio
import logging
import os
import stat
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from watchfiles._rust_notify import RustNotify  # documented as watchfiles' rust backend

_STEP = 50  # ms; a burst is over after this much quiet, so an edit is seen within 100 ms
_DEBOUNCE = 400  # ms; an unending burst is reported this often
_TIMEOUT = 5_000  # ms; the thread looks up so that a Watch nobody closed cannot hang the exit
_POLL = 0.5  # seconds between looks where the system cannot tell
_MAX_LINKS = 40  # as Linux: beyond it the path is a loop

_log = logging.getLogger(__name__)


async def watch(*paths: Path) -> AsyncIterator[None]:
    """Yields once the watch stands and after each burst of changes to `paths`."""
    async with Watch(*paths) as changes:
        yield
        while await changes.changed():
            yield


class Watch:
    """Watches files and directories (their entries, not what lies deeper) until closed.

        async with Watch(path) as watch:
            look(path)
            while await watch.changed():
                look(path)

    No change between entering and the first `changed` is lost. Cancelling `changed` loses nothing.
    """

    def __init__(self, *paths: Path) -> None:
        self._paths = tuple(Path(os.path.abspath(path)) for path in paths)
        self._places = _Places()
        self._notifier: _Notifier | _Poller | None = None

    async def __aenter__(self) -> Watch:
        self._stand()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Ends the watching thread; idempotent."""
        notifier, self._notifier = self._notifier, None
        if notifier:
            await notifier.close()

    async def changed(self) -> bool:
        """True after the next burst of changes that may concern the paths; False once closed."""
        while self._notifier is not None:
            paths = await self._notifier.next()
            if paths is None or not self._places.concern(paths):
                continue
            if _places_of(self._paths) != self._places:
                self._move()
            return True
        return False

    def _move(self) -> None:
        # Not awaiting keeps `changed` safe to cancel; nobody waits for the old one at this point.
        old, self._notifier = self._notifier, None
        self._stand()
        if old:
            old.discard()

    def _stand(self) -> None:
        while self._notifier is None:
            self._places = _places_of(self._paths)
            try:
                notifier = _notifier(self._places.directories)
            except FileNotFoundError:
                continue  # a directory went away between looking and watching: look again
            if _places_of(self._paths) == self._places:
                self._notifier = notifier
            else:
                notifier.discard()  # something moved in between, perhaps before it was watched


@dataclass
class _Places:
    """Where changes can concern us: directories to watch and the names that matter in them."""

    directories: dict[str, tuple[int, int]] = field(default_factory=dict)  # -> device, inode
    names: set[str] = field(default_factory=set)  # links and files along the way
    contents: set[str] = field(default_factory=set)  # directories of which every entry matters

    def concern(self, paths: Iterable[str]) -> bool:
        return any(
            path in self.names or path in self.directories or os.path.dirname(path) in self.contents
            for path in paths
        )

    def add_directory(self, directory: str) -> None:
        try:
            status = os.stat(directory)
        except OSError:
            return  # just gone: its parent's change will wake us
        self.directories[directory] = (status.st_dev, status.st_ino)


def _places_of(paths: Iterable[Path]) -> _Places:
    places = _Places()
    for path in paths:
        _follow(path, places)
    return places


def _follow(path: Path, places: _Places) -> None:
    """Walks down `path` through every symlink, noting where a change would lead elsewhere."""
    current, parts, links = "/", deque(path.parts[1:]), 0
    while parts:
        part = parts.popleft()
        if part == "..":
            current = os.path.dirname(current)
            continue
        child = os.path.join(current, part)
        mode = _mode(child)
        if mode is None or stat.S_ISLNK(mode) or not parts:
            places.add_directory(current)
            places.names.add(child)
        if mode is None:
            return
        if stat.S_ISLNK(mode):
            links += 1
            target = _link_target(child)
            if target is None or links > _MAX_LINKS:
                return
            current = "/" if target.is_absolute() else current
            parts.extendleft(part for part in reversed(target.parts) if part != "/")
            continue
        current = child
    if os.path.isdir(current):
        places.add_directory(current)
        places.contents.add(current)


def _mode(path: str) -> int | None:
    try:
        return os.lstat(path).st_mode
    except OSError:
        return None


def _link_target(path: str) -> Path | None:
    try:
        return Path(os.readlink(path))
    except OSError:
        return None


class _Notifier:
    """One watchfiles backend and the thread that waits for it.

    A thread of its own: the loop's default pool is small, and a watch would hold a place in it.
    """

    def __init__(self, directories: Iterable[str]) -> None:
        self._backend = RustNotify([*directories], False, False, 0, False, True)
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="watch")
        self._waiting: asyncio.Future[set[tuple[int, str]] | str] | None = None

    async def next(self) -> set[str] | None:
        """The paths of the next burst; None if it is over."""
        while not self._stop.is_set():
            result = await self._wait()
            if isinstance(result, set):
                return {path for _, path in result}
        return None

    async def _wait(self) -> set[tuple[int, str]] | str:
        # The wait goes on in the thread if we are cancelled; the next call takes it up again.
        waiting = self._waiting
        if waiting is None:
            waiting = self._waiting = asyncio.get_running_loop().run_in_executor(
                self._pool, self._backend.watch, _DEBOUNCE, _STEP, _TIMEOUT, self._stop
            )
        result = await asyncio.shield(waiting)
        self._waiting = None
        return result

    async def close(self) -> None:
        """Ends the thread, which takes a step at most."""
        self._stop.set()
        if self._waiting is not None:
            await asyncio.wait([self._waiting])
        self.discard()

    def discard(self) -> None:
        """The same for a notifier that nobody waited for."""
        self._backend.close()
        self._pool.shutdown()


class _Poller:
    """Stands in for a notifier: time passes, so the reader shall look."""

    def __init__(self, directories: Iterable[str]) -> None:
        self._directories = set(directories)
        self._stop = asyncio.Event()

    async def next(self) -> set[str] | None:
        try:
            async with asyncio.timeout(_POLL):
                await self._stop.wait()
        except TimeoutError:
            return self._directories
        return None

    async def close(self) -> None:
        self.discard()

    def discard(self) -> None:
        self._stop.set()


def _notifier(directories: Iterable[str]) -> _Notifier | _Poller:
    """Raises FileNotFoundError if one of `directories` is no more."""
    try:
        return _Notifier(directories)
    except FileNotFoundError:
        raise
    except OSError as error:  # no inotify watches left (fs.inotify.max_user_watches)
        _log.warning("looking every %s s, for the system tells of no changes: %s", _POLL, error)
        return _Poller(directories)
