"""Each bench is listed, and runs in a tiny size; times are not this test's business."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.__main__ import NAMES, summary

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 50


def _bench(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.bench", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def running() -> Iterator[dict[str, subprocess.Popen[str]]]:
    """All at once: most of the time each waits for its own processes."""
    found = {name: _bench(name, "--smoke") for name in NAMES}
    yield found
    for process in found.values():
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=SECONDS)


def test_list_names_each_bench_with_what_it_measures() -> None:
    out, _ = _bench("list").communicate(timeout=SECONDS)
    assert out.splitlines() == [f"{name:10} {summary(name)}" for name in NAMES]


@pytest.mark.parametrize("name", NAMES)
def test_bench_runs(name: str, running: dict[str, subprocess.Popen[str]]) -> None:
    out, err = running[name].communicate(timeout=SECONDS)
    assert running[name].returncode == 0, err
    report = json.loads(out.splitlines()[-1])
    assert report["bench"] == name
    assert report["figures"], "nothing was measured"
    assert report["rows"], "nothing was told"
    assert f"{name}: " in err, "no table for people"
