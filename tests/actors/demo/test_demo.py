"""The demo as a person runs it: everything real, one process, links cut and healed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Sequence

import psutil
import pytest

from tests.actors.until import until

DEMO = (
    sys.executable,
    "-c",
    "from actors.cli import main; main()",
    "demo",
    "--headless",
    "--runtime=local",
)


def _start(arguments: Sequence[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*DEMO, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.timeout(180)
def test_every_step_passes_and_the_figures_are_told() -> None:
    process = _start(["--seconds", "12", "--json"])
    out, err = process.communicate(timeout=150)
    assert process.returncode == 0, err
    figures = json.loads(out.splitlines()[-1])
    assert [step["state"] for step in figures["steps"]] == ["passed"] * 5
    assert figures["client_lists"] == 1
    assert 0 < figures["wan_steady_bytes"] < figures["native_steady_bytes"] / 10


@pytest.mark.timeout(90)
async def test_one_ctrl_c_leaves_nothing_behind() -> None:
    process = _start(["--seconds", "60"])
    try:
        found = psutil.Process(process.pid)
        await until(lambda: _servers(found) == 2, "both buses run", timeout=60)
        children = found.children(recursive=True)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0
        _, alive = psutil.wait_procs(children, timeout=5)
        assert not alive
    finally:
        process.kill()
        process.communicate()


def _servers(process: psutil.Process) -> int:
    names = [_name(child) for child in process.children(recursive=True)]
    return names.count("nats-server")


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.NoSuchProcess:
        return ""
