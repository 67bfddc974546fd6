"""Binding and stopping."""

from __future__ import annotations

import asyncio

import pytest

from actors.kube.builtin import CONFIGMAPS
from actors.kube.serve.app import build_app
from actors.kube.serve.backend import CacheBackend, reach_version
from actors.kube.serve.server import start_server
from actors.kube.watchcache import WatchCache


async def test_a_port_in_use() -> None:
    first = await start_server(build_app(CacheBackend()), "127.0.0.1", 0)
    with pytest.raises(OSError, match="address already in use"):
        await start_server(build_app(CacheBackend()), "127.0.0.1", first.port)
    await first.stop()


async def test_a_port_is_free_again_after_stop() -> None:
    first = await start_server(build_app(CacheBackend()), "127.0.0.1", 0)
    port = first.port
    await first.stop()
    second = await start_server(build_app(CacheBackend()), "127.0.0.1", port)
    assert second.port == port
    await second.stop()


async def test_reach_version() -> None:
    cache = WatchCache(CONFIGMAPS)
    cache.replace({}, 5)
    assert await reach_version(cache, 5, 0)
    assert not await reach_version(cache, 6, 0.01)
    waiting = asyncio.create_task(reach_version(cache, 7, 5))
    await asyncio.sleep(0)
    cache.advance(6)
    await asyncio.sleep(0)
    assert not waiting.done()
    cache.advance(7)
    assert await waiting
    assert not cache.is_awaited
