"""Owned tasks: failures are reported at once, closing leaves nothing, overruns are named."""

from __future__ import annotations

import asyncio

import pytest
from loguru import logger

from actors.tasks import OwnedTasks, bounded


class Failures(list[tuple[str, str]]):
    def note(self, name: str, error: BaseException) -> None:
        self.append((name, str(error)))


@pytest.fixture
def failures() -> Failures:
    return Failures()


@pytest.fixture
def tasks(failures: Failures) -> OwnedTasks:
    return OwnedTasks("hub", logger, failures.note)


async def _forever() -> None:
    await asyncio.Event().wait()


async def _raise() -> None:
    raise ValueError("no")


async def test_a_failing_task_is_reported_by_name(tasks: OwnedTasks, failures: Failures) -> None:
    await tasks.spawn("beat", _raise())
    assert failures == [("beat", "no")]


async def test_tasks_that_return_or_are_cancelled_by_their_owner_are_fine(
    tasks: OwnedTasks, failures: Failures
) -> None:
    await tasks.spawn("short", asyncio.sleep(0))
    task = tasks.spawn("long", _forever())
    task.cancel()
    await asyncio.wait({task})
    assert failures == []
    assert tasks.names() == []


async def test_tasks_are_named_after_their_owner(tasks: OwnedTasks) -> None:
    tasks.spawn("beat", _forever())
    assert tasks.names() == ["hub:beat"]
    assert await tasks.close(1) == []


async def test_closing_at_once_leaves_no_coroutine_unawaited(tasks: OwnedTasks) -> None:
    tasks.spawn("beat", _forever())  # warnings are errors: "never awaited" would fail this test
    assert await tasks.close(1) == []


async def test_close_names_what_does_not_end(tasks: OwnedTasks) -> None:
    release = asyncio.Event()

    async def deaf() -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    task = tasks.spawn("deaf", deaf())
    await asyncio.sleep(0)
    assert await tasks.close(0.01) == ["hub:deaf"]
    release.set()
    await task


async def test_nothing_is_spawned_after_close(tasks: OwnedTasks) -> None:
    await tasks.close(1)
    with pytest.raises(RuntimeError, match="hub has stopped: no task late"):
        tasks.spawn("late", _forever())


async def test_a_task_may_close_its_own_group(tasks: OwnedTasks) -> None:
    ended = asyncio.Event()

    async def closer() -> None:
        await tasks.close(1)
        ended.set()

    tasks.spawn("other", _forever())
    await tasks.spawn("closer", closer())
    assert ended.is_set()
    assert tasks.names() == []


async def test_bounded_returns_the_failure() -> None:
    error = await bounded("stop", _raise(), 1, logger)
    assert isinstance(error, ValueError)


async def test_bounded_cancels_and_names_an_overrun() -> None:
    lines: list[str] = []
    sink = logger.add(lambda line: lines.append(str(line)), format="{message}")
    try:
        error = await bounded("hub:on_stop", _forever(), 0.01, logger)
    finally:
        logger.remove(sink)
    assert isinstance(error, TimeoutError)
    assert any("hub:on_stop overran" in line for line in lines)
