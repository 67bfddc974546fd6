"""The guard: whatever becomes of us, nothing that we started stays. Real processes, small ones."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import bus.guard

GUARD = [sys.executable, "-I", "-S", bus.guard.__file__]
DEADLINE = 10.0

# Starts a daemon (its parent ends at once), says its pid, waits. With "deaf" it ignores SIGTERM.
FAMILY = """
import os, signal, sys, time
deaf = "deaf" in sys.argv
if deaf:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
read, write = os.pipe()
if os.fork() == 0:
    if os.fork() == 0:
        os.setsid()
        os.write(write, str(os.getpid()).encode())
        time.sleep(60)
    os._exit(0)
os.wait()
print(os.getpid(), os.read(read, 20).decode(), flush=True)
if "leave" not in sys.argv:
    time.sleep(60)
"""

# Notes when SIGTERM comes, and ends a moment later.
NOTER = """
import os, signal, sys, time
def note(*_):
    time.sleep(0.1)
    with open(sys.argv[1], "a") as file:
        file.write(sys.argv[2] + "\\n")
    os._exit(0)
signal.signal(signal.SIGTERM, note)
os.write(1, b"%d\\n" % os.getpid())  # at once: two write to one pipe
time.sleep(60)
"""


class Guarded:
    """A guard with its command, and the pids the command says."""

    def __init__(self, *arguments: str, lines: int = 1) -> None:
        self.process = subprocess.Popen(
            [*GUARD, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.said = [self.process.stdout.readline() for _ in range(lines)]
        told = [line for line in self.said if not line.startswith("guard:")]
        pids = [int(word) for line in told for word in line.split()]
        self.below = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]

    def close_pipe(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def ended(self) -> int:
        return self.process.wait(DEADLINE)

    def left(self) -> list[psutil.Process]:
        return [process for process in self.below if process.is_running()]

    def close(self) -> None:
        self.close_pipe()
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        for process in self.left():
            process.kill()


@pytest.fixture
def guarded(request: pytest.FixtureRequest) -> Iterator[type[Guarded]]:
    made: list[Guarded] = []

    class Kept(Guarded):
        def __init__(self, *arguments: str, lines: int = 1) -> None:
            super().__init__(*arguments, lines=lines)
            made.append(self)

    yield Kept
    for each in made:
        each.close()


def python(*arguments: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", *arguments]


def test_a_closed_pipe_ends_daemons_too_and_removes_the_directory(
    guarded: type[Guarded], tmp_path: Path
) -> None:
    directory = tmp_path / "files"
    directory.mkdir()
    guard = guarded("--remove", str(directory), "--", *python(FAMILY))
    assert len(guard.left()) == 2
    guard.close_pipe()
    guard.ended()
    assert guard.left() == []
    assert not directory.exists()


def test_what_ignores_sigterm_is_killed_after_the_grace(guarded: type[Guarded]) -> None:
    guard = guarded("--grace", "0.2", "--", *python(FAMILY, "deaf"))
    began = time.monotonic()
    guard.close_pipe()
    guard.ended()
    assert guard.left() == []
    assert 0.2 <= time.monotonic() - began < 3.0


def test_sigterm_means_now(guarded: type[Guarded]) -> None:
    guard = guarded("--grace", "30", "--", *python(FAMILY, "deaf"))
    guard.process.terminate()
    guard.ended()
    assert guard.left() == []


def test_the_death_of_our_process_ends_what_it_started() -> None:
    starter = (
        "import subprocess, sys, time;"
        "subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE); time.sleep(60)"
    )
    us = subprocess.Popen(
        python(starter, *GUARD, "--", *python(FAMILY)), stdout=subprocess.PIPE, text=True
    )
    assert us.stdout is not None
    below = [psutil.Process(int(word)) for word in us.stdout.readline().split()]
    below += psutil.Process(us.pid).children()  # the guard
    us.kill()
    us.wait()
    us.stdout.close()
    gone, alive = psutil.wait_procs(below, timeout=DEADLINE)
    assert len(gone) == 3
    assert alive == []


def test_named_processes_end_one_after_the_other(guarded: type[Guarded], tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    for name in ("alpha", "beta"):
        (tmp_path / name).symlink_to(sys.executable)
    script = " & ".join(
        f'"{tmp_path / name}" -I -S -c "$0" "{notes}" {name}' for name in ("alpha", "beta")
    )
    guard = guarded(
        *("--first", "beta", "--first", "alpha", "--", "sh", "-c", f"{script} & wait", NOTER),
        lines=2,
    )
    guard.close_pipe()
    guard.ended()
    assert notes.read_text().split() == ["beta", "alpha"]


def test_the_end_of_a_named_process_is_the_end_of_all(
    guarded: type[Guarded], tmp_path: Path
) -> None:
    (tmp_path / "alpha").symlink_to(sys.executable)
    script = f'"{tmp_path / "alpha"}" -I -S -c "$0" x y & "{sys.executable}" -S -c "$0" x y & wait'
    guard = guarded("--first", "alpha", "--", "sh", "-c", f"({script})", NOTER, lines=2)
    alpha = next(process for process in guard.below if process.name() == "alpha")
    # Its parent reaps it, unless that is the guard: so it must be an orphan, as daemons are.
    parent = psutil.Process(alpha.ppid())
    parent.kill()
    psutil.wait_procs([parent], timeout=DEADLINE)
    alpha.kill()
    guard.ended()
    assert guard.left() == []


def test_the_commands_exit_code_is_told_and_passed_on(guarded: type[Guarded]) -> None:
    guard = guarded("--", *python("raise SystemExit(7)"))
    assert guard.said == ["guard: ended with 7\n"]
    assert guard.ended() == 7


def test_daemons_are_guarded_after_the_command_has_ended(guarded: type[Guarded]) -> None:
    guard = guarded("--", *python(FAMILY, "leave"), lines=2)
    assert guard.said[1] == "guard: ended with 0\n"
    (daemon,) = guard.below
    assert daemon.ppid() == guard.process.pid
    guard.close_pipe()
    assert guard.ended() == 0
    assert guard.left() == []


def test_a_terminals_ctrl_c_does_not_reach_the_command(guarded: type[Guarded]) -> None:
    guard = guarded("--", *python(FAMILY))
    assert os.getsid(guard.below[0].pid) == guard.process.pid != os.getsid(0)
    guard.process.send_signal(signal.SIGINT)
    guard.close_pipe()
    guard.ended()
