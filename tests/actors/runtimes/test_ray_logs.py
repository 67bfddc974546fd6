"""Log lines cross from workers to the site whole and in order, and never stop a worker."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.runtimes.ray_logs import MAX_LINE, LogSender, LogSink


class Written:
    def __init__(self) -> None:
        self.data = b""
        self.open = threading.Event()
        self.open.set()
        self._arrived = threading.Condition()

    def write(self, data: bytes) -> None:
        assert self.open.wait(10)
        with self._arrived:
            self.data += data
            self._arrived.notify_all()

    def lines(self, count: int) -> list[str]:
        with self._arrived:
            assert self._arrived.wait_for(lambda: self.data.count(b"\n") >= count, 10)
        return self.data.decode().splitlines()


@pytest.fixture
def written() -> Written:
    return Written()


@pytest.fixture
def sender(sink: LogSink) -> Iterator[LogSender]:
    made = LogSender(sink.path)
    yield made
    made.stop()


@pytest.fixture
def sink(tmp_path: Path, written: Written) -> Iterator[LogSink]:
    made = LogSink(tmp_path / "log", written.write)
    yield made
    written.open.set()
    made.close()
    made.close()


def test_lines_of_two_workers_arrive_whole_and_in_order(
    sink: LogSink, sender: LogSender, written: Written
) -> None:
    senders = {"a": sender, "b": LogSender(sink.path)}
    for number in range(100):
        for name, sender in senders.items():
            sender.write(f"{name} {number}\n")
    senders["b"].stop()
    lines = written.lines(200)
    for name in senders:
        assert [line for line in lines if line[0] == name] == [f"{name} {n}" for n in range(100)]


def test_a_worker_cut_off_within_a_line_still_gives_a_line(
    sender: LogSender, written: Written
) -> None:
    sender._socket.send(b"half a li")
    sender.stop()
    assert written.lines(1) == ["half a li"]


def test_huge_lines_are_cut(sender: LogSender, written: Written) -> None:
    sender.write("x" * (3 * MAX_LINE))
    assert [len(line) for line in written.lines(1)] == [MAX_LINE]


def test_a_slow_reader_costs_lines_that_are_counted_not_time(
    sender: LogSender, written: Written
) -> None:
    written.open.clear()
    sent = 0
    while not sender.dropped:
        sender.write(f"{sent:05} " + "x" * 4096)
        sent += 1
    kept = sent - 1
    for _ in range(9):
        sender.write("lost")
    written.open.set()
    written.lines(kept - 1)
    while sender.dropped:  # until the kernel has room again
        sender.write("after")
    lines = written.lines(kept + 1)
    assert [int(line[:5]) for line in lines[:kept]] == list(range(kept))
    assert "log lines were dropped here" in lines[kept]


def test_a_sender_outlives_its_sink(sink: LogSink, sender: LogSender) -> None:
    sink.close()
    sender.write("to nobody")
    sender.write("to nobody")
    assert sender.dropped >= 1
