"""Leaves no process behind, even if we are killed with -9. A program of its own, stdlib only.

    python -I -S bus/guard.py [--grace S] [--first NAME]... [--remove DIR] -- COMMAND [ARG]...

It starts COMMAND and adopts every descendant, daemons included (Linux "child subreaper"). It ends
them when its stdin reaches end of file: our end of that pipe closes when we close it (an orderly
stop) or when we die in whatever way. So there is one way to stop, and every stop tests it.

Order of a stop: SIGTERM to the processes called NAME, one name after the other, each awaited;
SIGTERM to the rest; SIGKILL to what is left after `grace` seconds; then DIR is deleted. SIGTERM to
the guard means "now": SIGKILL at once, as does the unasked end of a process called NAME, which the
others cannot do without. When no descendant is left, the guard exits with COMMAND's exit code;
when COMMAND has ended (a starter of daemons does), it says "guard: ended with CODE" on stdout.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
POLL = 0.02  # seconds; only while stopping, where grandchildren give no signal
NAME_LENGTH = 15  # the kernel cuts process names


def prctl(option: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def parents() -> dict[int, tuple[int, str]]:
    """pid -> (parent's pid, name) of every living process."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as file:
                    head, _, tail = file.read().rpartition(")")
            except OSError:  # gone meanwhile
                continue
            state, parent = tail.split()[:2]
            if state not in "ZX":
                found[int(entry)] = (int(parent), head.partition("(")[2])
    return found


def name_of(pid: int) -> str:
    """Also of one that has ended but is not yet reaped."""
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().rstrip("\n")
    except OSError:
        return ""


def descendants(root: int) -> dict[int, str]:
    """pid -> name of every living process below `root`."""
    table = parents()
    below: dict[int, str] = {}
    frontier = {root}
    while frontier:
        frontier = {pid for pid, (parent, _) in table.items() if parent in frontier} - below.keys()
        below.update((pid, table[pid][1]) for pid in frontier)
    return below


def send(pids: Iterable[int], number: int) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


class Guard:
    def __init__(self, grace: float, first: list[str], remove: str) -> None:
        self.grace = grace
        self.first = [name[:NAME_LENGTH] for name in first]
        self.remove = remove
        self.code = 0
        self.now = False  # no more patience
        self._me = os.getpid()
        self._stopping = False

    def run(self, command: list[str]) -> int:
        """Returns the command's exit code when nothing of it is left."""
        with contextlib.suppress(PermissionError):  # we lead a session already
            os.setsid()  # a terminal's Ctrl-C is for our parent, who stops things in order
        wake = self._listen()
        prctl(PR_SET_CHILD_SUBREAPER, 1)
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            # Should the guard itself be killed, its direct child (nats-server) ends with it.
            preexec_fn=lambda: prctl(PR_SET_PDEATHSIG, signal.SIGTERM),
        )
        self._watch(child.pid, wake)
        self._stopping = True
        self._stop(child.pid)
        if self.remove:
            shutil.rmtree(self.remove, ignore_errors=True)
        return self.code

    def _listen(self) -> int:
        """Signals arrive on a pipe, so that one `select` sees all that matters."""
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        os.set_blocking(reader, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._hurry)
        for number in (signal.SIGINT, signal.SIGHUP):  # a terminal's: our parent decides
            signal.signal(number, signal.SIG_IGN)
        return reader

    def _hurry(self, *_: object) -> None:
        self.now = True

    def _watch(self, child: int, wake: int) -> None:
        """Returns at end of file, at SIGTERM, or when nothing is left to guard."""
        while self._reap(child) and not self.now:
            ready, _, _ = select.select([0, wake], [], [])
            if wake in ready:
                os.read(wake, 4096)
            if 0 in ready and not os.read(0, 4096):
                return

    def _reap(self, child: int) -> bool:
        """Collects what has ended; False when we have no child left."""
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return False
            if ended is None:
                return True
            if not self._stopping and name_of(ended.si_pid) in self.first:
                self.now = True
            _, status = os.waitpid(ended.si_pid, 0)
            if ended.si_pid == child:
                self.code = os.waitstatus_to_exitcode(status) % 256
                self._say(f"guard: ended with {self.code}\n")

    def _say(self, line: str) -> None:
        with contextlib.suppress(OSError):  # nobody listens
            os.write(1, line.encode())

    def _stop(self, child: int) -> None:
        end = time.monotonic() + self.grace
        for name in self.first:
            self._end(child, end, lambda pid, found, name=name: found == name)  # type: ignore[misc]
        self._end(child, end, lambda pid, found: True)
        while self._reap(child):
            send(descendants(self._me), signal.SIGKILL)
            time.sleep(POLL)

    def _end(self, child: int, end: float, chosen: Callable[[int, str], bool]) -> None:
        """SIGTERM to those chosen and a wait for their end, but not beyond `end`."""
        told: set[int] = set()
        while not self.now and time.monotonic() < end and self._reap(child):
            alive = {pid for pid, name in descendants(self._me).items() if chosen(pid, name)}
            if not alive:
                return
            send(alive - told, signal.SIGTERM)
            told |= alive
            time.sleep(POLL)


def main(arguments: list[str]) -> int:
    options, command = arguments[: arguments.index("--")], arguments[arguments.index("--") + 1 :]
    pairs = list(zip(options[::2], options[1::2], strict=True))
    first = [value for key, value in pairs if key == "--first"]
    chosen = dict(pairs)
    guard = Guard(float(chosen.get("--grace", "5")), first, chosen.get("--remove", ""))
    return guard.run(command)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
