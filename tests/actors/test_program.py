"""Signals: one asks, two insist, and a stuck loop or a hanging stop does not save the program."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.actors.processes import REPOSITORY

PROGRAM = """
import asyncio, sys, time
from actors import program
program.LAST_RESORT_SECONDS = float(sys.argv[2])

async def orderly():
    try:
        await forever()
    finally:
        print("stopped", flush=True)

async def forever():
    print("up", flush=True)
    await asyncio.Event().wait()

async def stuck():
    print("up", flush=True)
    time.sleep(30)

async def deaf():
    try:
        await forever()
    finally:
        print("stopping", flush=True)
        await asyncio.sleep(30)

async def returns():
    return 7

async def fails():
    raise LookupError("broke")

def kill():
    print("killed", flush=True)

sys.exit(program.run(globals()[sys.argv[1]](), kill))
"""


@contextmanager
def program(main: str, last_resort: float = 30) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, main, str(last_resort)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        yield process
        process.kill()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_stops_in_order(number: signal.Signals) -> None:
    with program("orderly") as process:
        assert line(process) == "up"
        process.send_signal(number)
        output, _ = process.communicate(timeout=10)
        assert output == "stopped\n"
        assert process.returncode == 0


@pytest.mark.parametrize("main", ["deaf", "stuck"])
def test_a_second_one_ends_it_even_if_the_loop_is_stuck(main: str) -> None:
    with program(main) as process:
        assert line(process) == "up"
        process.send_signal(signal.SIGTERM)
        if main == "deaf":
            assert line(process) == "stopping"
        else:
            # The first must have been taken: two pending signals of one kind are one.
            assert _until_not_pending(process)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=10)
        assert output == "killed\n"
        assert "ending at once" in errors
        assert process.returncode == 130


def _until_not_pending(process: subprocess.Popen[str]) -> bool:
    end = time.monotonic() + 5
    while time.monotonic() < end:
        with open(f"/proc/{process.pid}/status", encoding="ascii") as file:
            pending = [line for line in file if line.startswith(("ShdPnd", "SigPnd"))]
        if all(int(line.split()[1], 16) == 0 for line in pending):
            return True
    return False


def test_the_last_resort_ends_a_stop_that_hangs() -> None:
    with program("deaf", last_resort=0.2) as process:
        assert line(process) == "up"
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=10)
        assert output == "stopping\nkilled\n"
        assert "the orderly stop hangs" in errors
        assert process.returncode == 1


def test_the_programs_own_end_is_passed_on() -> None:
    with program("returns") as process:
        assert process.wait(10) == 7
    with program("fails") as process:
        _, errors = process.communicate(timeout=10)
        assert "LookupError: broke" in errors
        assert process.returncode == 1
