"""Finding and asking sites: what is down, broken or strange is said, never raised."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from actors import runfile
from actors.status import RunFile, ask, ask_all, run_files, state_directories
from tests.actors.sites import leave_run_file, serving


@pytest.fixture
def closed() -> Iterator[str]:
    """A URL where nobody answers: the port is held, but not listened on."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{holder.getsockname()[1]}"


@pytest.fixture
def dead_pid() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def test_every_process_of_every_site_is_asked(tmp_path: Path) -> None:
    with serving({"site": "a"}) as one, serving({"site": "b"}) as other:
        leave_run_file(tmp_path / "a", "a.node-1", health=one, kind="pool")
        leave_run_file(tmp_path / "b", "b", health=other)
        reports = ask_all([tmp_path / "a", tmp_path / "b"])
    assert [(r.name, r.is_up, r.status) for r in reports] == [
        ("a.node-1", True, {"site": "a"}),
        ("b", True, {"site": "b"}),
    ]


def test_nothing_to_ask(tmp_path: Path) -> None:
    assert ask_all([]) == ask_all([tmp_path]) == []


def test_a_crashed_process_is_told_apart_from_a_silent_one(
    tmp_path: Path, closed: str, dead_pid: int
) -> None:
    leave_run_file(tmp_path, "crashed", health=closed, pid=dead_pid)
    leave_run_file(tmp_path, "silent", health=closed)
    crashed, silent = ask_all([tmp_path])
    assert "is gone; it was not stopped in order" in crashed.error
    assert f"nothing answers at {closed}" in silent.error
    assert not crashed.is_up
    assert not silent.is_up


def test_a_hanging_process_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        report = ask(RunFile("a", pid=1, health=url), timeout=0.05)
    assert "does not answer: timed out" in report.error


@pytest.mark.parametrize(
    ("answer", "code", "expected"),
    [
        ("no answer within 5 s", 503, "HTTP 503: no answer within 5 s"),
        ("not json", 200, "does not answer: "),
        ([1], 200, "the answer is no status"),
    ],
)
def test_strange_answers_are_told(answer: object, code: int, expected: str) -> None:
    with serving(answer, code) as url:
        report = ask(RunFile("a", pid=1, health=url))
    assert expected in report.error
    assert not report.is_up


@pytest.mark.parametrize("health", ["", "nonsense", "http://127.0.0.1:99999"])
def test_strange_urls_are_told(health: str) -> None:
    assert not ask(RunFile("a", pid=1, health=health)).is_up


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": "x"}'])
def test_a_broken_run_file_is_told(tmp_path: Path, text: str) -> None:
    leave_run_file(tmp_path, "a").write_text(text)
    [report] = ask_all([tmp_path])
    assert "a.json cannot be read" in report.error


def test_run_files_of_other_versions_are_read(tmp_path: Path) -> None:
    leave_run_file(tmp_path, "a", health="http://h", added_later={"x": 1}, kind=None)
    [found] = run_files(tmp_path)
    assert isinstance(found, RunFile)
    assert (found.health, found.kind) == ("http://h", "")


def test_a_run_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    run = RunFile("a", "pool", 5, "http://h", "n", "/a.yaml", "t", {"pool": "nats://x"}, {"n": "u"})
    file = runfile.RunFile(tmp_path, "a.n")
    file.write(asdict(run))
    assert list(run_files(tmp_path)) == [run]
    assert list(file.path.parent.iterdir()) == [file.path]


def test_a_run_file_is_removed_by_its_own_process_only(tmp_path: Path) -> None:
    ours, another = runfile.RunFile(tmp_path, "a"), runfile.RunFile(tmp_path, "a")
    ours.write({"site": "a"})
    another.remove()
    assert len(list(run_files(tmp_path))) == 1
    ours.remove()
    ours.remove()
    assert list(run_files(tmp_path)) == []


def test_state_directories_are_found_at_and_below_a_place(tmp_path: Path) -> None:
    leave_run_file(tmp_path / "var" / "cloud", "cloud")
    leave_run_file(tmp_path / "var" / "pool-a", "pool-a")
    (tmp_path / "var" / "enrolment").mkdir()
    var = tmp_path / "var"
    assert state_directories([var]) == [var / "cloud", var / "pool-a"]
    assert state_directories([var / "cloud", var, tmp_path / "none"]) == [
        var / "cloud",
        var / "pool-a",
    ]
