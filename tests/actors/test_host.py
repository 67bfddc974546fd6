"""The host: order, restarts, crash loops, settings, deadlines. All in one loop, no server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from loguru import logger

from actors.actor import Actor, Context
from actors.backoff import Backoff, RestartPolicy
from actors.host import Host
from actors.runner import SettingsRefused, describe
from actors.specs import ActorSpec
from bus.api import Bus
from bus.connection import BusSettings
from bus.memory import MemoryBroker, MemoryBus
from tests.actors.samples import Journal, ToySettings, host, toy
from tests.actors.until import until

QUICK = RestartPolicy(first=0.01, ceiling=0.02)


class HalfMade(Actor[ToySettings]):
    """Its figures are registered when it turns out that it cannot be made."""

    def __init__(self, context: Context, settings: ToySettings) -> None:
        super().__init__(context, settings)
        context.metrics.register(self)
        raise ValueError("bad settings")

    def collect(self) -> Iterator[Any]:
        raise AttributeError("not made")

    def describe(self) -> list[Any]:
        return []


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal")


@pytest.fixture
def log_lines() -> Iterator[list[str]]:
    lines: list[str] = []
    sink = logger.add(lambda line: lines.append(str(line)), format="{extra[actor]}: {message}")
    yield lines
    logger.remove(sink)


Start = Callable[..., Any]


@pytest.fixture
def running(tmp_path: Path) -> Start:
    @asynccontextmanager
    async def start(*actors: ActorSpec, **options: Any) -> AsyncIterator[Host]:
        made = Host(host(tmp_path, *actors), policy=QUICK, **options)
        await made.start()
        try:
            yield made
        finally:
            await made.stop()

    return start


def actor_status(host: Host, name: str) -> dict[str, Any]:
    status: dict[str, Any] = host.status()["actors"][name]
    return status


async def test_starts_in_order_and_stops_in_reverse(running: Start, journal: Journal) -> None:
    async with running(toy("a", journal.path, start_seconds=0.01), toy("b", journal.path)) as host:
        assert host.is_ready
    assert journal.lines() == [
        *("a starting", "a started", "b starting", "b started"),
        *("b stopping", "b stopped", "a stopping", "a stopped"),
    ]
    assert host.status()["state"] == "stopped"


async def test_a_slow_start_does_not_hold_up_the_others(running: Start, journal: Journal) -> None:
    slow = toy("slow", journal.path, start_seconds=60)
    async with running(slow, toy("next", journal.path), patience=0.02) as host:
        assert actor_status(host, "next")["state"] == "running"
        assert actor_status(host, "slow")["state"] == "starting"
        assert not host.is_ready
    assert "slow stopped" in journal.lines()  # half-started, it is stopped all the same
    assert "slow started" not in journal.lines()


async def test_a_failing_start_leaves_the_others_alone(
    running: Start, journal: Journal, log_lines: list[str]
) -> None:
    async with running(
        toy("bad", journal.path, fail_on="start"), toy("good", journal.path)
    ) as host:
        assert actor_status(host, "good")["state"] == "running"
        assert "toy cannot start" in actor_status(host, "bad")["error"]
        assert not host.is_ready
    assert any(line.startswith("bad: ") and "toy cannot start" in line for line in log_lines)


async def test_a_failed_task_restarts_its_actor_and_a_loop_of_it_shows(
    running: Start, journal: Journal
) -> None:
    async with running(toy("bad", journal.path, fail_on="task")) as host:
        await until(lambda: actor_status(host, "bad")["restarts"] >= 4, "4 restarts")
        status = actor_status(host, "bad")
        assert status["state"] == "crash-looping"
        assert status["error"] == "RuntimeError: toy worker broke"
    # Each life is ended properly before the next one begins.
    assert journal.lines()[:5] == [
        *("bad starting", "bad started", "bad stopping", "bad stopped", "bad starting"),
    ]


async def test_an_actor_heals_and_says_what_was_wrong(running: Start, journal: Journal) -> None:
    async with running(toy("a", journal.path, fail_on="start")) as host:
        await host.configure("a", ToySettings(journal.path, word="better"))
        await until(lambda: host.is_ready, "ready")
        status = actor_status(host, "a")
        assert (status["state"], status["status"]["word"]) == ("running", "better")
        assert status["restarts"] >= 1
        assert "toy cannot start" in status["error"]


async def test_an_unknown_class_is_a_visible_failure(running: Start, journal: Journal) -> None:
    missing = ActorSpec("gone", "tests.actors.samples:Nothing", None)
    wrong = ActorSpec("wrong", "tests.actors.samples:Journal", None)
    async with running(missing, wrong, toy("good", journal.path)) as host:
        assert "Nothing" in actor_status(host, "gone")["error"]
        assert "is no Actor class" in actor_status(host, "wrong")["error"]
        assert actor_status(host, "good")["state"] == "running"


async def test_settings_reach_a_running_actor(running: Start, journal: Journal) -> None:
    async with running(toy("a", journal.path)) as host:
        await host.configure("a", ToySettings(journal.path, word="new"))
        await host.configure("a", ToySettings(journal.path, word="new"))  # no change, no call
        assert actor_status(host, "a")["status"]["word"] == "new"
    assert journal.lines().count("a config new") == 1


async def test_refused_settings_keep_the_old_and_say_why(running: Start, journal: Journal) -> None:
    async with running(toy("a", journal.path, word="old", refuse="bad")) as host:
        with pytest.raises(SettingsRefused, match="word 'bad' is not for me"):
            await host.configure("a", ToySettings(journal.path, word="bad"))
        status = actor_status(host, "a")
        assert status["status"]["word"] == "old"
        assert status["state"] == "running"
        assert "not for me" in status["config_error"]
        assert 'atoll_actor_settings_refused{actor="a"' in host.metrics()
        await host.configure("a", ToySettings(journal.path, word="good"))
        assert actor_status(host, "a")["config_error"] == ""


async def test_settings_that_come_during_the_start_are_applied_after_it(
    running: Start, journal: Journal
) -> None:
    slow = toy("slow", journal.path, start_seconds=0.05)
    async with running(slow, patience=0.0) as host:
        await host.configure("slow", ToySettings(journal.path, word="late"))
        await until(lambda: actor_status(host, "slow")["status"].get("word") == "late", "applied")
    assert journal.lines()[:3] == ["slow starting", "slow started", "slow config late"]


async def test_an_overrun_is_cancelled_named_and_leaves_time_for_the_rest(
    running: Start, journal: Journal, log_lines: list[str]
) -> None:
    actors = toy("first", journal.path), toy("stuck", journal.path, factory="Stubborn")
    async with running(*actors) as host:
        began = time.monotonic()
        await host.stop(0.2)
        assert time.monotonic() - began < 1.0
    assert journal.lines()[-3:] == ["stuck cancelled", "first stopping", "first stopped"]
    assert any("stuck:on_stop overran" in line for line in log_lines)


async def test_a_failing_stop_is_logged_and_the_stop_goes_on(
    running: Start, journal: Journal, log_lines: list[str]
) -> None:
    async with running(toy("a", journal.path), toy("b", journal.path, fail_on="stop")):
        pass
    assert journal.lines()[-1] == "a stopped"
    assert any(line.startswith("b: ") and "toy cannot stop" in line for line in log_lines)


async def test_a_status_that_fails_is_no_failure(running: Start, journal: Journal) -> None:
    async with running(toy("a", journal.path, fail_on="status")) as host:
        assert "no picture" in actor_status(host, "a")["status"]["error"]
        assert host.is_ready


async def test_a_cancelled_start_stops_what_it_started(tmp_path: Path, journal: Journal) -> None:
    made = Host(host(tmp_path, toy("a", journal.path), toy("b", journal.path, start_seconds=60)))
    starting = asyncio.create_task(made.start())
    await until(lambda: "b starting" in journal.lines(), "b starting")
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert "a stopped" in journal.lines()


async def test_a_bus_that_comes_while_the_host_stops_is_closed(
    tmp_path: Path, journal: Journal
) -> None:
    broker, gate = MemoryBroker(), asyncio.Event()
    made: list[MemoryBus] = []

    async def connect(settings: BusSettings) -> Bus:
        made.append(MemoryBus(broker, settings.name))
        await gate.wait()
        return made[-1]

    buses = {
        name: BusSettings(name, (), tmp_path / "seed", "test", "_INBOX.test")
        for name in ("pool", "cloud")
    }
    starting_host = Host(replace(host(tmp_path, toy("a", journal.path)), buses=buses), connect)
    starting = asyncio.create_task(starting_host.start())
    await until(lambda: len(made) == 1, "it connects")
    await starting_host.stop()
    gate.set()
    await starting
    assert [bus.is_up for bus in made] == [False]
    assert journal.lines() == []


async def test_a_killed_host_says_no_goodbye(tmp_path: Path, journal: Journal) -> None:
    made = Host(host(tmp_path, toy("a", journal.path)))
    await made.start()
    made.kill()
    await asyncio.sleep(0)
    assert journal.lines() == ["a starting", "a started"]


async def test_metrics_carry_site_node_and_actor(running: Start, journal: Journal) -> None:
    async with running(toy("a", journal.path), toy("b", journal.path)) as host:
        text = host.metrics()
    assert 'atoll_actor_up{actor="a",node="node-1",site="pool-a"} 1.0' in text
    assert text.count("# TYPE atoll_actor_up gauge") == 1


async def test_an_actor_that_cannot_be_made_costs_no_others_metrics(
    running: Start, journal: Journal
) -> None:
    bad = ActorSpec("bad", "tests.actors.test_host:HalfMade", ToySettings(journal.path))
    async with running(bad, toy("good", journal.path)) as host:
        assert "bad settings" in actor_status(host, "bad")["error"]
        assert 'atoll_actor_up{actor="bad",node="node-1",site="pool-a"} 0.0' in host.metrics()


def test_backoff_grows_to_its_ceiling_and_is_forgotten_after_a_good_run() -> None:
    backoff = Backoff(RestartPolicy(first=1, factor=2, ceiling=5, jitter=0, settle=30))
    assert [backoff.failed(0) for _ in range(5)] == [1, 2, 4, 5, 5]
    assert backoff.is_looping
    assert backoff.failed(31) == 1
    assert not backoff.is_looping


def test_backoff_varies_within_its_jitter() -> None:
    delays = {Backoff(RestartPolicy(first=1, jitter=0.2)).failed(0) for _ in range(50)}
    assert len(delays) > 10
    assert all(0.8 <= delay <= 1.2 for delay in delays)


def test_an_error_is_told_by_what_is_in_its_groups() -> None:
    inner = ExceptionGroup("tasks", [ValueError("no catalog")])
    assert describe(ExceptionGroup("tasks", [inner])) == "ValueError: no catalog"
    both = ExceptionGroup("tasks", [ValueError("a"), KeyError("b")])
    assert describe(both).startswith("ExceptionGroup: tasks (2 sub-exceptions)")
