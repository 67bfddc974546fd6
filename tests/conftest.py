"""Rules for every test: no task left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio


@pytest_asyncio.fixture(autouse=True)
async def _no_task_left_behind(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    """Fails a test that leaves an asyncio task running: whoever starts a task must end it."""
    before = asyncio.all_tasks()
    yield
    await asyncio.sleep(0)
    mine = {asyncio.current_task()}  # fixtures may be set up and torn down in different tasks
    left = [task for task in asyncio.all_tasks() - before - mine if not task.done()]
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    if left:
        names = ", ".join(sorted(task.get_name() for task in left))
        pytest.fail(f"tasks left running: {names}")
