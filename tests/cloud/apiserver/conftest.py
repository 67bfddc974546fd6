"""A fresh embedded API server for each test, in a few milliseconds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from cloud.apiserver import EmbeddedApiServer
from tests.cloud.apiserver.api import Api


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[EmbeddedApiServer]:
    async with EmbeddedApiServer(tmp_path) as running:
        yield running


@pytest_asyncio.fixture
async def api(server: EmbeddedApiServer) -> AsyncIterator[Api]:
    client = Api(server.url)
    yield client
    await client.close()
