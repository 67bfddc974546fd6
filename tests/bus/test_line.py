"""A slow line and a dead one: what the kernel's counters say."""

from __future__ import annotations

import asyncio
from urllib.parse import urlparse

import pytest

from bus.line import Line, Progress


@pytest.mark.parametrize(
    ("before", "now", "alive"),
    [
        (Progress(10, 10, 0), Progress(10, 10, 0), False),
        (Progress(10, 10, 0), Progress(11, 10, 0), True),  # half a message is life
        (Progress(10, 10, 0), Progress(10, 16, 0), False),  # our ping was taken: not by whom
        (Progress(10, 10, 500), Progress(10, 16, 494), True),
        (Progress(10, 10, 500), Progress(10, 510, 0), True),
        (Progress(10, 10, 500), Progress(10, 10, 900), False),
    ],
)
def test_signs_of_life(before: Progress, now: Progress, alive: bool) -> None:
    assert now.shows_life_since(before) is alive


async def test_counters_are_the_kernel_s() -> None:
    accepted: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()
    server = await asyncio.start_server(
        lambda reader, writer: accepted.put_nowait(writer), "127.0.0.1", 0
    )
    port = server.sockets[0].getsockname()[1]
    line = Line(secure=False)
    assert line.progress() == (0, 0, 0)
    await line.connect(urlparse(f"nats://127.0.0.1:{port}"), 1024, 1)
    other = await accepted.get()
    before = line.progress()
    other.write(b"x" * 1000)
    assert len(await line.read(4096)) == 1000
    assert line.progress().received - before.received == 1000
    line.write(b"y" * (8 << 20))  # more than the other end's kernel takes unread
    await asyncio.sleep(0.05)
    stuck = line.progress()
    assert stuck.acked > before.acked
    assert 0 < stuck.backlog < 8 << 20
    line.abort()
    await line.wait_closed()
    assert line.progress() == (0, 0, 0)
    other.close()
    server.close()
