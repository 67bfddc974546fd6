from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.actors.kube.serve.serving import Api, serving


@pytest_asyncio.fixture
async def api() -> AsyncIterator[Api]:
    """A server with small caches, all empty at version 10."""
    async with serving() as api:
        yield api
