"""Logs: one line per event in both forms, libraries routed in, repetitions counted."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from loguru import logger

from actors import log
from actors.log import Repeats
from actors.specs import LogSettings


class Lines(list[str]):
    """What was written, one entry per write."""

    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self]


@pytest.fixture
def lines() -> Iterator[Lines]:
    handlers = logging.getLogger().handlers[:]
    yield Lines()
    log.teardown()
    logging.getLogger().handlers[:] = handlers


def setup(lines: Lines, level: str = "info", **options: Any) -> None:
    form = options.pop("json", False)
    log.setup(LogSettings(level, form), lines.append, **options)


def hub() -> Any:
    return logger.bind(site="pool-a", node="node-1", actor="hub")


def test_text_says_when_where_who_and_what(lines: Lines) -> None:
    setup(lines)
    hub().info("leader is {} now", "node-2")
    [line] = lines
    assert line.endswith(" INFO    pool-a/node-1 hub: leader is node-2 now\n")
    assert line[4] == line[7] == "-"
    assert "\x1b" not in line


def test_bound_values_are_told(lines: Lines) -> None:
    setup(lines)
    hub().bind(feed="services").info("in step")
    assert lines[0].endswith("hub: in step feed=services\n")


def test_colours_are_for_terminals(lines: Lines) -> None:
    setup(lines, colour=True)
    hub().warning("careful")
    assert "\x1b[33mWARNING" in lines[0]


def test_json_is_one_object_a_line(lines: Lines) -> None:
    setup(lines, json=True)
    hub().bind(feed="services", path=object).warning("two\nlines \u2028 here")
    [line] = lines
    assert line.count("\n") == 1
    assert len(line.splitlines()) == 1
    told = json.loads(line)
    assert told["message"] == "two\nlines \u2028 here"
    assert (told["site"], told["node"], told["actor"]) == ("pool-a", "node-1", "hub")
    assert (told["level"], told["feed"]) == ("warning", "services")
    assert told["time"].endswith("Z")


@pytest.mark.parametrize(
    "forged",
    [
        "x\n2026-11-25 00:00:00.000 ERROR   fake",
        "x\r\nfake",
        "x\x1b[2Jfake",
        "x\u2028fake",
        "x\x85y",
    ],
)
def test_foreign_text_cannot_look_like_an_event(lines: Lines, forged: str) -> None:
    setup(lines)
    hub().info("got {}", forged)
    [line] = lines
    assert len(line.splitlines()) == 1
    assert "\x1b" not in line


def test_lone_surrogates_do_not_break_the_log(lines: Lines) -> None:
    for form in (True, False):
        setup(lines, json=form)
        hub().info("odd \ud800 text")
    assert all(line.encode() for line in lines)
    assert len(lines) == 2


def fail(secret: str) -> None:
    raise ValueError(f"no use\nfor {len(secret)}")


def test_a_traceback_is_indented_below_its_event(lines: Lines) -> None:
    setup(lines)
    try:
        fail("hunter" + "2")
    except ValueError:
        hub().exception("cannot go on")
    [event] = lines
    first, *rest = event.rstrip("\n").split("\n")
    assert first.endswith("hub: cannot go on")
    assert rest[0] == "    Traceback (most recent call last):"
    assert all(line.startswith("    ") for line in rest)
    assert "hunter2" not in event


def test_a_traceback_is_inside_the_json_line(lines: Lines) -> None:
    setup(lines, json=True)
    try:
        fail("hunter" + "2")
    except ValueError:
        hub().exception("cannot go on")
    [told] = lines.objects()
    assert told["message"] == "cannot go on"
    assert told["exception"].startswith("Traceback")
    assert "hunter2" not in told["exception"]


def test_libraries_are_routed_in_with_their_name_and_our_place(lines: Lines) -> None:
    setup(lines, json=True, site="cloud", node="")
    logging.getLogger("nats.aio.client").error("lost %s {braces}", "link")
    [told] = lines.objects()
    assert told["message"] == "lost link {braces}"
    assert (told["site"], told["logger"]) == ("cloud", "nats.aio.client")
    assert "node" not in told


def test_what_a_library_says_without_need_is_for_debugging(lines: Lines) -> None:
    setup(lines)
    harmless = "returning true from eof_received() has no effect when using ssl"
    logging.getLogger("asyncio").warning(harmless)
    assert not lines
    logging.getLogger("asyncio").warning("something else")
    assert len(lines) == 1


def test_libraries_tracebacks_come_along(lines: Lines) -> None:
    setup(lines, json=True)
    try:
        fail("")
    except ValueError:
        logging.getLogger("aiohttp.server").exception("unhandled")
    assert "ValueError" in lines.objects()[0]["exception"]


@pytest.mark.parametrize(
    ("level", "library", "told_at"),
    [
        ("info", "nats", logging.WARNING),
        ("debug", "kubernetes", logging.WARNING),
        ("trace", "kubernetes", logging.INFO),  # never debug: bodies hold secrets
        ("error", "aiohttp", logging.ERROR),
        ("info", "bus", logging.INFO),
        ("debug", "configs", logging.DEBUG),
        ("info", "elsewhere", logging.INFO),
    ],
)
def test_levels_of_libraries(lines: Lines, level: str, library: str, told_at: int) -> None:
    setup(lines, level)
    source = logging.getLogger(f"{library}.deep")
    source.log(told_at - 1, "below")
    source.log(told_at, "at")
    assert [line.rstrip().rpartition(" ")[2] for line in lines] == ["at"]


def test_a_librarys_own_printer_is_replaced(
    lines: Lines, capsys: pytest.CaptureFixture[str]
) -> None:
    library = logging.getLogger("ray")
    library.addHandler(logging.StreamHandler())
    library.propagate = False
    setup(lines)
    library.warning("once")
    assert len(lines) == 1
    assert capsys.readouterr().err == ""


def test_warnings_are_told(lines: Lines) -> None:
    setup(lines)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)
        logging.captureWarnings(True)
        warnings.warn("mind the gap", stacklevel=1)
    assert "py.warnings: " in lines[0]
    assert "mind the gap" in lines[0]


def test_level_and_form_change_at_run_time(lines: Lines) -> None:
    setup(lines)
    hub().debug("unheard")
    log.apply(LogSettings("DEBUG", json=True))
    hub().debug("heard")
    logging.getLogger("bus").debug("heard, too")
    log.apply(LogSettings("error"))
    hub().warning("unheard")
    assert [told["message"] for told in lines.objects()] == ["heard", "heard, too"]


def test_setting_up_again_replaces_the_sink(lines: Lines) -> None:
    setup(lines)
    others = Lines()
    setup(others)
    hub().info("once")
    assert (len(lines), len(others)) == (0, 1)


def test_a_writer_that_fails_stops_nobody(lines: Lines) -> None:
    def broken(_: str) -> None:
        raise OSError("gone")

    log.setup(LogSettings(), broken)
    hub().info("nobody hears")


def test_a_closed_standard_error_stops_nobody(
    lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr", None)
    log.setup(LogSettings())
    hub().info("nobody hears")


def test_repetitions_are_counted_and_told_at_the_end(lines: Lines) -> None:
    setup(lines)
    for _ in range(100):
        hub().error("again")
    hub().error("something else")
    log.teardown()
    assert len(lines) == 7
    assert lines[-1].endswith("hub: again (95 more like this)\n")


def test_repetitions_are_told_at_the_end_of_the_process() -> None:
    program = (
        "from actors import log\nfrom actors.specs import LogSettings\nfrom loguru import logger\n"
        "log.setup(LogSettings())\nfor _ in range(9): logger.error('again')\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert result.stderr.endswith("again (4 more like this)\n")


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_repeats_tells_some_then_counts_then_starts_anew() -> None:
    clock = Time()
    repeats = Repeats(clock, limit=2, window=10)
    assert [repeats.see("a", i)[0] for i in range(5)] == [True, True, False, False, False]
    clock.now = 10
    told, due = repeats.see("b", "b")
    assert (told, list(due)) == (True, [(4, 3)])
    assert repeats.see("a", 5)[0]


def test_repeats_says_nothing_of_what_was_all_told() -> None:
    clock = Time()
    repeats = Repeats(clock, limit=2, window=10)
    repeats.see("a", 1)
    clock.now = 10
    assert list(repeats.see("b", 2)[1]) == []
    assert list(repeats.flush()) == []


def test_repeats_is_bounded_and_tells_what_it_forgets() -> None:
    repeats = Repeats(Time(), limit=1, keys=10)
    repeats.see("first", 0)
    repeats.see("first", 1)
    due = [pair for number in range(1000) for pair in repeats.see(number, number)[1]]
    assert due == [(1, 1)]
    assert len(repeats._seen) == 10
